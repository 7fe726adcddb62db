package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

// A new member waits until no other has answered for quiet, at most for maxGather.
const (
	quiet     = 150 * time.Millisecond
	maxGather = 2 * time.Second
)

var (
	_ cluster.Attachment  = (*member)(nil)
	_ cluster.RoomAwaiter = (*member)(nil)
)

// member is one namespace on a bus.
type member struct {
	// Immutable after Attach.
	cluster.Attach // Namespace, Self, Receive, HasRoom
	bus            *bus
	name           string // token of the namespace
	sender         *sender
	in             *inbox
	peers          *peers
	rooms          *roomSet
	recent         recent // if Log
	subs           []*natsgo.Subscription
	alone          chan struct{} // capacity 1: the server knows no other member
	stop           context.CancelFunc
	running        sync.WaitGroup

	due      atomic.Bool // a heartbeat is due
	detached atomic.Bool
}

// Attach implements cluster.Bus. It returns when the server has confirmed the
// subscriptions and the nodes that are there have been heard, or fails within
// 5 s.
func (b *bus) Attach(ctx context.Context, a cluster.Attach) (cluster.Attachment, error) {
	if a.Self == "" {
		return nil, errors.New("socketio: nats: a node needs an id")
	}
	m := &member{
		Attach: a, bus: b, name: token(a.Namespace), sender: new(sender),
		in: newInbox(), peers: newPeers(), rooms: newRoomSet(), alone: make(chan struct{}, 1),
	}
	m.sender.seq.Store(1) // 0 is for messages without a number
	if err := b.addMember(m); err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.running.Go(func() { m.work(run) })
	m.running.Go(func() { m.rooms.run(run, b) })
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := m.join(ctx); err != nil {
		_ = m.Detach(ctx)
		b.forget(a.Self)
		return nil, fmt.Errorf("socketio: nats: subscribe for namespace %s: %w", a.Namespace, err)
	}
	return m, nil
}

func (b *bus) addMember(m *member) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return adapter.ErrClosed
	}
	if b.members[m.name] != nil {
		return fmt.Errorf("socketio: nats: namespace %s is attached already", m.Namespace)
	}
	b.members[m.name] = m
	if !m.Emitter {
		b.senders[m.Self] = m.sender
	}
	return nil
}

func (b *bus) removeMember(m *member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.members[m.name] == m {
		delete(b.members, m.name)
	}
}

// join subscribes, and waits for the others.
func (m *member) join(ctx context.Context) error {
	b := m.bus
	own := b.subjectNode(m.Namespace, m.Self)
	var subjects []string
	if !m.Emitter {
		// Ahead of the heartbeats, which say what must have come before them.
		subjects = append(subjects, b.subjectAll(m.Namespace))
		if err := b.journal.start(ctx); err != nil {
			return err
		}
	}
	subjects = append(subjects, b.subjectBeat(m.Namespace), own)
	for _, subject := range subjects {
		sub, err := b.conn.ChanSubscribe(subject, b.in)
		if err != nil {
			return err
		}
		m.subs = append(m.subs, sub)
	}
	if err := b.conn.FlushWithContext(ctx); err != nil {
		return err
	}
	if err := b.conn.LastError(); errors.Is(err, natsgo.ErrPermissionViolation) {
		return err
	}
	if err := m.beat(cluster.InitialHeartbeat, own); err != nil {
		return err
	}
	return m.gather(ctx)
}

// gather waits for the first heartbeats of the others. The server says so when
// there is nobody.
func (m *member) gather(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maxGather)
	defer cancel()
	calm := time.NewTimer(quiet)
	defer calm.Stop()
	for {
		select {
		case <-m.alone:
			return nil
		case <-m.peers.news:
			calm.Reset(quiet)
		case <-calm.C:
			return nil
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return nil // they keep coming
		}
	}
}

// beat tells the other members that this one lives, and the number of its last
// message. reply is where the server answers when there is no other.
func (m *member) beat(kind cluster.Kind, reply string) error {
	at := position{seq: m.sender.seq.Load(), breaks: m.bus.conn.Stats().Reconnects}
	beat := &cluster.Message{Kind: kind, From: m.Self, Namespace: m.Namespace}
	return m.bus.publish(m.bus.subjectBeat(m.Namespace), reply, at, beat)
}

