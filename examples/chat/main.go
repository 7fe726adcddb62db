// Command chat is a chat room on one node: open http://localhost:3000 in two
// windows.
//
// The page speaks the protocol over a bare WebSocket in a few lines, so that the
// example needs nothing else; a real page uses an official Socket.IO client.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/socketfleet/socketfleet/core"
)

//go:embed index.html
var page []byte

// message is what clients send and receive.
type message struct {
	From string `json:"from"`
	Text string `json:"text"`
}

func main() {
	addr := flag.String("addr", "localhost:3000", "address to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *addr); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr string) error {
	srv, err := core.New(ctx, nil)
	if err != nil {
		return err
	}
	serveChat(srv)
	httpServer := &http.Server{Addr: addr, Handler: routes(srv), ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() {
		deadline, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = srv.Shutdown(deadline) // clients see the connection close
		_ = httpServer.Shutdown(deadline)
	})
	fmt.Printf("chat: http://%s (Ctrl-C ends it)\n", addr)
	if err := httpServer.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func routes(srv *core.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page) // the browser may have gone
	})
	return mux
}

// serveChat sends every message to everybody, its sender included.
func serveChat(srv *core.Server) {
	srv.OnConnect(func(_ context.Context, s *core.Socket) error {
		return s.Broadcast().Emit("notice", "somebody joined")
	})
	srv.OnDisconnect(func(_ context.Context, s *core.Socket, r core.DisconnectReason) {
		_ = srv.Emit("notice", "somebody left: "+string(r)) // nobody may be left to tell
	})
	core.OnAck(srv, "chat", func(_ context.Context, s *core.Socket, m message) (string, error) {
		return "delivered", srv.Emit("chat", m)
	})
}
