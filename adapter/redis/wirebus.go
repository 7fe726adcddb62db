package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/cluster/wire"
)

// wireBus is a bus whose messages are the envelopes of package wire: the sharded
// adapter's, and the streams adapter's.
type wireBus struct {
	// Immutable.
	link       *link
	opts       Options
	release    func() error
	set        *channelSet
	streams    *streamSet // nil: none
	in         *intake[envelope]
	post       post
	answer     func(dst []byte, m *cluster.Message) ([]byte, error)
	ownChannel func(adapter.Room) bool // whether a room has a channel of its own
	stop       context.CancelFunc
	running    sync.WaitGroup

	malformed atomic.Uint64
	lastError atomic.Pointer[string] // of publishing

	mu      sync.Mutex // guards the following; leaf lock
	closed  bool
	members map[string]*member // by namespace
}

var (
	_ cluster.Bus            = (*wireBus)(nil)
	_ cluster.HealthReporter = (*wireBus)(nil)
)

func newWireBus(l *link, kind topicKind, o Options, release func() error) *wireBus {
	b := &wireBus{
		link: l, opts: o, release: release,
		post:       post{link: l},
		ownChannel: func(adapter.Room) bool { return false },
		members:    make(map[string]*member),
	}
	b.set = newChannelSet(l, kind, &b.opts, b.receive)
	b.in = newIntake(b.deliver, b.overrun)
	return b
}

func (b *wireBus) start() {
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	b.in.start(ctx, &b.running)
	b.running.Go(func() { b.set.run(ctx) })
	if b.streams != nil {
		b.streams.start(ctx, &b.running)
	}
}

// public returns the name of the public channel of a namespace, to
// which a room or the id of a node, and "#", are added for the others.
func (b *wireBus) public(namespace string) string { return b.opts.Key + "#" + namespace + "#" }

// Publish implements cluster.Bus. On Redis Cluster the order of messages on
// different channels is not kept, as it is not by the reference.
func (b *wireBus) Publish(ctx context.Context, batch []*cluster.Message) ([]adapter.Offset, error) {
	at, err := b.post.publish(ctx, batch)
	if err != nil {
		text := err.Error()
		b.lastError.Store(&text)
	}
	return at, err
}

// Reply implements cluster.Bus.
func (b *wireBus) Reply(ctx context.Context, to adapter.NodeID, m *cluster.Message) error {
	if to == "" || to == cluster.EmitterID {
		return errors.New("socketio: redis: nobody to reply to")
	}
	payload, err := b.answer(nil, m)
	if err != nil {
		return err
	}
	l, err := b.letterTo(ctx, b.public(m.Namespace)+to+"#", payload)
	if err != nil {
		return err
	}
	pipe := l.to.Pipeline()
	l.add(ctx, pipe)
	if _, err := pipe.Exec(ctx); err != nil {
		b.link.failed(ctx)
		return fmt.Errorf("socketio: redis: reply: %w", err)
	}
	return nil
}

// letterTo returns a message to a channel.
func (b *wireBus) letterTo(ctx context.Context, channel string, payload []byte) (letter, error) {
	var l letter
	var err error
	if b.set.kind == shard {
		l.to, err = b.link.owner(ctx, channel)
		l.add = func(ctx context.Context, p goredis.Pipeliner) goredis.Cmder { return p.SPublish(ctx, channel, payload) }
	} else {
		l.to, err = b.link.publisher(ctx)
		l.add = func(ctx context.Context, p goredis.Pipeliner) goredis.Cmder { return p.Publish(ctx, channel, payload) }
	}
	if err != nil {
		return l, errNoServer{fmt.Errorf("socketio: redis: publish: %w", err)}
	}
	return l, nil
}

// envelope is a received message on its way to a worker.
type envelope struct {
	to      *member
	channel string // empty: an entry of a stream
	payload string
	entry   *streamEntry
}

func (e envelope) group() string { return e.to.Namespace }

func (e envelope) size() int {
	if e.entry != nil {
		return len(e.entry.data)
	}
	return len(e.payload)
}

// receive is called by the readers of channels.
func (b *wireBus) receive(to *member, channel, payload string) {
	if to.sent(payload) {
		return
	}
	if len(payload) > maxEnvelope {
		b.reject(to, channel, errTooLarge)
		return
	}
	b.in.push(envelope{to: to, channel: channel, payload: payload})
}

