package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
)

// Between attempts to connect a subscriber waits, from the first to the last of
// these, doubling, less up to a half at random.
const (
	minBackOff = 50 * time.Millisecond
	maxBackOff = 2 * time.Second
)

// measureInterval is the time between probes of a connection that is not silent.
const measureInterval = 15 * time.Second

// subscribeChunk bounds the topics of one command.
const subscribeChunk = 256

var (
	errDeaf        = errors.New("the subscription is deaf: probes did not come back")
	errUnconfirmed = errors.New("redis did not confirm a subscription in time")
)

// subscriber keeps one connection subscribed to a set of topics. Connections are
// never mended: a broken or deaf one is replaced.
type subscriber struct {
	// Immutable.
	open   func(ctx context.Context) *goredis.PubSub
	probe  func(ctx context.Context) error // publishes what must come back
	handle func(m *goredis.Message)        // called by the reader, must be quick
	idle   time.Duration                   // silence before a probe; negative: no probes
	onGap  func(Gap)
	log    *slog.Logger
	slots  bool              // Redis Cluster: one SSUBSCRIBE is for channels of one slot
	first  string            // named before all others: on Redis Cluster it picks the server; may be empty
	moved  func(name string) // Redis ended a subscription, or refused it because of its slot; empty: see for yourself; may be nil

	topics *topics
	heard  atomic.Int64 // when the reader got something last, in ns since epoch
	epoch  time.Time

	mu     sync.Mutex // guards the following; leaf lock
	health adapter.Health
	live   bool // a session runs that has not been given up
	seen   bool // has been up
	lastOK time.Time
}

func (s *subscriber) init() {
	s.topics = newTopics()
	s.epoch = time.Now()
	s.health.Since = s.epoch
}

// run belongs to one goroutine; it ends when ctx is done.
func (s *subscriber) run(ctx context.Context) {
	wait := minBackOff
	for s.awaitTopics(ctx) {
		began := time.Now()
		err := s.session(ctx)
		s.topics.reset()
		if ctx.Err() != nil {
			return
		}
		if err != nil && s.moved != nil {
			s.moved("")
		}
		if err == nil {
			continue // no topics are left
		}
		if time.Since(began) > 2*maxBackOff {
			wait = minBackOff
		}
		if !sleep(ctx, wait/2+rand.N(wait/2)) {
			return
		}
		wait = min(2*wait, maxBackOff)
	}
}

