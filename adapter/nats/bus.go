package nats

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

// channelSize is how many messages wait for the goroutine that sorts them, which
// never waits itself.
const channelSize = 8192

// bus joins nodes over NATS core, and for what shall be kept over a journal.
type bus struct {
	// Immutable after openBus.
	opts    Options
	conn    *natsgo.Conn
	watch   *watch
	journal *journal // nil: nothing is kept
	vault   *vault   // nil without a journal
	hasRoom func(adapter.Room) bool
	in      chan *natsgo.Msg
	spawn   func(func(context.Context)) // starts a goroutine that ends with the bus
	stop    context.CancelFunc
	running sync.WaitGroup

	malformed, dropped atomic.Uint64

	mu      sync.Mutex // guards the following; leaf lock
	closed  bool
	members map[string]*member // by the token of the namespace
	senders map[adapter.NodeID]*sender
}

var (
	_ cluster.Bus            = (*bus)(nil)
	_ cluster.HealthReporter = (*bus)(nil)
)

// sender numbers what one member sends to its whole namespace. It lives until the
// goodbye of the member, which comes after its detaching.
type sender struct{ seq atomic.Uint64 }

// openBus connects with the settings of user.
func openBus(ctx context.Context, user natsgo.Options, o Options, size int) (*bus, error) {
	b := &bus{
		opts: o, in: make(chan *natsgo.Msg, size),
		members: make(map[string]*member),
		senders: make(map[adapter.NodeID]*sender),
	}
	b.hasRoom, _ = o.Mode.rooms() // checked before
	b.watch = newWatch(o.HeartbeatInterval, b.gap)
	if err := b.connect(ctx, tune(user, &o)); err != nil {
		return nil, err
	}
	if o.JetStream != nil {
		j, err := openJournal(ctx, b)
		if err != nil {
			b.conn.Close()
			return nil, err
		}
		b.journal = j
		if b.vault, err = openVault(b); err != nil {
			b.conn.Close()
			return nil, err
		}
	}
	b.watch.begin(time.Now())
	run, stop := context.WithCancel(context.Background())
	b.stop = stop
	b.spawn = func(f func(context.Context)) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if !b.closed {
			b.running.Go(func() { f(run) })
		}
	}
	b.spawn(b.sort)
	b.spawn(b.run)
	return b, nil
}

// Publish implements cluster.Bus. It returns when the server has taken the batch.
// What was on the way when the connection broke is not repeated, unless it goes
// into the journal: it may be lost, and the other nodes report that. The server does
// not tell all of an entry's offset, so there are none.
func (b *bus) Publish(ctx context.Context, batch []*cluster.Message) ([]adapter.Offset, error) {
	var waiting *posting
	if b.journal != nil {
		waiting = b.journal.begin(batch)
	}
	for i, m := range batch {
		var err error
		switch {
		case waiting != nil && kept(m):
			err = waiting.post(i, m)
		case m.Kind > cluster.AdapterClose:
			continue // only the classic Redis wire has them
		default:
			err = b.send(m)
		}
		if err != nil {
			return nil, failed(i, err, waiting.wait(ctx, i))
		}
	}
	if err := b.flush(ctx); err != nil && waiting == nil {
		return nil, &cluster.PublishError{Sent: len(batch), Err: fmt.Errorf("socketio: nats: publish: %w", err)}
	}
	if err := waiting.wait(ctx, len(batch)); err != nil {
		return nil, err
	}
	return nil, nil
}

// flush returns when the server has taken everything sent before.
func (b *bus) flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err // nats.go may succeed all the same
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return b.conn.FlushWithContext(ctx)
}

// failed returns the error for message i; earlier is about one before it.
func failed(i int, err error, earlier *cluster.PublishError) error {
	if earlier != nil {
		return earlier
	}
	permanent := errors.Is(err, natsgo.ErrMaxPayload) || errors.Is(err, errEncode)
	return &cluster.PublishError{Sent: i, Permanent: permanent, Err: fmt.Errorf("socketio: nats: publish: %w", err)}
}

// errEncode wraps why a message has no form.
var errEncode = errors.New("cannot be encoded")

// send publishes a message that nobody keeps.
func (b *bus) send(m *cluster.Message) error {
	subject, s := b.subjectAll(m.Namespace), b.sender(m.From)
	if m.Kind == cluster.AdapterClose {
		subject = b.subjectBeat(m.Namespace)
	}
	if m.Kind == cluster.InitialHeartbeat || m.Kind == cluster.Heartbeat {
		s = nil // the coordinator's: one that is lost is no loss, and ours tell the number
	}
	if m.Kind == cluster.Broadcast && m.RequestID == "" && len(m.Target.Rooms) == 1 && b.hasRoom(m.Target.Rooms[0]) {
		subject, s = b.subjectRoom(m.Namespace, m.Target.Rooms[0]), nil
	}
	var at position
	if s != nil {
		at = position{seq: s.seq.Load() + 1, breaks: b.conn.Stats().Reconnects}
	}
	if err := b.publish(subject, "", at, m); err != nil {
		return err
	}
	if s != nil {
		// Only now, so that a heartbeat never names a message that is behind it.
		s.seq.Store(at.seq)
		if m.Kind == cluster.AdapterClose {
			b.forget(m.From)
		}
	}
	return nil
}

