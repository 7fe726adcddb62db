package admin

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/socketfleet/socketfleet/core"
)

// watch reports every socket, room and event of this node.
//
// Sockets come and go with their own room: the events of rooms are in order, so that
// the UI never hears of the end of a socket before its beginning.
func (a *Admin) watch() {
	all := a.srv.OfAll()
	all.OnDescribe(a.describe)
	all.OnRoom(a.roomChanged)
	all.OnUpdate(a.updated)
	all.OnAny(func(_ context.Context, s *core.Socket, e *core.Event) {
		a.event("event_received", s, e.Name, e.Args)
	})
	all.OnSent(func(s *core.Socket, name string, args core.Args) {
		a.event("event_sent", s, name, args)
	})
}

// now is the time as JSON.stringify writes a Date.
func now() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000Z") }

func (a *Admin) roomChanged(e core.RoomEvent) {
	if a.closed.Load() {
		return
	}
	id, nsp, own := e.Socket.ID(), e.Socket.Namespace().Name(), e.Room == e.Socket.ID()
	switch e.Change {
	case core.RoomJoined:
		_ = a.emit("room_joined", nsp, e.Room, id, now())
		if own {
			a.connected(e.Socket)
		}
	case core.RoomLeft:
		switch ctx := e.Socket.Context(); {
		case own && ctx.Err() != nil:
			a.disconnected(e.Socket)
		case own: // the program made the socket leave its own room
			context.AfterFunc(ctx, func() { a.disconnected(e.Socket) })
		}
		_ = a.emit("room_left", nsp, e.Room, id, now())
	}
}

func (a *Admin) connected(s *core.Socket) {
	info, ok := local(s)
	if !ok {
		return // its end follows; nobody has seen it
	}
	info.Rooms = []string{s.ID()}
	_ = a.emit("socket_connected", info, now())
}

func (a *Admin) disconnected(s *core.Socket) {
	var cause *core.DisconnectError
	reason := ""
	if errors.As(context.Cause(s.Context()), &cause) {
		reason = string(cause.Reason)
	}
	_ = a.emit("socket_disconnected", s.Namespace().Name(), s.ID(), reason, now())
}

// socketUpdate is the argument of socket_updated: one of Data and Transport is set.
type socketUpdate struct {
	ID        string          `json:"id"`
	Namespace string          `json:"nsp"`
	Data      json.RawMessage `json:"data,omitempty"`
	Transport string          `json:"transport,omitempty"`
}

func (a *Admin) updated(s *core.Socket, u core.SocketUpdate) {
	if a.closed.Load() {
		return
	}
	out := socketUpdate{ID: s.ID(), Namespace: s.Namespace().Name()}
	switch u {
	case core.TransportUpdated:
		out.Transport = s.Transport()
	case core.DataUpdated:
		info, ok := local(s)
		if !ok {
			return
		}
		out.Data = info.Data
	}
	_ = a.emit("socket_updated", out)
}

// event reports an event, unless it is one of the UI itself.
func (a *Admin) event(what string, s *core.Socket, name string, args core.Args) {
	if s.Namespace() == a.nsp || a.closed.Load() {
		return
	}
	values, err := args.Values()
	if err != nil {
		a.log.Debug("socketio: admin: event not shown", "name", name, "error", err)
		return
	}
	_ = a.emit(what, s.Namespace().Name(), s.ID(), append([]any{name}, values...), now())
}
