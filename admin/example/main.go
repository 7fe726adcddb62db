// Command example is a server with the Admin UI on one port:
//
//	npm install @socket.io/admin-ui
//	export ADMIN_PASSWORD_HASH=$(htpasswd -nbBC 10 "" secret | tr -d ':\n')
//	go run ./example -ui node_modules/@socket.io/admin-ui/ui/dist -development
//
// Then open http://127.0.0.1:3000/ui/ and log in as admin. SOCKETIO_ADAPTER makes it
// a node of a cluster, and SOCKETIO_ORIGINS lets pages of other origins in.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	_ "github.com/socketfleet/socketfleet/adapter/redis" // for SOCKETIO_ADAPTER
	"github.com/socketfleet/socketfleet/admin"
	"github.com/socketfleet/socketfleet/core"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "address to listen on")
	ui := flag.String("ui", "", "folder of the UI, ui/dist of the npm package; \"\": the UI is served elsewhere")
	own := admin.Options{Username: "admin", PasswordHash: os.Getenv("ADMIN_PASSWORD_HASH")}
	flag.BoolVar(&own.Writable, "writable", false, "let the UI act")
	flag.BoolVar(&own.Development, "development", false, "report every socket, room and event")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *ui, &own); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr, ui string, own *admin.Options) error {
	opts, err := core.OptionsFromEnv("SOCKETIO_")
	if err != nil {
		return err
	}
	srv, err := core.New(ctx, opts)
	if err != nil {
		return err
	}
	a, err := admin.Instrument(srv, own)
	if err != nil {
		return errors.Join(err, srv.Close())
	}
	defer a.Close()
	core.OnAck(srv, "hello", hello)

	mux := http.NewServeMux()
	mux.Handle(srv.Path(), srv)
	if ui != "" {
		mux.Handle("/ui/", http.StripPrefix("/ui", http.FileServer(http.Dir(ui))))
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return errors.Join(err, srv.Close())
	}
	fmt.Println("LISTENING", ln.Addr().(*net.TCPAddr).Port)
	h := &http.Server{Handler: mux}
	context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = srv.Shutdown(grace)
		_ = h.Shutdown(grace)
	})
	if err := h.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// hello gives the UI something to show.
func hello(_ context.Context, s *core.Socket, name string) (string, error) {
	if err := s.SetData(map[string]string{"name": name}); err != nil {
		return "", err
	}
	if err := s.Join("guests"); err != nil {
		return "", err
	}
	return "ok", s.Emit("welcome", name)
}
