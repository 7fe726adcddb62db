package core

import (
	"context"
	"time"
)

// What is registered here holds for a namespace or for all namespaces of a
// family, whose hooks run first.

// Use appends middlewares that every client passes before it is connected, in
// order. An error refuses the client: its text is the message the client sees,
// and a *ConnectError carries data as well.
func (h *hooks) Use(mw ...func(ctx context.Context, s *Socket) error) {
	h.change(func(t *hookTable) { t.middleware = added(t.middleware, mw...) })
}

// UseEvent appends middlewares that every event passes before its handlers. One
// that does not call next drops the event; an error is logged and counted.
func (h *hooks) UseEvent(mw ...func(next EventHandler) EventHandler) {
	h.change(func(t *hookTable) {
		for _, m := range mw {
			outer := t.wrap
			if outer == nil {
				t.wrap = m
				continue
			}
			t.wrap = func(next EventHandler) EventHandler { return outer(m(next)) }
		}
	})
}

// OnConnect adds a function that is called when a socket has connected, before
// any of its events is handled. An error is logged and counted and disconnects
// nobody.
func (h *hooks) OnConnect(fn func(ctx context.Context, s *Socket) error) {
	h.change(func(t *hookTable) { t.connect = added(t.connect, fn) })
}

// OnDisconnecting adds a function that is called before those of OnDisconnect,
// while Rooms still returns the rooms the socket was in.
func (h *hooks) OnDisconnecting(fn func(ctx context.Context, s *Socket, r DisconnectReason)) {
	h.change(func(t *hookTable) { t.disconnecting = added(t.disconnecting, fn) })
}

// OnDisconnect adds a function that is called once for every socket that was
// connected, behind the handlers of its events. Its context is cancelled.
func (h *hooks) OnDisconnect(fn func(ctx context.Context, s *Socket, r DisconnectReason)) {
	h.change(func(t *hookTable) { t.disconnect = added(t.disconnect, fn) })
}

// OnAny adds a function that sees every event before the middlewares of
// UseEvent, handled or not.
func (h *hooks) OnAny(fn func(ctx context.Context, s *Socket, e *Event)) {
	h.change(func(t *hookTable) { t.any = added(t.any, fn) })
}

// OnAnyOutgoing adds a function that sees every emit of this node before it is
// sent: once for a broadcast, however many sockets receive it. It runs on the
// goroutine that emits.
func (h *hooks) OnAnyOutgoing(fn func(o Outgoing)) {
	h.change(func(t *hookTable) { t.outgoing = added(t.outgoing, fn) })
}

// OnRoom adds a function that hears of every change of the namespace's rooms on
// this node, in order: of a join RoomCreated and RoomJoined, of a leave RoomLeft
// and RoomDeleted. The room of each socket's own id counts. Calls come shortly
// after the change. A listener that falls 100,000 events behind misses some,
// which Stats counts as the limit "room_events".
func (h *hooks) OnRoom(fn func(e RoomEvent)) {
	h.change(func(t *hookTable) { t.rooms = added(t.rooms, fn) })
}

// OnExpire adds a function that is called when a socket's time has come, before
// it is disconnected. A time in the future lets the socket live until then; an
// error or the zero time does not. Where several were added the latest time
// counts. The functions have 30 seconds, in which the socket goes on as before.
func (h *hooks) OnExpire(fn func(ctx context.Context, s *Socket) (time.Time, error)) {
	h.change(func(t *hookTable) { t.expire = added(t.expire, fn) })
}

// OnServerEvent adds a function that is called when another node uses
// ServerSideEmit with this event. Calls come one after the other. An error is
// logged and counted. The returned function removes it.
func (h *hooks) OnServerEvent(event string, fn func(ctx context.Context, e *ServerEvent) error) (cancel func()) {
	r := &serverRoute{fn}
	h.change(func(t *hookTable) { t.server = withRoute(t.server, event, r) })
	return func() {
		h.change(func(t *hookTable) { t.server = withoutRoute(t.server, event, r) })
	}
}
