package redis

import (
	"context"
	"fmt"
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
	text, packed   string // what ends the envelopes it sends

	detached atomic.Bool

	channels map[topic]struct{} // guarded by channelSet.mu; nil once it has left
}

func newMember(b *wireBus, a cluster.Attach) (m *member, err error) {
	m = &member{Attach: a, bus: b, channels: make(map[topic]struct{})}
	m.text, m.packed, err = ends(a)
	return m, err
}

// Peers implements cluster.Attachment: it counts the subscribers of one channel.
func (m *member) Peers(ctx context.Context) (int, error) {
	n, err := m.bus.link.subscribers(ctx, m.bus.dialect.counted(m))
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
	if name, ok := m.bus.dialect.room(m, r); ok {
		m.bus.set.add(m, topic{m.bus.set.kind, name})
	}
}

// RoomDeleted implements cluster.Attachment.
func (m *member) RoomDeleted(r adapter.Room) {
	if name, ok := m.bus.dialect.room(m, r); ok {
		m.bus.set.remove(m, topic{m.bus.set.kind, name})
	}
}

// AwaitRooms implements cluster.RoomAwaiter. It does not wait for rooms without
// local members, nor for those without a channel of their own.
func (m *member) AwaitRooms(ctx context.Context, rooms ...adapter.Room) error {
	for _, r := range rooms {
		name, ok := m.bus.dialect.room(m, r)
		if !ok {
			continue
		}
		left := func() bool { return m.detached.Load() || !m.HasRoom(r) }
		if err := m.bus.set.waitUnless(ctx, topic{m.bus.set.kind, name}, left); err != nil {
			return fmt.Errorf("socketio: redis: subscribe to room: %w", err)
		}
	}
	return nil
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
	m.bus.set.leave(ctx, m, m.bus.dialect.topics(m)...)
	return nil
}
