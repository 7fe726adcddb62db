package core

import (
	"context"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/engineio"
)

// KeepLatest makes the event one of which only the newest matters: while an older
// event with the same key still waits to be sent to a client, the new one replaces
// it, attachments included. A client that reads slowly then gets the newest price,
// position or state instead of all of them, and falls behind no further. The key
// counts per client and namespace, whatever the event's name; an empty key does
// nothing. The key reaches the other nodes of this kind over Redis too, unless
// cluster.Options.NoExtensions forbids it; Node.js nodes deliver every event.
//
// The new event takes the place of the old one, and so overtakes what was emitted
// between the two: a key that always changes would otherwise wait for ever. All
// other events keep their order. With Options.Recovery the new event goes to the
// end instead, because clients confirm events in order. What is being written is
// not replaced; nor are events that want an acknowledgement. A volatile event with
// a key is not dropped: at most one of each key waits.
func (b BroadcastOperator) KeepLatest(key string) BroadcastOperator {
	b.key = key
	return b
}

// KeepLatest selects all sockets, for an event of which only the newest matters.
// See BroadcastOperator.KeepLatest.
func (n *Namespace) KeepLatest(key string) BroadcastOperator { return n.all().KeepLatest(key) }

// KeepLatest is for an event to this socket of which only the newest matters. See
// BroadcastOperator.KeepLatest.
func (s *Socket) KeepLatest(key string) LatestEmitter { return LatestEmitter{s, key} }

// LatestEmitter emits events to one socket that replace each other. It is a value.
type LatestEmitter struct {
	s   *Socket
	key string
}

// Emit is Socket.Emit, and replaces an event with the same key that still waits.
func (e LatestEmitter) Emit(event string, args ...any) error {
	p, err := e.s.nsp.packet(event, args)
	if err != nil {
		return err
	}
	p.Meta.Key = e.key
	e.s.nsp.outgoing(Outgoing{Event: event, Args: args, Socket: e.s})
	return e.s.nsp.adapter.Send(context.Background(), e.s, p, 0, nil)
}

// latest is what the engine is told about a packet with a key; nil for others.
func (n *Namespace) latest(p *adapter.Packet, ack *pendingAck) *engineio.Latest {
	if p.Meta.Key == "" || ack != nil {
		return nil
	}
	// A namespace has no comma in its name.
	return &engineio.Latest{Key: n.name + "," + p.Meta.Key, InOrder: n.srv.opts.Recovery != nil}
}
