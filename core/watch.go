package core

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"

	"github.com/socketfleet/socketfleet/adapter"
)

// What is here lets a program watch all that happens on a server, as package admin
// does. Nothing of it costs more than a look at a pointer while nobody watches.

// SocketUpdate says what has changed of a socket.
type SocketUpdate uint8

const (
	DataUpdated      SocketUpdate = iota + 1 // SetData was called
	TransportUpdated                         // the connection moved from polling to another transport
)

type (
	updateFunc   = func(s *Socket, u SocketUpdate)
	sentFunc     = func(s *Socket, event string, args Args)
	describeFunc = func(s *Socket, data json.RawMessage) json.RawMessage
)

// maxSentEvents bounds the sent events and updates of a namespace that wait for
// their listeners, together with those of its rooms.
const maxSentEvents = maxRoomEvents

// OfAll returns the family of all namespaces of the server, those made later too.
// What is registered on it runs ahead of the hooks of other families and of the
// namespaces. It lets no client in: that is up to Of and the other families.
func (srv *Server) OfAll() *NamespaceFamily { return &srv.every }

// ConnectionID returns a name for the client's connection that its sockets of all
// namespaces share: 12 characters out of letters, digits, "-" and "_". It is made
// from the session id by a one-way function, so that it may be shown.
func (s *Socket) ConnectionID() string {
	sum := sha256.Sum256([]byte(s.client.sess.ID()))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// OnUpdate adds a function that is called shortly after a connected socket's data
// attribute was set or its connection was upgraded, in order with the calls of
// OnRoom. A listener that falls far behind misses some, which Stats counts as the
// limit "room_events".
func (h *hooks) OnUpdate(fn func(s *Socket, u SocketUpdate)) {
	h.change(func(t *hookTable) { t.updates = added(t.updates, fn) })
}

// OnSent adds a function that is called shortly after an event was queued for a
// socket of this node: once for every receiver, for broadcasts of other nodes too.
// OnAnyOutgoing is cheaper where one call per emit is enough. Calls come in order
// with those of OnRoom, and may be missed like them.
func (h *hooks) OnSent(fn func(s *Socket, event string, args Args)) {
	h.change(func(t *hookTable) { t.sent = added(t.sent, fn) })
}

// OnDescribe adds a function that may change what FetchSockets shows, on every
// node, as the data attribute of a socket of this node: it gets the attribute's JSON
// and returns what to show instead. It must not block.
func (h *hooks) OnDescribe(fn func(s *Socket, data json.RawMessage) json.RawMessage) {
	h.change(func(t *hookTable) { t.describe = added(t.describe, fn) })
}

// watch calls what each hands out of every table, later and in order.
func (n *Namespace) watch(what string, each func(t *hookTable)) {
	queued := n.changes.push(n.srv, maxSentEvents, func() {
		for t := range n.chain() {
			each(t)
		}
	})
	if !queued {
		n.srv.stats.limit("room_events")
	}
}

// updated reports a change of s.
func (n *Namespace) updated(s *Socket, u SocketUpdate) {
	if !s.Connected() || !n.anyHook(func(t *hookTable) bool { return len(t.updates) > 0 }) {
		return
	}
	n.watch("OnUpdate", func(t *hookTable) {
		for _, fn := range t.updates {
			n.srv.failed("OnUpdate", n, guard(func() error { fn(s, u); return nil }))
		}
	})
}

func (n *Namespace) listensToSent() bool {
	return n.anyHook(func(t *hookTable) bool { return len(t.sent) > 0 })
}

// tellSent reports an event that has been queued for s. It may be called under the
// adapter's locks.
func (n *Namespace) tellSent(s *Socket, event string, p *adapter.Packet) {
	n.watch("OnSent", func(t *hookTable) {
		for _, fn := range t.sent {
			args := argsOfPacket(n.srv.codec, p, 1)
			n.srv.failed("OnSent", n, guard(func() error { fn(s, event, args); return nil }))
		}
	})
}

// describe returns the data attribute of s for other nodes.
func (n *Namespace) describe(s *Socket) json.RawMessage {
	data := s.dataJSON()
	for t := range n.chain() {
		for _, fn := range t.describe {
			shown := data
			err := guard(func() error { shown = fn(s, data); return nil })
			n.srv.failed("OnDescribe", n, err)
			if err == nil && json.Valid(shown) {
				data = shown
			}
		}
	}
	return data
}

// Upgraded implements engineio.UpgradeReceiver.
func (c *client) Upgraded() {
	for _, s := range c.sockets() {
		s.nsp.updated(s, TransportUpdated)
	}
}

// sockets returns the client's sockets.
func (c *client) sockets() []*Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*Socket
	for _, e := range c.entries {
		if e.s != nil {
			out = append(out, e.s)
		}
	}
	return out
}

// SocketCount returns the number of sockets of this node.
func (n *Namespace) SocketCount() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.sockets)
}
