// Command chat is a chat on one node: open http://localhost:3000 in two windows.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/examples/internal/chatroom"
)

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
	srv, room, err := newServer(ctx)
	if err != nil {
		return err
	}
	httpServer := &http.Server{Addr: addr, Handler: routes(srv), ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() {
		deadline, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = room.Close(deadline)
		_ = srv.Shutdown(deadline) // clients see the connection close
		_ = httpServer.Shutdown(deadline)
	})
	fmt.Printf("chat: http://%s (Ctrl-C ends it)\n", addr)
	if err := httpServer.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// newServer returns a chat whose clients may be away for a moment and miss nothing.
func newServer(ctx context.Context) (*core.Server, *chatroom.Chat, error) {
	srv, err := core.New(ctx, &core.Options{Recovery: &core.RecoveryOptions{}})
	if err != nil {
		return nil, nil, err
	}
	room, err := chatroom.Serve(srv, "this server", false)
	if err != nil {
		_ = srv.Close() // the first failure is the one to report
		return nil, nil, err
	}
	return srv, room, nil
}

func routes(srv *core.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv) // the protocol, and the client as socket.io.min.js
	mux.Handle("/", chatroom.Page())
	return mux
}