func (b *bus) publish(subject, reply string, at position, m *cluster.Message) error {
	frame, err := appendFrame(nil, at, m)
	if err != nil {
		return fmt.Errorf("%w: %w", errEncode, err)
	}
	return b.explain(b.conn.PublishMsg(&natsgo.Msg{Subject: subject, Reply: reply, Data: frame}), len(frame))
}

// explain says more about the error of publishing size bytes.
func (b *bus) explain(err error, size int) error {
	if errors.Is(err, natsgo.ErrMaxPayload) {
		return fmt.Errorf("a message of %d bytes is larger than max_payload of the server, %d: %w", size, b.conn.MaxPayload(), err)
	}
	return err
}

func (b *bus) sender(id adapter.NodeID) *sender {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.senders[id]
}

func (b *bus) forget(id adapter.NodeID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.senders, id)
}

// Reply implements cluster.Bus.
func (b *bus) Reply(_ context.Context, to adapter.NodeID, m *cluster.Message) error {
	if to == "" || to == cluster.EmitterID {
		return errors.New("socketio: nats: nobody to reply to")
	}
	if err := b.publish(b.subjectNode(m.Namespace, to), "", position{}, m); err != nil {
		return fmt.Errorf("socketio: nats: reply: %w", err)
	}
	return nil
}

// sort hands what was received to the members. It never waits.
func (b *bus) sort(ctx context.Context) {
	skip := len(b.opts.Prefix) + 1
	for {
		var msg *natsgo.Msg
		select {
		case msg = <-b.in:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		name, _, _ := strings.Cut(msg.Subject[min(skip, len(msg.Subject)):], ".")
		if m := b.member(name); m != nil {
			m.in.push(parcel{data: msg.Data, alone: isNoResponders(msg), at: now})
		}
		if len(b.in) == 0 {
			b.watch.empty(now)
		}
	}
}

func isNoResponders(m *natsgo.Msg) bool {
	return len(m.Data) == 0 && m.Header.Get("Status") == "503"
}

func (b *bus) member(name string) *member {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.members[name]
}

func (b *bus) all() []*member {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]*member, 0, len(b.members))
	for _, m := range b.members {
		list = append(list, m)
	}
	return list
}

// run watches the connection, says that the members live and notices who does not.
func (b *bus) run(ctx context.Context) {
	tick := time.NewTicker(b.opts.HeartbeatInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for _, m := range b.all() {
				m.due.Store(true)
			}
		case <-b.watch.wake:
		case <-ctx.Done():
			return
		}
		b.watch.settleOverrun()
		before := b.watch.confirmed
		if !b.watch.check(ctx, b.conn) {
			continue
		}
		now := time.Now()
		deadline := b.watch.silentSince(now)
		for _, m := range b.all() {
			if (m.due.Swap(false) || b.watch.confirmed != before) && !m.Emitter {
				_ = m.beat(cluster.Heartbeat, "") // the next check notices what is wrong
			}
			m.bury(deadline, now)
		}
	}
}

func (b *bus) gap(g Gap) {
	b.dropped.Add(g.Dropped)
	b.opts.Logger.Warn("socketio: nats: messages of other nodes may have been missed", "event", "adapter.gap", "kind", string(g.Kind),
		"missing_since", g.From, "away", g.To.Sub(g.From), "dropped", g.Dropped, "reason", g.Reason)
	if b.opts.OnGap != nil {
		b.opts.OnGap(g)
	}
}

func (b *bus) reject(namespace string, err error) {
	b.malformed.Add(1)
	b.opts.Logger.Debug("socketio: nats: dropped a message", "event", "adapter.message_refused", "namespace", namespace, "error", err)
}

// Health implements cluster.HealthReporter. Up means that the server has lately
// answered on the present connection.
func (b *bus) Health() cluster.BusHealth {
	h := b.watch.snapshot()
	h.Dropped = b.dropped.Load()
	return h
}

// Close implements cluster.Bus.
func (b *bus) Close(ctx context.Context) error {
	b.mu.Lock()
	done := b.closed
	b.closed = true
	b.mu.Unlock()
	if done {
		return nil
	}
	for _, m := range b.all() {
		_ = m.Detach(ctx) // nobody listens any more
	}
	b.stop()
	b.running.Wait()
	b.conn.Close()
	return nil
}