func (s *subscriber) awaitTopics(ctx context.Context) bool {
	for s.topics.empty() {
		select {
		case <-s.topics.wake:
		case <-ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// session is the life of one connection. It returns why the connection must be
// replaced, or nil when nothing is to be subscribed to any more.
func (s *subscriber) session(ctx context.Context) error {
	s.begin()
	var seal atomic.Bool
	ctx, cancel := context.WithCancel(ctx)
	own := withSeal(ctx, &seal)
	ps := s.open(own)
	var running sync.WaitGroup
	defer running.Wait()
	defer func() {
		seal.Store(true)
		cancel()
		_ = ps.Close()
	}()
	if err := s.reconcile(own, ps); err != nil {
		return s.down(ctx, err)
	}
	seal.Store(true)
	s.touch()
	broken := make(chan error, 1)
	running.Go(func() { broken <- s.read(own, ps) })
	w := watch{s: s, pulse: make(chan struct{}, 1)}
	running.Go(func() { w.publish(ctx) })
	return s.down(ctx, s.watch(own, ps, &w, broken))
}

func (s *subscriber) watch(ctx context.Context, ps *goredis.PubSub, w *watch, broken <-chan error) error {
	tick := time.NewTicker(s.granularity())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-broken:
			return err
		case <-s.topics.wake:
			if s.topics.empty() {
				return nil
			}
			if err := s.reconcile(ctx, ps); err != nil {
				return err
			}
		case <-tick.C:
			if s.topics.empty() {
				return nil
			}
			if err := w.check(time.Now()); err != nil {
				return err
			}
		}
	}
}

func (s *subscriber) granularity() time.Duration {
	if s.idle < 0 {
		return 250 * time.Millisecond
	}
	return max(s.idle/8, time.Millisecond)
}

// reconcile sends the commands that bring the connection to the desired set.
// Channels go first: on Redis Cluster the first channel picks the node, and a
// pattern would pick a replica, which nobody asks for its subscribers.
func (s *subscriber) reconcile(ctx context.Context, ps *goredis.PubSub) error {
	sub, unsub := s.topics.change(time.Now())
	for _, step := range []struct {
		list []topic
		kind topicKind
		do   func(ctx context.Context, names ...string) error
	}{
		{sub, plain, ps.Subscribe}, {sub, pattern, ps.PSubscribe}, {sub, shard, ps.SSubscribe},
		{unsub, plain, ps.Unsubscribe}, {unsub, pattern, ps.PUnsubscribe}, {unsub, shard, ps.SUnsubscribe},
	} {
		for _, names := range s.commands(step.list, step.kind) {
			if err := step.do(ctx, names...); err != nil {
				return fmt.Errorf("subscribe: %w", err)
			}
		}
	}
	return nil
}

// commands groups the names of one kind by the command that may name them.
func (s *subscriber) commands(list []topic, kind topicKind) [][]string {
	bySlot := make(map[int][]string)
	for _, t := range list {
		if t.kind != kind {
			continue
		}
		slot := 0
		if s.slots && kind == shard {
			slot = slotOf(t.name)
		}
		bySlot[slot] = append(bySlot[slot], t.name)
	}
	var out [][]string
	for _, names := range bySlot {
		if i := slices.Index(names, s.first); i > 0 {
			names[0], names[i] = names[i], names[0]
		}
		out = slices.AppendSeq(out, slices.Chunk(names, subscribeChunk))
	}
	return out
}

// read moves what arrives until the connection breaks. There is no read deadline:
// one that strikes within a message would tear the stream apart.
func (s *subscriber) read(ctx context.Context, ps *goredis.PubSub) error {
	for {
		got, err := ps.ReceiveTimeout(ctx, 0)
		if s.moved != nil && isMoved(err) {
			s.moved("")
			continue
		}
		if err != nil {
			return err
		}
		s.touch()
		switch m := got.(type) {
		case *goredis.Message:
			s.handle(m)
		case *goredis.Subscription:
			if !s.topics.confirm(topicOf(m)) && s.moved != nil && m.Kind == "sunsubscribe" {
				s.moved(m.Channel)
			}
			if s.topics.progress() {
				s.up()
			}
		}
	}
}

func topicOf(m *goredis.Subscription) topic {
	t := topic{name: m.Channel}
	switch m.Kind[0] {
	case 'p':
		t.kind = pattern
	case 's':
		if m.Kind[1] == 's' || m.Kind == "sunsubscribe" {
			t.kind = shard
		}
	}
	return t
}

// isMoved reports whether err is Redis Cluster's word for a slot that another
// server has. The connection is fine.
func isMoved(err error) bool {
	var answer goredis.Error
	return errors.As(err, &answer) && strings.HasPrefix(answer.Error(), "MOVED ")
}

func (s *subscriber) touch() { s.heard.Store(int64(time.Since(s.epoch))) }

// lastHeard returns when something arrived last.
func (s *subscriber) lastHeard() time.Time { return s.epoch.Add(time.Duration(s.heard.Load())) }

func (s *subscriber) silence() time.Duration {
	return time.Since(s.epoch) - time.Duration(s.heard.Load())
}

// watch decides whether a connection still works. check belongs to the session's
// goroutine, publish to one of its own because it can hang.
type watch struct {
	s     *subscriber
	pulse chan struct{} // asks for a probe
	sent  int           // probes since something was heard

	measured time.Time // the last probe that was sent without need
	checked  time.Time // the last check
	awake    time.Time // since when checks have come in time
}

// check returns why the connection is to be given up. After idle of silence it
// probes, twice; each probe has half of idle to come back.
func (w *watch) check(now time.Time) error {
	patience := w.s.idle
	if patience < 0 {
		patience = defaultProbeInterval
	}
	if since := w.s.topics.oldest(); !since.IsZero() && now.Sub(since) > max(2*patience, time.Second) {
		return errUnconfirmed
	}
	if w.s.idle < 0 {
		return nil
	}
	silent := min(w.s.silence(), w.running(now))
	switch due := w.s.idle + time.Duration(w.sent)*w.s.idle/2; {
	case silent < w.s.idle:
		w.sent = 0
		w.measure(now)
	case silent < due:
	case w.sent == 2:
		w.s.count(func(h *adapter.Health) { h.ProbeFailures++ })
		return errDeaf
	default:
		if w.sent > 0 {
			w.s.count(func(h *adapter.Health) { h.ProbeFailures++ })
		}
		w.sent++
		w.pulseOnce()
	}
	return nil
}

// measure sends a probe now and then although all is well, because those that are
// needed only tell how the backend does when it has nothing to do.
func (w *watch) measure(now time.Time) {
	switch {
	case w.measured.IsZero():
		w.measured = now
	case now.Sub(w.measured) >= measureInterval:
		w.measured = now
		w.pulseOnce()
	}
}

// pulseOnce asks for a probe.
func (w *watch) pulseOnce() {
	select {
	case w.pulse <- struct{}{}:
	default:
	}
}

// running returns for how long checks have come in time. Silence before that
// proves nothing: the process itself was stopped or starved.
func (w *watch) running(now time.Time) time.Duration {
	if now.Sub(w.checked) > w.s.idle/2 {
		w.awake, w.sent = now, 0
	}
	w.checked = now
	return now.Sub(w.awake)
}

func (w *watch) publish(ctx context.Context) {
	for {
		select {
		case <-w.pulse:
		case <-ctx.Done():
			return
		}
		if err := w.probe(ctx); err != nil && ctx.Err() == nil {
			w.s.count(func(h *adapter.Health) { h.LastError = err.Error() })
		}
	}
}

// probe takes no longer than a probe may take to come back, so that a session
// ends soon when Redis hangs.
func (w *watch) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, max(w.s.idle/2, 100*time.Millisecond))
	defer cancel()
	return w.s.probe(ctx)
}