// bury tells the receiver who died.
func (m *member) bury(deadline, now time.Time) {
	for _, id := range m.peers.expire(deadline, now) {
		m.bus.opts.Logger.Info("socketio: nats: a node is silent", "event", "cluster.node_lost", "namespace", m.Namespace, "node", id)
		m.in.push(parcel{dead: id, at: now})
	}
}

// work hands what was received to the receiver, in order.
func (m *member) work(ctx context.Context) {
	for {
		select {
		case <-m.in.wake:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil {
			p, lost, ok := m.in.pop()
			if !ok {
				break
			}
			if lost.Dropped > 0 {
				lost.Kind, lost.Reason = GapOverrun, "this node is too slow"
				m.bus.gap(lost)
			}
			m.take(p)
		}
	}
}

func (m *member) take(p parcel) {
	switch {
	case p.alone:
		signal(m.alone)
		return
	case p.dead != "":
		m.Receive(&cluster.Message{Kind: cluster.AdapterClose, From: p.dead, Namespace: m.Namespace}, "")
		return
	case p.mark != 0:
		m.takeMark(p)
		return
	case p.offset != "":
		m.takeEntry(p)
		return
	}
	at, msg, err := decodeFrame(p.data)
	if err != nil {
		m.bus.reject(m.Namespace, err)
		return
	}
	if msg.Namespace != m.Namespace || msg.From == m.Self {
		return
	}
	lost, ok := m.peers.heard(msg, at, p.at)
	if lost.Kind != "" && !m.Emitter { // which does not hear what is numbered
		m.bus.gap(lost)
	}
	if !ok {
		return
	}
	if msg.Kind == cluster.InitialHeartbeat {
		m.due.Store(true)
		signal(m.bus.watch.wake)
	}
	m.Receive(msg, "")
}

// takeEntry hands on what was read from the stream: to a member that recovers
// sessions everything, in the stream's order, to others what they have to do.
func (m *member) takeEntry(p parcel) {
	msg, err := decodeEntry(p.data)
	if err != nil {
		m.bus.reject(m.Namespace, err)
		return
	}
	if msg.Namespace != m.Namespace || !m.Log && (msg.From == m.Self || msg.Kind >= cluster.Takeover) {
		return
	}
	if m.Log {
		at, _ := parsePlace(p.offset) // the reader's own
		m.recent.add(at, msg, len(p.data))
	}
	m.Receive(msg, p.offset)
}

// takeMark hands on what the reader of the stream says: how far it is, or that it
// does not go on where it was.
func (m *member) takeMark(p parcel) {
	if at, ok := parsePlace(p.offset); ok {
		m.recent.passed(at)
	} else {
		m.recent.reset()
	}
	m.Receive(&cluster.Message{Kind: p.mark, Namespace: m.Namespace}, p.offset)
}

var errAway = errors.New("socketio: nats: not connected")

// Peers implements cluster.Attachment: it counts the nodes that were heard lately.
func (m *member) Peers(context.Context) (int, error) {
	if !m.bus.watch.isUp() {
		return 0, errAway
	}
	if m.Emitter {
		return m.peers.count(), nil
	}
	return 1 + m.peers.count(), nil
}

// RoomCreated implements cluster.Attachment.
func (m *member) RoomCreated(r adapter.Room) { m.setRoom(r, true) }

// RoomDeleted implements cluster.Attachment.
func (m *member) RoomDeleted(r adapter.Room) { m.setRoom(r, false) }

func (m *member) setRoom(r adapter.Room, on bool) {
	if m.bus.hasRoom(r) && !m.bus.inJournal() {
		m.rooms.set(m.bus.subjectRoom(m.Namespace, r), on)
	}
}

// AwaitRooms implements cluster.RoomAwaiter. Other servers of a NATS cluster hear of
// a subscription a moment after this node's server has confirmed it.
func (m *member) AwaitRooms(ctx context.Context, rooms ...adapter.Room) error {
	if m.bus.inJournal() || !slices.ContainsFunc(rooms, m.bus.hasRoom) {
		return nil
	}
	if err := m.rooms.wait(ctx); err != nil {
		return err
	}
	return m.bus.flush(ctx)
}

// Detach implements cluster.Attachment. The others count this node until they
// hear its goodbye.
func (m *member) Detach(context.Context) error {
	if m.detached.Swap(true) {
		return nil
	}
	m.bus.removeMember(m)
	m.in.close()
	m.stop()
	m.running.Wait()
	for _, s := range m.subs {
		_ = s.Unsubscribe() // fails when the connection is closed
	}
	return nil
}
