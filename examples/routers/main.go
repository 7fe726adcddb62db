// Command routers mounts a Socket.IO server in net/http, chi, gin or echo:
//
//	go run . -router gin
//
// Each router authenticates requests in a middleware of its own kind, and the
// server's handlers find the user in the socket's context. Clients send the token
// alice-token or bob-token as "Authorization: Bearer ...", or, from browsers, which
// cannot set headers on a WebSocket, as the query parameter token. A real program
// prefers a cookie: what stands in a query ends up in access logs.
//
// The example is a module of its own, so that the server's does not depend on the
// routers.
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
)

// routers builds, by name, the handler of the whole program around a Socket.IO
// server.
var routers = map[string]func(srv http.Handler) http.Handler{
	"net/http": netHTTP,
	"chi":      chiRouter,
	"gin":      ginRouter,
	"echo":     echoRouter,
}

func main() {
	router := flag.String("router", "net/http", "net/http, chi, gin or echo")
	addr := flag.String("addr", "localhost:3000", "address to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *router, *addr); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, router, addr string) error {
	build, ok := routers[router]
	if !ok {
		return fmt.Errorf("unknown router %q", router)
	}
	srv, err := newServer(ctx)
	if err != nil {
		return err
	}
	httpServer := &http.Server{Addr: addr, Handler: build(srv), ReadHeaderTimeout: 5 * time.Second}
	stopped := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(stopped)
		deadline, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = srv.Shutdown(deadline) // clients see the connection close
		_ = httpServer.Shutdown(deadline)
	})
	fmt.Printf("%s: http://%s/socket.io/ (Ctrl-C ends it)\n", router, addr)
	if err := httpServer.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-stopped
	return nil
}

// newServer returns a server that tells clients who they are and passes on what
// they say. It is the same for every router.
func newServer(ctx context.Context) (*core.Server, error) {
	srv, err := core.New(ctx, nil)
	if err != nil {
		return nil, err
	}
	core.OnAck(srv, "whoami", func(ctx context.Context, _ *core.Socket, _ any) (string, error) {
		return userOf(ctx), nil
	})
	core.OnArgs(srv, "say", func(ctx context.Context, _ *core.Socket, args core.Args) error {
		values, err := args.Values()
		if err != nil {
			return err
		}
		return srv.Emit("said", append([]any{userOf(ctx)}, values...)...)
	})
	return srv, nil
}