// receiveEntry is called by the readers of streams.
func (b *wireBus) receiveEntry(ctx context.Context, e streamEntry) error {
	b.mu.Lock()
	to := b.members[e.nsp]
	b.mu.Unlock()
	if to == nil || e.uid == to.Self {
		return nil
	}
	if len(e.data) > maxEnvelope {
		b.reject(to, e.id, errTooLarge)
		return nil
	}
	return b.in.pushWait(ctx, envelope{to: to, entry: &e})
}

// deliver is called by the workers.
func (b *wireBus) deliver(e envelope) {
	if e.to.detached.Load() {
		return
	}
	var m *cluster.Message
	var err error
	var at adapter.Offset
	where := e.channel
	if e.entry != nil {
		at, where = e.entry.id, e.entry.id
		m, err = wire.DecodeEntry(e.entry.uid, e.entry.nsp, e.entry.typ, e.entry.data)
	} else {
		if room, ok := e.to.roomOf(e.channel); ok && !e.to.HasRoom(room) {
			return
		}
		m, err = wire.Decode([]byte(e.payload))
	}
	if err != nil {
		b.reject(e.to, where, err)
		return
	}
	if m.Namespace != e.to.Namespace || m.From == e.to.Self {
		return
	}
	e.to.Receive(m, at)
}

func (b *wireBus) reject(to *member, where string, err error) {
	b.malformed.Add(1)
	b.opts.Logger.Debug("socketio: redis: dropped a message", "namespace", to.Namespace, "from", where, "error", err)
}

func (b *wireBus) overrun(g Gap) {
	b.opts.Logger.Warn("socketio: redis: received messages were dropped: this node is too slow", "dropped", g.Dropped)
	if b.opts.OnGap != nil {
		b.opts.OnGap(g)
	}
}

// Health implements cluster.HealthReporter. Up means that Redis has confirmed
// the subscriptions of every connection there should be, and serves the streams.
func (b *wireBus) Health() cluster.BusHealth {
	h := b.set.health()
	if b.streams != nil {
		h = merge(h, b.streams.health())
	}
	if text := b.lastError.Load(); text != nil && h.LastError == "" {
		h.LastError = *text
	}
	h.Dropped = b.in.dropped.Load()
	return h
}

// Close implements cluster.Bus.
func (b *wireBus) Close(context.Context) error {
	b.mu.Lock()
	done := b.closed
	b.closed = true
	b.mu.Unlock()
	if done {
		return nil
	}
	b.stop()
	b.running.Wait()
	return errors.Join(b.link.close(), b.release())
}

// Attach implements cluster.Bus. It returns when Redis has confirmed the
// subscriptions, or fails within 5 s.
func (b *wireBus) Attach(ctx context.Context, a cluster.Attach) (cluster.Attachment, error) {
	if strings.Contains(a.Self, "#") || a.Self == "" {
		return nil, fmt.Errorf("socketio: redis: %q cannot be the id of a node", a.Self)
	}
	m, err := newMember(b, a)
	if err != nil {
		return nil, err
	}
	if err := b.addMember(m); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	hears := []string{m.own, m.public}
	if a.Emitter {
		hears = hears[:1]
	}
	b.set.add(m, hears...)
	err = b.set.wait(ctx, hears...)
	if err == nil && b.streams != nil && !a.Emitter {
		err = b.streams.wait(ctx, a.Namespace)
	}
	if err != nil {
		_ = m.Detach(ctx)
		if last := b.Health().LastError; last != "" {
			err = fmt.Errorf("%w (%s)", err, last)
		}
		return nil, fmt.Errorf("socketio: redis: subscribe for namespace %s: %w", a.Namespace, err)
	}
	return m, nil
}

func (b *wireBus) addMember(m *member) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return adapter.ErrClosed
	}
	if b.members[m.Namespace] != nil {
		return fmt.Errorf("socketio: redis: namespace %s is attached already", m.Namespace)
	}
	b.members[m.Namespace] = m
	return nil
}

func (b *wireBus) removeMember(m *member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.members[m.Namespace] == m {
		delete(b.members, m.Namespace)
	}
}

// ends returns the last bytes of every envelope a node sends, as JSON and as
// MessagePack: its id and the namespace.
func ends(a cluster.Attach) (text, packed []byte, err error) {
	probe := &cluster.Message{Kind: cluster.AdapterClose, From: a.Self, Namespace: a.Namespace}
	if text, err = wire.Append(nil, probe); err != nil {
		return nil, nil, err
	}
	if packed, err = wire.AppendPacked(nil, probe); err != nil {
		return nil, nil, err
	}
	_, packed, _ = bytes.Cut(packed, []byte("\xa4type\x0d"))
	return bytes.TrimPrefix(text, []byte(`{"type":13`)), packed, nil
}
