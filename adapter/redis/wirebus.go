package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

// dialect is what differs between the wires.
type dialect interface {
	// topics returns what m listens to all the time.
	topics(m *member) []topic
	// counted returns what every node of a namespace, and nobody else, listens to.
	counted(m *member) topic
	// room returns the channel of a room that has one of its own.
	room(m *member, r adapter.Room) (channel string, ok bool)
	// sent reports whether payload is a message of m's, without decoding it.
	sent(m *member, payload string) bool
	// decode returns no message when there is nothing in it for m. It is called by
	// workers.
	decode(m *member, channel, payload string) (*cluster.Message, error)
	// lane returns the lane of m; not ok when there is no form for m.
	lane(m *cluster.Message) (l cluster.Lane, ok bool)
	// answer returns the channel and the form of an answer.
	answer(to adapter.NodeID, m *cluster.Message) (channel string, payload []byte, err error)
}

// wireBus is the bus of all adapters of this package.
type wireBus struct {
	// Immutable.
	link    *link
	opts    Options
	release func() error
	dialect dialect
	set     *channelSet
	streams *streamSet // nil: none
	in      *intake[envelope]
	post    post
	stop    context.CancelFunc
	running sync.WaitGroup

	received  atomic.Uint64 // from channels and streams, wanted or not
	malformed atomic.Uint64
	lastError atomic.Pointer[string] // of publishing

	mu      sync.Mutex // guards the following; leaf lock
	closed  bool
	members map[string]*member // by namespace
}

var (
	_ cluster.Bus            = (*wireBus)(nil)
	_ cluster.HealthReporter = (*wireBus)(nil)
	_ cluster.Layout         = (*wireBus)(nil)
	_ cluster.GapReporter    = (*wireBus)(nil)
	_ cluster.Vault          = (*wireBus)(nil)
	_ cluster.Meter          = (*wireBus)(nil)
)

func newWireBus(l *link, kind topicKind, o Options, release func() error) *wireBus {
	b := &wireBus{
		link: l, opts: o, release: release,
		post:    post{link: l, onGap: o.OnGap},
		members: make(map[string]*member),
	}
	if l.masters != nil {
		l.masters.report(b.failover)
	}
	b.set = newChannelSet(l, kind, &b.opts, b.receive)
	b.in = newIntake(b.deliver, b.overrun)
	return b
}

// start runs the bus, and more until it is closed.
func (b *wireBus) start(more ...func(ctx context.Context)) {
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	b.in.start(ctx, &b.running)
	b.running.Go(func() { b.set.run(ctx) })
	if b.streams != nil {
		b.streams.start(ctx, &b.running)
	}
	for _, run := range more {
		b.running.Go(func() { run(ctx) })
	}
}

// Publish implements cluster.Bus. On Redis Cluster the order of messages on
// different sharded channels is not kept, as it is not by the reference. What
// Redis refused may be published again; of pub/sub what was written and not
// confirmed may not, because that delivers at most once.
func (b *wireBus) Publish(ctx context.Context, batch []*cluster.Message) ([]adapter.Offset, error) {
	at, err := b.post.publish(ctx, batch)
	if err != nil {
		text := err.Error()
		b.lastError.Store(&text)
	}
	return at, err
}

// Lane implements cluster.Layout.
func (b *wireBus) Lane(m *cluster.Message) (cluster.Lane, bool) {
	if b.streams != nil && inStream(m) {
		return cluster.Lane{Log: true, Rooms: true}, true
	}
	return b.dialect.lane(m)
}

// ReportGaps implements cluster.GapReporter.
func (b *wireBus) ReportGaps(fn func(Gap)) { b.opts.gaps.set(fn) }

// Reply implements cluster.Bus.
func (b *wireBus) Reply(ctx context.Context, to adapter.NodeID, m *cluster.Message) error {
	channel, payload, err := b.dialect.answer(to, m)
	if err != nil {
		return err
	}
	l, err := b.letterTo(ctx, channel, payload)
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

func (e envelope) kept() bool { return e.entry != nil }

func (e envelope) size() int {
	if e.entry != nil {
		return len(e.entry.data)
	}
	return len(e.payload)
}

// receive is called by the readers of channels.
func (b *wireBus) receive(to *member, channel, payload string) {
	b.received.Add(1)
	if payload == "" || b.dialect.sent(to, payload) && !isBeat(payload) {
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
	b.received.Add(1)
	b.mu.Lock()
	to := b.members[e.nsp]
	b.mu.Unlock()
	if to == nil || e.uid == to.Self && !to.Log {
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
		m, err = e.entry.message(e.to.Self)
	} else {
		m, err = b.dialect.decode(e.to, e.channel, e.payload)
	}
	if err != nil {
		b.reject(e.to, where, err)
		return
	}
	if m == nil || m.Namespace != e.to.Namespace || m.From == e.to.Self && !e.to.Log && !isHeartbeat(m.Kind) {
		return
	}
	e.to.Receive(m, at)
}

var errTooLarge = errors.New("message is larger than 16 MiB")

func (b *wireBus) reject(to *member, where string, err error) {
	b.malformed.Add(1)
	b.opts.Logger.Debug("socketio: redis: dropped a message", "event", "adapter.message_refused", "namespace", to.Namespace, "source", where, "error", err)
}

func (b *wireBus) overrun(g Gap) {
	b.opts.Logger.Warn("socketio: redis: received messages were dropped: this node is too slow", "event", "adapter.gap", "dropped", g.Dropped)
	if b.opts.OnGap != nil {
		b.opts.OnGap(g)
	}
}

func (b *wireBus) failover(g Gap) {
	b.opts.Logger.Warn("socketio: redis: the master changed, messages may be missed", "event", "adapter.failover", "missing_since", g.From)
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
	h.Received, h.Dropped = b.received.Load(), b.in.dropped.Load()
	return h
}

// Measure implements cluster.Meter.
func (b *wireBus) Measure() cluster.Measures {
	m := cluster.Measures{Subscriptions: b.set.len(), Inbound: b.in.queues(), RoundTrips: b.set.trips.Snapshot()}
	if b.streams != nil {
		m.Subscriptions += b.streams.len()
	}
	return m
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
		return nil, fmt.Errorf("socketio: redis: %w", err)
	}
	if err := b.addMember(m); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	list := b.dialect.topics(m)
	b.set.add(m, list...)
	err = b.set.wait(ctx, list...)
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
