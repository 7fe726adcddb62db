package main

import (
	"context"

	"github.com/socketfleet/socketfleet/core"
)

// place says where a socket lives, and where its client is as the node sees it.
type place struct {
	Node    string `json:"node"`
	ID      string `json:"id"`
	Address string `json:"address"`
}

func handleEvents(srv *core.Server, node string) {
	core.OnAck(srv, "whoami", func(_ context.Context, s *core.Socket, _ any) (place, error) {
		return place{node, s.ID(), s.Handshake().Address()}, nil
	})
	core.OnAck(srv, "join", func(_ context.Context, s *core.Socket, room string) (bool, error) {
		return true, s.Join(room)
	})
	// A message to a room or to one socket id, on whichever node; "" is everybody.
	core.OnArgs(srv, "say", func(_ context.Context, s *core.Socket, a core.Args) error {
		var room, text string
		if err := a.Decode(0, &room); err != nil {
			return err
		}
		if err := a.Decode(1, &text); err != nil {
			return err
		}
		if room == "" {
			return srv.Emit("said", s.ID(), text)
		}
		return srv.To(room).Emit("said", s.ID(), text)
	})
}
