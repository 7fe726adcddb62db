package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

// maxLegacy bounds the answers to old requests that wait to be sent.
const maxLegacy = 64

// bus speaks the wire of the classic adapter.
type bus struct {
	// Immutable after newBus.
	link    *link
	opts    Options
	release func() error
	sub     subscriber
	in      *intake[parcel]
	probeID string // the room nobody has
	stop    context.CancelFunc
	running sync.WaitGroup
	legacy  chan outgoing

	malformed atomic.Uint64

	mu     sync.Mutex // guards the following; leaf lock
	closed bool
	routes map[topic]route
	probes string // a channel we hear; empty: none
}

type outgoing struct {
	channel string
	payload []byte
}

type route struct {
	to   *attachment
	kind channelKind
}

var (
	_ cluster.Bus            = (*bus)(nil)
	_ cluster.HealthReporter = (*bus)(nil)
)

func newBus(l *link, o Options, release func() error) *bus {
	ctx, stop := context.WithCancel(context.Background())
	b := &bus{
		link: l, opts: o, release: release, stop: stop,
		probeID: "~probe~" + rand.Text(),
		legacy:  make(chan outgoing, maxLegacy),
		routes:  make(map[topic]route),
	}
	b.sub = subscriber{open: l.pubsub, probe: b.probe, handle: b.receive, idle: o.ProbeInterval, onGap: o.OnGap, log: o.Logger}
	b.sub.init()
	b.in = newIntake(b.deliver, b.overrun)
	b.in.start(ctx, &b.running)
	b.running.Go(func() { b.sub.run(ctx) })
	b.running.Go(func() { b.answerLegacy(ctx) })
	return b
}

// Publish implements cluster.Bus with one pipeline. What Redis refused may be
// published again; what was written and not confirmed may not, because pub/sub
// delivers at most once.
func (b *bus) Publish(ctx context.Context, batch []*cluster.Message) ([]adapter.Offset, error) {
	c, err := b.link.publisher(ctx)
	if err != nil {
		return nil, fmt.Errorf("socketio: redis: publish: %w", err)
	}
	pipe := c.Pipeline()
	for i, m := range batch {
		channel := b.channels(m.Namespace).target(m)
		if channel == "" {
			continue
		}
		payload, err := encode(m)
		if err != nil {
			if e := b.exec(ctx, pipe, batch[:i]); e != nil {
				return nil, e
			}
			return nil, &cluster.PublishError{Sent: i, Permanent: true, Err: err}
		}
		pipe.Publish(ctx, channel, payload)
	}
	return nil, b.exec(ctx, pipe, batch)
}

// exec runs the pipeline that was filled from batch.
func (b *bus) exec(ctx context.Context, pipe goredis.Pipeliner, batch []*cluster.Message) error {
	if pipe.Len() == 0 {
		return nil
	}
	cmds, err := pipe.Exec(ctx)
	if err == nil {
		return nil
	}
	b.link.failed(ctx)
	b.sub.count(func(h *adapter.Health) { h.LastError = err.Error() })
	err = fmt.Errorf("socketio: redis: publish: %w", err)
	done := taken(cmds)
	if done == 0 {
		return err
	}
	return &cluster.PublishError{Sent: indexAfter(b, batch, done), Err: err}
}

// taken returns how many commands at the head of a failed pipeline are not to be
// repeated: all up to the last that Redis executed, or may have executed.
func taken(cmds []goredis.Cmder) int {
	for i := len(cmds) - 1; i >= 0; i-- {
		if err := cmds[i].Err(); err == nil || !unsent(err) {
			return i + 1
		}
	}
	return 0
}

// unsent reports whether err means that Redis has not executed the command.
func unsent(err error) bool {
	var refused goredis.Error
	if errors.As(err, &refused) {
		return true // an answer: NOPERM, LOADING, CLUSTERDOWN
	}
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" || errors.Is(err, goredis.ErrPoolTimeout) || errors.Is(err, goredis.ErrClosed)
}

