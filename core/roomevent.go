package core

import (
	"context"
	"errors"

	"github.com/socketfleet/socketfleet/adapter"
)

// RoomChange says what happened to a room of this node.
type RoomChange = adapter.RoomChange

const (
	RoomCreated = adapter.RoomCreated // the room has its first member on this node
	RoomJoined  = adapter.RoomJoined
	RoomLeft    = adapter.RoomLeft
	RoomDeleted = adapter.RoomDeleted // the last member on this node has left the room
)

// RoomEvent is a change of a room of this node.
type RoomEvent struct {
	Change RoomChange
	Room   string
	Socket *Socket // who joined or left
}

// maxRoomEvents bounds the room events of a namespace that wait for their
// listeners.
const maxRoomEvents = 100_000

var _ adapter.RoomObserver = (*host)(nil)

func (h *host) ObservesRooms() bool {
	return h.n.anyHook(func(t *hookTable) bool { return len(t.rooms) > 0 })
}

func (h *host) RoomEvent(c adapter.RoomChange, r adapter.Room, m adapter.Member) {
	n, e := h.n, RoomEvent{Change: c, Room: r, Socket: m.(*Socket)}
	queued := n.changes.push(n.srv, maxRoomEvents, func() {
		for t := range n.chain() {
			for _, fn := range t.rooms {
				n.srv.failed("OnRoom", n, guard(func() error { fn(e); return nil }))
			}
		}
	})
	if !queued {
		n.srv.stats.limit("room_events")
	}
}

// DisconnectRooms disconnects, in every namespace this node has and on every
// node, the sockets in any of rooms, as Socket.Disconnect does: for example all
// connections of a user whose sockets join a room of the user's name. It tries
// all namespaces and joins their errors.
func (srv *Server) DisconnectRooms(ctx context.Context, closeConn bool, rooms ...string) error {
	if len(rooms) == 0 {
		return nil
	}
	var errs []error
	for _, n := range srv.all() {
		errs = append(errs, n.To(rooms...).DisconnectSockets(ctx, closeConn))
	}
	return errors.Join(errs...)
}