func (s *subscriber) count(f func(h *adapter.Health)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.health)
}

func (s *subscriber) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = true
}

// up notes that Redis has confirmed everything.
func (s *subscriber) up() {
	s.mu.Lock()
	if s.health.Up || !s.live {
		s.mu.Unlock()
		return
	}
	now := time.Now()
	again, gap := s.seen, Gap{Kind: GapConnection, From: s.lastOK, To: now, Reason: s.health.LastError}
	s.health.Up, s.health.Since, s.seen = true, now, true
	if again {
		s.health.Resubscribes++
	}
	s.mu.Unlock()
	if again {
		s.log.Info("socketio: redis: subscribed again", "event", "adapter.up", "missing_since", gap.From, "away", gap.To.Sub(gap.From))
		s.report(gap)
	}
}

// down notes that the connection is given up because of err, unless that is nil
// or ctx is done, and returns err. What arrived until the last message heard is
// certain; later ones may be missing.
func (s *subscriber) down(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	heard := s.lastHeard()
	s.mu.Lock()
	wasUp := s.health.Up
	s.live = false
	s.health.LastError = err.Error()
	if wasUp {
		s.health.Reconnects++
		s.health.Up, s.health.Since, s.lastOK = false, time.Now(), heard
	}
	s.mu.Unlock()
	if wasUp {
		s.log.Warn("socketio: redis: subscription lost, messages of other nodes may be missed", "event", "adapter.down", "error", err)
	}
	return err
}

func (s *subscriber) report(g Gap) {
	if s.onGap != nil {
		s.onGap(g)
	}
}

func (s *subscriber) snapshot() adapter.Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health
}
