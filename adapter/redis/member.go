package redis

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

// member is one namespace on a wireBus.
type member struct {
	// Immutable.
	cluster.Attach // Namespace, Self, Receive, HasRoom
	bus            *wireBus
	public, own    string // channels
	text, packed   string // what ends the envelopes it sends

	detached atomic.Bool

	channels map[string]struct{} // guarded by channelSet.mu; nil once it has left
}

func newMember(b *wireBus, a cluster.Attach) (*member, error) {
	text, packed, err := ends(a)
	if err != nil {
		return nil, err
	}
	public := b.public(a.Namespace)
	return &member{
		Attach: a, bus: b, public: public, own: public + a.Self + "#",
		text: string(text), packed: string(packed),
		channels: make(map[string]struct{}),
	}, nil
}

// sent reports whether payload is a message of this node, without decoding it.
func (m *member) sent(payload string) bool {
	if strings.HasPrefix(payload, "{") {
		return strings.HasSuffix(payload, m.text)
	}
	return strings.HasSuffix(payload, m.packed)
}

// roomOf returns the room a channel is for; not ok when it is for the namespace,
// or for this node.
func (m *member) roomOf(channel string) (room adapter.Room, ok bool) {
	if channel == m.public || channel == m.own {
		return "", false
	}
	return strings.CutSuffix(strings.TrimPrefix(channel, m.public), "#")
}

// Peers implements cluster.Attachment: it counts the subscribers of the public
// channel.
func (m *member) Peers(ctx context.Context) (int, error) {
	n, err := m.bus.link.subscribers(ctx, topic{kind: m.bus.set.kind, name: m.public})
	if err != nil {
		return 0, fmt.Errorf("socketio: redis: count nodes: %w", err)
	}
	if m.Emitter {
		return n, nil
	}
	return max(n, 1), nil
}

// RoomCreated implements cluster.Attachment.
func (m *member) RoomCreated(r adapter.Room) {
	if m.bus.ownChannel(r) && r != m.Self {
		m.bus.set.add(m, m.public+r+"#")
	}
}

// RoomDeleted implements cluster.Attachment.
func (m *member) RoomDeleted(r adapter.Room) {
	if m.bus.ownChannel(r) && r != m.Self {
		m.bus.set.remove(m, m.public+r+"#")
	}
}

// Detach implements cluster.Attachment. It waits until Redis no longer counts
// this node, for at most a second.
func (m *member) Detach(ctx context.Context) error {
	if m.detached.Swap(true) {
		return nil
	}
	m.bus.removeMember(m)
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	m.bus.set.leave(ctx, m, m.public, m.own)
	return nil
}
