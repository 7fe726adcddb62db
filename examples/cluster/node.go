package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	_ "github.com/socketfleet/socketfleet/adapter/redis"
	"github.com/socketfleet/socketfleet/cluster/forward"
	"github.com/socketfleet/socketfleet/core"
)

// node is one Socket.IO server with an HTTP server of its own.
type node struct {
	name string
	addr string
	srv  *core.Server
	fwd  *forward.Forwarder
	http *http.Server
}

func startNode(ctx context.Context, name, adapterURL, secret string) (*node, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	fwd := forward.New(nil)
	srv, err := core.New(ctx, &core.Options{
		NodeID:        name,
		AdapterURL:    adapterURL,
		ClusterSecret: secret,                         // the same on all nodes
		AdvertiseURL:  "http://" + ln.Addr().String(), // where the others reach this one
		Forwarder:     fwd,
	})
	if err != nil {
		_ = ln.Close() // the first failure is the one to report
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	n := &node{
		name: name,
		addr: ln.Addr().String(),
		srv:  srv,
		fwd:  fwd,
		http: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second},
	}
	n.handleEvents()
	go func() { _ = n.http.Serve(ln) }() // ends with stop
	return n, nil
}

// place says where a socket lives.
type place struct {
	Node string `json:"node"`
	ID   string `json:"id"`
}

func (n *node) handleEvents() {
	core.OnAck(n.srv, "whoami", func(_ context.Context, s *core.Socket, _ any) (place, error) {
		return place{n.name, s.ID()}, nil
	})
	core.OnAck(n.srv, "join", func(_ context.Context, s *core.Socket, room string) (bool, error) {
		return true, s.Join(room)
	})
	// A message to everybody, a room or one socket id, on whichever node.
	core.OnArgs(n.srv, "say", func(_ context.Context, s *core.Socket, a core.Args) error {
		var room, text string
		if err := a.Decode(0, &room); err != nil {
			return err
		}
		if err := a.Decode(1, &text); err != nil {
			return err
		}
		if room == "" {
			return n.srv.Emit("said", s.ID(), text)
		}
		return n.srv.To(room).Emit("said", s.ID(), text)
	})
}

// stopNodes shuts the nodes down, all at once.
func stopNodes(nodes []*node) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	done := make(chan struct{})
	for _, n := range nodes {
		go func() {
			_ = n.srv.Shutdown(ctx) // the process ends either way
			_ = n.http.Close()
			done <- struct{}{}
		}()
	}
	for range nodes {
		<-done
	}
}