// indexAfter returns the index in batch after the n-th message that has a form on
// this wire.
func indexAfter(b *bus, batch []*cluster.Message, n int) int {
	for i, m := range batch {
		if b.channels(m.Namespace).target(m) == "" {
			continue
		}
		if n--; n == 0 {
			return i + 1
		}
	}
	return len(batch)
}

// Reply implements cluster.Bus. Answers to server-side emits always use the
// shared channel, as in the reference; so do those to senders without a name.
func (b *bus) Reply(ctx context.Context, to adapter.NodeID, m *cluster.Message) error {
	payload, err := encodeAnswer(m)
	if err != nil {
		return err
	}
	ch := b.channels(m.Namespace)
	channel := ch.response
	if b.opts.SpecificResponseChannel && to != "" && to != cluster.EmitterID && m.Kind != cluster.ServerSideEmitResponse {
		channel = ch.own(to)
	}
	if err := b.link.publish(ctx, channel, payload); err != nil {
		return fmt.Errorf("socketio: redis: reply: %w", err)
	}
	return nil
}

func (b *bus) channels(namespace string) channels { return channelsOf(b.opts.Key, namespace) }

// probe publishes to ourselves through a pattern we are subscribed to, or as an
// emitter on our own channel. Other nodes have no member of that room and drop it
// unread.
func (b *bus) probe(ctx context.Context) error {
	b.mu.Lock()
	channel := b.probes
	b.mu.Unlock()
	if channel == "" {
		return nil
	}
	if err := b.link.publish(ctx, channel, probePayload); err != nil {
		return fmt.Errorf("socketio: redis: probe: %w", err)
	}
	return nil
}

// receive is called by the reader for every message.
func (b *bus) receive(m *goredis.Message) {
	name := topic{name: m.Channel}
	if m.Pattern != "" {
		name = topic{kind: pattern, name: m.Pattern}
	}
	b.mu.Lock()
	r, ok := b.routes[name]
	b.mu.Unlock()
	if !ok || len(m.Payload) == 0 || isProbe(m.Payload) {
		return
	}
	if senderOf(m.Payload) == r.to.Self {
		return
	}
	if len(m.Payload) > maxEnvelope {
		b.reject(r.to, m.Channel, errTooLarge)
		return
	}
	b.in.push(parcel{to: r.to, kind: r.kind, channel: m.Channel, payload: m.Payload})
}

var errTooLarge = errors.New("message is larger than 16 MiB")

// parcel is a received message on its way from the reader to a worker.
type parcel struct {
	to      *attachment
	kind    channelKind
	channel string
	payload string
}

func (p parcel) group() string { return p.to.Namespace }
func (p parcel) size() int     { return len(p.payload) }

// deliver is called by the workers.
func (b *bus) deliver(p parcel) {
	if p.to.detached.Load() {
		return
	}
	var m *cluster.Message
	var old legacy
	var err error
	switch p.kind {
	case broadcasts:
		room, ok := p.to.ch.roomOf(p.channel)
		if !ok || room != "" && !p.to.HasRoom(room) {
			return
		}
		m, err = decodeBroadcast(p.to.Namespace, []byte(p.payload))
	case requests:
		m, old, err = decodeRequest(p.to.Namespace, []byte(p.payload))
	case responses:
		m, err = decodeResponse(p.to.Namespace, []byte(p.payload))
	}
	if err != nil {
		if !errors.Is(err, errElsewhere) {
			b.reject(p.to, p.channel, err)
		}
		return
	}
	if m.From == p.to.Self {
		return
	}
	if old.sid != "" {
		b.acknowledge(p.to, m, old)
	}
	p.to.Receive(m, "")
}

// acknowledge answers a request in the old form if the socket is here.
func (b *bus) acknowledge(to *attachment, m *cluster.Message, old legacy) {
	if m.RequestID == "" || !to.HasRoom(old.sid) {
		return
	}
	out := outgoing{channel: to.ch.response, payload: encodeLegacy(m.RequestID)}
	select {
	case b.legacy <- out:
	default: // the requester times out
	}
}

