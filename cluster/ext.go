package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// ExtVersion is the version of the extensions this package speaks.
const ExtVersion = 1

// Ext is what nodes of this kind add to the reference's messages, where
// Options.NoExtensions does not forbid it. Node.js peers ignore it. With it a
// node drops repeated messages, counts missing ones, and knows who is alive.
// What travels with a packet, adapter.Meta, is a part of it on the wire.
type Ext struct {
	// Version is 0 when the sender sent no extensions.
	Version uint8
	// Epoch identifies one life of the sequence Seq belongs to. 48 bits.
	Epoch uint64
	// Seq numbers the messages of one sender in one Lane from 1 on; 0 is no number.
	// 48 bits.
	Seq uint64
	// Scope says which messages Seq counts.
	Scope Scope
	// Sent is when the sender queued a message with a packet for the bus, by its own
	// clock, in microseconds since 1970; 0 where it does not say.
	Sent int64
	// Name is the sender's Host.Node, in heartbeats.
	Name string
	// Every is how soon the next heartbeat follows, in heartbeats.
	Every time.Duration
}

// Scope says which messages a sequence number counts.
type Scope uint8

const (
	ScopeShared Scope = iota + 1 // what goes to every node; not what has a room's own channel
	ScopeAll                     // everything, which nodes that subscribe per room do not get
	ScopeRoom                    // broadcasts to the one room of the message's Target
)

// Lane names a sequence of messages of one sender and namespace that every node,
// or every node with members of Room, gets in the order of publishing.
type Lane struct {
	Room  adapter.Room // what travels on a room's own channel
	Log   bool         // what is kept in a log
	Rooms bool         // what is for one room is in it too: this node hears every room
}

func (l Lane) scope() Scope {
	switch {
	case l.Room != "":
		return ScopeRoom
	case l.Rooms:
		return ScopeAll
	}
	return ScopeShared
}

// Layout is implemented by buses whose messages can be numbered. Without it a
// Bus carries extensions, but no sequence numbers.
type Layout interface {
	// Lane returns the lane m travels in. ok is false when the wire has no form for
	// m, so that it is not worth publishing, let alone waiting for. The answer
	// depends only on what other nodes see of m.
	Lane(m *Message) (lane Lane, ok bool)
}

func newEpoch() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[2:]) // never fails
	return max(binary.BigEndian.Uint64(b[:]), 1)
}

// maxCounters bounds the lanes one namespace of this node numbers at a time.
const maxCounters = 1 << 15

// numbering gives every message its number when it is first handed to a bus, so
// that what was given up before leaves no hole. It belongs to the publisher's
// goroutine.
type numbering struct {
	Bus
	layout  Layout
	senders map[adapter.NodeID]*counters
}

// counters are those of one namespace of this node.
type counters struct {
	last  map[bool]uint64          // of lanes for all, by Lane.Log
	rooms map[adapter.Room]counter // of lanes of rooms
}

type counter struct{ epoch, last uint64 }

// newNumbering returns bus with a Publish that numbers what has extensions.
func newNumbering(bus Bus) Bus {
	layout, ok := bus.(Layout)
	if !ok {
		return bus
	}
	return &numbering{Bus: bus, layout: layout, senders: make(map[adapter.NodeID]*counters)}
}

func (n *numbering) Publish(ctx context.Context, batch []*Message) ([]adapter.Offset, error) {
	for _, m := range batch {
		if m.Ext.Epoch == 0 || m.Ext.Seq != 0 {
			continue
		}
		if lane, ok := n.layout.Lane(m); ok {
			n.number(m, lane)
		}
		if m.Kind == AdapterClose {
			delete(n.senders, m.From)
		}
	}
	return n.Bus.Publish(ctx, batch)
}

func (n *numbering) number(m *Message, lane Lane) {
	c := n.senders[m.From]
	if c == nil {
		c = &counters{last: make(map[bool]uint64), rooms: make(map[adapter.Room]counter)}
		n.senders[m.From] = c
	}
	m.Ext.Scope = lane.scope()
	if lane.Room == "" {
		c.last[lane.Log]++
		m.Ext.Seq = c.last[lane.Log]
		return
	}
	r, known := c.rooms[lane.Room]
	if !known {
		if len(c.rooms) >= maxCounters {
			clear(c.rooms) // they start again in new epochs
		}
		r.epoch = newEpoch()
	}
	r.last++
	c.rooms[lane.Room] = r
	m.Ext.Epoch, m.Ext.Seq = r.epoch, r.last
}
