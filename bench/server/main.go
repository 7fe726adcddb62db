// Command server is Socketfleet as bench/compare measures it: default options,
// the in-memory adapter, and handlers as a user writes them.
//
// # Concurrency
//
// As package core documents; the command adds nothing.
package main

import (
	"context"
	"log"
	"time"

	"github.com/socketfleet/socketfleet/bench/child"
	"github.com/socketfleet/socketfleet/core"
)

func main() {
	srv, err := core.New(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	core.On(srv, "fan", func(_ context.Context, _ *core.Socket, payload string) error {
		return srv.Emit("fan", payload)
	})
	core.OnAck(srv, "echo", func(_ context.Context, _ *core.Socket, payload string) (string, error) {
		return payload, nil
	})
	child.Main(srv, "socketfleet", func() int { return srv.Stats().Sockets })

	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
}
