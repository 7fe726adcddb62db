package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	_ "github.com/socketfleet/socketfleet/adapter/redis"
	"github.com/socketfleet/socketfleet/cluster/forward"
	"github.com/socketfleet/socketfleet/cluster/run"
	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/examples/internal/chatroom"
)

// Environment of a node's process.
const (
	envName    = "CLUSTER_NODE"
	envAdapter = "CLUSTER_ADAPTER"
	envSecret  = "CLUSTER_SECRET"
)

// stats is what a node tells the proof about itself.
type stats struct {
	Forwarded map[forward.Kind]uint64
	Failed    map[forward.Failure]uint64
}

// runNode is the life of a node's process: one Socket.IO server with an HTTP
// server of its own. It prints its address, and ends in order when it is told to,
// or when its standard input ends because its parent has gone.
func runNode(ctx context.Context) error {
	signal.Ignore(os.Interrupt) // Ctrl-C is for the parent
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	name := os.Getenv(envName)
	// That a node was killed is no news here.
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	fwd := forward.New(nil)
	srv, err := core.New(ctx, &core.Options{
		NodeID:        name,
		AdapterURL:    os.Getenv(envAdapter),
		Recovery:      &core.RecoveryOptions{},
		ClusterSecret: os.Getenv(envSecret),           // the same on all nodes
		AdvertiseURL:  "http://" + ln.Addr().String(), // where the others reach this one
		Forwarder:     fwd,
	})
	if err != nil {
		_ = ln.Close() // the first failure is the one to report
		return fmt.Errorf("start %s: %w", name, err)
	}
	room, err := chatroom.Serve(srv, name, true)
	if err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", name, err), ln.Close(), srv.Close())
	}
	serveProof(srv)
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("GET /health/", srv.HealthHandler())
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		s := fwd.Stats()
		_ = json.NewEncoder(w).Encode(stats{s.Forwarded, s.Failed}) // the parent may have gone
	})
	return run.Serve(ctx, run.Config{
		HTTP:            &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second},
		Listener:        ln,
		Node:            srv,
		Drain:           drain(srv, room),
		ShutdownTimeout: 3 * time.Second,
		Signals:         []os.Signal{syscall.SIGTERM},
		Listening:       func(a net.Addr) { fmt.Println(a) },
		Logger:          slog.New(slog.DiscardHandler),
	})
}

// drain sends the clients elsewhere within a second; a service would take a
// minute. Whoever does not go leaves the lists.
func drain(srv *core.Server, room *chatroom.Chat) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := srv.Drain(ctx, core.DrainOptions{Grace: -1, Window: time.Second})
		return errors.Join(err, room.Close(ctx))
	}
}

// serveProof adds what the proof asks a node for.
func serveProof(srv *core.Server) {
	// ask has a socket answer, on whichever node it is.
	core.OnAck(srv, "ask", func(ctx context.Context, _ *core.Socket, id string) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return core.EmitWithAck[string](ctx, srv.RemoteSocket(id), "question", "?")
	})
	core.OnAck(srv, "count", func(ctx context.Context, _ *core.Socket, _ any) (int, error) {
		return srv.ServerCount(ctx)
	})
}