func (b *bus) answerLegacy(ctx context.Context) {
	for {
		select {
		case out := <-b.legacy:
			if err := b.link.publish(ctx, out.channel, out.payload); err != nil {
				b.opts.Logger.Debug("socketio: redis: reply failed", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (b *bus) reject(to *attachment, channel string, err error) {
	b.malformed.Add(1)
	b.opts.Logger.Debug("socketio: redis: dropped a message", "namespace", to.Namespace, "channel", channel, "error", err)
}

func (b *bus) overrun(g Gap) {
	b.opts.Logger.Warn("socketio: redis: received messages were dropped: this node is too slow", "dropped", g.Dropped)
	b.sub.report(g)
}

// Health implements cluster.HealthReporter. Up means that Redis has confirmed
// all subscriptions of the present connection.
func (b *bus) Health() cluster.BusHealth {
	h := b.sub.snapshot()
	h.Dropped = b.in.dropped.Load()
	return h
}

// Close implements cluster.Bus.
func (b *bus) Close(context.Context) error {
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
func (b *bus) Attach(ctx context.Context, a cluster.Attach) (cluster.Attachment, error) {
	if strings.Contains(a.Self, "#") || a.Self == "" {
		return nil, fmt.Errorf("socketio: redis: %q cannot be the id of a node", a.Self)
	}
	att := &attachment{Attach: a, bus: b, ch: b.channels(a.Namespace)}
	if err := b.route(att); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	b.sub.topics.want(true, att.topics()...)
	if err := b.sub.topics.wait(ctx, att.topics()...); err != nil {
		_ = att.Detach(ctx)
		if last := b.Health().LastError; last != "" {
			err = fmt.Errorf("%w (%s)", err, last)
		}
		return nil, fmt.Errorf("socketio: redis: subscribe for namespace %s: %w", a.Namespace, err)
	}
	return att, nil
}

func (b *bus) route(att *attachment) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return adapter.ErrClosed
	}
	list := att.subscriptions()
	for t := range list {
		if _, taken := b.routes[t]; taken {
			return fmt.Errorf("socketio: redis: namespace %s is attached already", att.Namespace)
		}
	}
	for t, kind := range list {
		b.routes[t] = route{att, kind}
	}
	b.probes = att.probe()
	return nil
}

func (b *bus) unroute(att *attachment) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probes = ""
	for t, r := range b.routes {
		if r.to == att {
			delete(b.routes, t)
		} else {
			b.probes = r.to.probe()
		}
	}
}

// attachment is one namespace.
type attachment struct {
	cluster.Attach // Namespace, Self, Receive, HasRoom
	bus            *bus
	ch             channels
	detached       atomic.Bool
}

func (a *attachment) topics() []topic {
	var list []topic
	for t := range a.subscriptions() {
		list = append(list, t)
	}
	return list
}

func (a *attachment) subscriptions() map[topic]channelKind {
	if a.Emitter {
		return a.ch.answers(a.Self)
	}
	return a.ch.topics(a.Self)
}

// probe returns a channel this attachment hears and no other node reads.
func (a *attachment) probe() string {
	if a.Emitter {
		return a.ch.own(a.Self)
	}
	return a.ch.room(a.bus.probeID)
}

// Peers implements cluster.Attachment: it counts the subscribers of the request
// channel.
func (a *attachment) Peers(ctx context.Context) (int, error) {
	n, err := a.bus.link.subscribers(ctx, topic{name: a.ch.request})
	if err != nil {
		return 0, fmt.Errorf("socketio: redis: count nodes: %w", err)
	}
	if a.Emitter {
		return n, nil
	}
	return max(n, 1), nil
}

// RoomCreated and RoomDeleted implement cluster.Attachment: one pattern covers
// all rooms.
func (a *attachment) RoomCreated(adapter.Room) {}
func (a *attachment) RoomDeleted(adapter.Room) {}

// Detach implements cluster.Attachment. It waits until Redis no longer counts
// this node, for at most a second.
func (a *attachment) Detach(ctx context.Context) error {
	if a.detached.Swap(true) {
		return nil
	}
	a.bus.unroute(a)
	a.bus.sub.topics.want(false, a.topics()...)
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = a.bus.sub.topics.wait(ctx, a.topics()...) // without Redis there is nothing to leave
	return nil
}
