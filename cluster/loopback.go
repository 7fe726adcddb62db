package cluster

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/socketfleet/socketfleet/adapter"
)

// maxLoopback bounds the messages waiting for one attachment of a loopback node;
// what comes on top is lost, as on any bus without a log.
const maxLoopback = 1 << 16

// ErrKilled is returned by a LoopbackBus after Kill or Close.
var ErrKilled = errors.New("socketio: loopback: node is dead")

// Loopback joins nodes that live in one process, for tests and examples.
// Messages cross as copies, asynchronously and in order. It is safe for
// concurrent use.
type Loopback struct {
	registry memoryRegistry
	vault    memoryVault

	mu    sync.Mutex // guards the following and the fields of its nodes
	nodes []*LoopbackBus
}

// NewLoopback returns a deployment without nodes.
func NewLoopback() *Loopback { return &Loopback{} }

// Bus adds a node and returns its bus.
func (l *Loopback) Bus() *LoopbackBus {
	b := &LoopbackBus{l: l, lines: make(map[*line]struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nodes = append(l.nodes, b)
	return b
}

// LoopbackBus is the bus of one node of a Loopback.
type LoopbackBus struct {
	l *Loopback

	// Guarded by l.mu.
	dead   bool
	paused chan struct{} // closed by Resume; nil while running
	lines  map[*line]struct{}
}

var (
	_ Bus            = (*LoopbackBus)(nil)
	_ RegistryHolder = (*LoopbackBus)(nil)
	_ Layout         = (*LoopbackBus)(nil)
	_ Vault          = (*LoopbackBus)(nil)
)

// Registry implements RegistryHolder: one for all nodes of the Loopback.
func (b *LoopbackBus) Registry() Registry { return &b.l.registry }

// WriteSessions implements Vault: one for all nodes of the Loopback.
func (b *LoopbackBus) WriteSessions(ctx context.Context, batch []SessionWrite) error {
	if err := b.gate(ctx); err != nil {
		return err
	}
	b.l.vault.write(batch)
	return nil
}

// TakeSession implements Vault.
func (b *LoopbackBus) TakeSession(ctx context.Context, pid string) (*StoredSession, error) {
	if err := b.gate(ctx); err != nil {
		return nil, err
	}
	return b.l.vault.take(pid)
}

// Pause keeps the node from sending and receiving, as if its network hung: it
// still counts as a peer, and gets what it missed after Resume.
func (b *LoopbackBus) Pause() {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	if b.paused == nil {
		b.paused = make(chan struct{})
	}
}

// Resume ends a Pause.
func (b *LoopbackBus) Resume() {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	if b.paused != nil {
		close(b.paused)
		b.paused = nil
	}
}

// Kill makes the node vanish without a farewell: it no longer counts as a peer,
// and nothing reaches it or comes from it.
func (b *LoopbackBus) Kill() {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	b.dead = true
}

// gate waits while the node is paused.
func (b *LoopbackBus) gate(ctx context.Context) error {
	for {
		b.l.mu.Lock()
		paused, dead := b.paused, b.dead
		b.l.mu.Unlock()
		if dead {
			return ErrKilled
		}
		if paused == nil {
			return ctx.Err()
		}
		select {
		case <-paused:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Lane implements Layout: everything travels in one.
func (b *LoopbackBus) Lane(*Message) (Lane, bool) { return Lane{Rooms: true}, true }

// Publish implements Bus.
func (b *LoopbackBus) Publish(ctx context.Context, batch []*Message) ([]adapter.Offset, error) {
	if err := b.gate(ctx); err != nil {
		return nil, err
	}
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	for _, m := range batch {
		b.l.eachLocked(m.Namespace, func(n *line) {
			if n.bus != b && !n.emitter {
				n.put(m)
			}
		})
	}
	return nil, nil
}

// Reply implements Bus. An answer without an addressee goes to every other node.
func (b *LoopbackBus) Reply(ctx context.Context, to adapter.NodeID, m *Message) error {
	if err := b.gate(ctx); err != nil {
		return err
	}
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	b.l.eachLocked(m.Namespace, func(n *line) {
		if n.self == to || (to == "" && n.bus != b) {
			n.put(m)
		}
	})
	return nil
}

// eachLocked visits the attachments of a namespace on living nodes.
func (l *Loopback) eachLocked(ns string, fn func(*line)) {
	for _, b := range l.nodes {
		if b.dead {
			continue
		}
		for n := range b.lines {
			if n.ns == ns {
				fn(n)
			}
		}
	}
}

// Attach implements Bus.
func (b *LoopbackBus) Attach(_ context.Context, a Attach) (Attachment, error) {
	n := &line{bus: b, ns: a.Namespace, self: a.Self, receive: a.Receive, emitter: a.Emitter, wake: make(chan struct{}, 1)}
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	if b.dead {
		return nil, ErrKilled
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	b.lines[n] = struct{}{}
	n.running.Go(func() { n.run(ctx) })
	return n, nil
}

// Close implements Bus: it detaches what is attached.
func (b *LoopbackBus) Close(ctx context.Context) error {
	b.Kill()
	b.l.mu.Lock()
	lines := make([]*line, 0, len(b.lines))
	for n := range b.lines {
		lines = append(lines, n)
	}
	b.l.nodes = slices.DeleteFunc(b.l.nodes, func(o *LoopbackBus) bool { return o == b })
	b.l.mu.Unlock()
	for _, n := range lines {
		if err := n.Detach(ctx); err != nil {
			return err
		}
	}
	return nil
}

// line is one attachment: a queue and the goroutine that hands it to the
// receiver.
type line struct {
	// Immutable after Attach.
	bus     *LoopbackBus
	ns      string
	self    adapter.NodeID
	receive Receiver
	emitter bool
	wake    chan struct{} // capacity 1
	stop    context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex // guards queue; ordered after Loopback.mu
	queue []*Message
}

func (n *line) put(m *Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.queue) >= maxLoopback {
		return
	}
	n.queue = append(n.queue, clone(m))
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *line) take() []*Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := n.queue
	n.queue = nil
	return q
}

func (n *line) run(ctx context.Context) {
	for {
		select {
		case <-n.wake:
		case <-ctx.Done():
			return
		}
		for _, m := range n.take() {
			if n.bus.gate(ctx) != nil {
				return
			}
			n.receive(m, "")
		}
	}
}

// Peers implements Attachment.
func (n *line) Peers(context.Context) (int, error) {
	n.bus.l.mu.Lock()
	defer n.bus.l.mu.Unlock()
	if n.bus.dead {
		return 0, ErrKilled
	}
	count := 0
	n.bus.l.eachLocked(n.ns, func(o *line) {
		if !o.emitter {
			count++
		}
	})
	return count, nil
}

// RoomCreated implements Attachment: every node gets everything.
func (n *line) RoomCreated(adapter.Room) {}

// RoomDeleted implements Attachment.
func (n *line) RoomDeleted(adapter.Room) {}

// Detach implements Attachment. It waits for the receiver.
func (n *line) Detach(context.Context) error {
	n.bus.l.mu.Lock()
	delete(n.bus.lines, n)
	n.bus.l.mu.Unlock()
	n.stop()
	n.running.Wait()
	return nil
}

// clone copies m deeply enough that the two sides share nothing that may change.
func clone(m *Message) *Message {
	c := *m
	c.Target = remote(m.Target)
	c.Rooms = slices.Clone(m.Rooms)
	c.Sockets = slices.Clone(m.Sockets)
	for i := range c.Sockets {
		s := &c.Sockets[i]
		s.Rooms = slices.Clone(s.Rooms)
		s.Data = slices.Clone(s.Data)
		s.Handshake = slices.Clone(s.Handshake)
	}
	return &c
}
