package redis

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/hist"
)

// How often the place of every channel is checked on Redis Cluster: as a rule,
// and for a while after something hinted at a change.
const (
	checkInterval  = 5 * time.Second
	urgentInterval = 100 * time.Millisecond
	urgentTime     = 3 * time.Second
	// suspectTime is how long the topology may take to show that a channel Redis
	// has unsubscribed us from is elsewhere; after that it is subscribed to again
	// where it was.
	suspectTime = 500 * time.Millisecond
	// lingerTime is how long a room nobody is in any more stays subscribed to, for
	// somebody who comes back; maxLingering bounds how many do.
	lingerTime   = 5 * time.Second
	maxLingering = 10_000
)

// channelSet is what a node listens to, each topic on the connection to the
// server that has it. On Redis Cluster a sharded channel has one, which changes
// when its slot moves; in any other case there is one connection for all.
type channelSet struct {
	// Immutable.
	link   *link
	kind   topicKind // of probes: plain or shard
	token  string    // makes the names of probes this set's own
	key    string    // prefix of the names of probes
	opts   *Options
	handle func(to *member, channel, payload string) // called by readers, must be quick
	wake   chan struct{}                             // capacity 1
	ended  chan struct{}                             // closed when run returns
	linger time.Duration
	trips  *hist.Recorder // of probes
	epoch  time.Time      // what probes count from

	// Owned by the goroutine of run.
	urgent  time.Time // until then checks come often
	checked time.Time

	mu      sync.Mutex // guards the following, entry, home.channels, home.probe and member.channels; before topics.mu
	entries map[topic]*entry
	dirty   map[topic]*entry    // to be placed, or to be left
	idle    map[topic]time.Time // nobody is left, since when
	suspect map[topic]time.Time
	homes   map[string]*home // by address
	retired adapter.Health   // counters of homes that are gone
	changed chan struct{}    // closed and replaced when entries were placed or left
}

// entry is one topic.
type entry struct {
	to    []*member // empty: to be left
	home  *home     // nil: not placed yet
	moved time.Time // since when messages may be missing; zero: they are not
}

func newChannelSet(l *link, kind topicKind, o *Options, handle func(to *member, channel, payload string)) *channelSet {
	return &channelSet{
		link: l, kind: kind, token: rand.Text(), key: o.Key, opts: o, handle: handle,
		wake:    make(chan struct{}, 1),
		ended:   make(chan struct{}),
		linger:  lingerTime,
		trips:   hist.NewDurations(),
		epoch:   time.Now(),
		idle:    make(map[topic]time.Time),
		entries: make(map[topic]*entry),
		dirty:   make(map[topic]*entry),
		suspect: make(map[topic]time.Time),
		homes:   make(map[string]*home),
		changed: make(chan struct{}),
	}
}

// add makes to listen to a list of topics. It does nothing once to has left.
func (s *channelSet) add(to *member, list ...topic) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range list {
		if _, has := to.channels[name]; has || to.channels == nil {
			continue
		}
		to.channels[name] = struct{}{}
		e := s.entries[name]
		if e == nil {
			e = new(entry)
			s.entries[name] = e
		}
		e.to = append(e.to, to)
		delete(s.idle, name)
		if e.home == nil {
			s.dirty[name] = e
		}
	}
	signal(s.wake)
}

// remove ends to's listening to a list of topics. Redis is told later, for those
// nobody listens to by then.
func (s *channelSet) remove(to *member, list ...topic) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range list {
		s.removeLocked(to, name)
	}
	signal(s.wake)
}

func (s *channelSet) removeLocked(to *member, name topic) {
	if _, has := to.channels[name]; !has {
		return
	}
	delete(to.channels, name)
	e := s.entries[name]
	e.to = slices.DeleteFunc(slices.Clone(e.to), func(m *member) bool { return m == to })
	if len(e.to) > 0 {
		return
	}
	s.idle[name] = time.Now()
	if len(s.idle) > maxLingering {
		s.expireLocked(0)
	}
}

// expireLocked lets go of what nobody has listened to for a while.
func (s *channelSet) expireLocked(after time.Duration) {
	for name, since := range s.idle {
		if time.Since(since) >= after {
			delete(s.idle, name)
			s.dirty[name] = s.entries[name]
		}
	}
}

// leave ends all of to's listening and returns when Redis has confirmed that for
// list, or ctx is done.
func (s *channelSet) leave(ctx context.Context, to *member, list ...topic) {
	s.mu.Lock()
	had := make(map[topic]*home)
	for _, name := range list {
		if e := s.entries[name]; e != nil && e.home != nil {
			had[name] = e.home
		}
	}
	for name := range to.channels {
		s.removeLocked(to, name)
	}
	to.channels = nil
	s.expireLocked(0)
	signal(s.wake)
	s.mu.Unlock()
	for name, h := range had {
		if s.until(ctx, func() bool { return s.entries[name] == nil || len(s.entries[name].to) > 0 }) != nil {
			return
		}
		_ = h.sub.topics.wait(ctx, name) // without Redis there is nothing to leave
	}
}

// wait returns when Redis has confirmed the subscriptions.
func (s *channelSet) wait(ctx context.Context, list ...topic) error {
	for _, name := range list {
		if err := s.waitUnless(ctx, name, func() bool { return false }); err != nil {
			return err
		}
	}
	return nil
}

// waitUnless returns when Redis has confirmed a subscription, or when void says
// that nobody waits for it any more. void must not call s.
func (s *channelSet) waitUnless(ctx context.Context, name topic, void func() bool) error {
	for {
		var h *home
		gone := false
		err := s.until(ctx, func() bool {
			if e := s.entries[name]; e != nil {
				h = e.home
			}
			gone = void()
			return gone || h != nil
		})
		if err != nil || gone {
			return err
		}
		if err := h.sub.topics.wait(ctx, name); err != nil {
			return err
		}
		if s.homeOf(name) == h {
			return nil
		}
	}
}

// until waits for cond, which is called with the lock held.
func (s *channelSet) until(ctx context.Context, cond func() bool) error {
	for {
		s.mu.Lock()
		ok, changed := cond(), s.changed
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-s.ended:
			return adapter.ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *channelSet) homeOf(name topic) *home {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[name]; e != nil {
		return e.home
	}
	return nil
}

// receive passes on a message that came to h, unless the channel is at home
// elsewhere by now: a replica of the new owner repeats what that sends.
func (s *channelSet) receive(h *home, m *goredis.Message) {
	name := topic{kind: s.kind, name: m.Channel}
	if m.Pattern != "" {
		name = topic{kind: pattern, name: m.Pattern}
	}
	s.mu.Lock()
	e := s.entries[name]
	var to []*member
	if e != nil && e.home == h {
		to = e.to
	}
	probe := e == nil && m.Channel == h.probe
	s.mu.Unlock()
	if probe {
		s.returned(m.Payload)
	}
	for _, member := range to {
		s.handle(member, m.Channel, m.Payload)
	}
}

// len returns how many topics there are, with those of probes.
func (s *channelSet) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries) + len(s.homes)
}

// health sums up the connections: up when all are.
func (s *channelSet) health() adapter.Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	total := s.retired
	total.Up = len(s.homes) > 0
	for _, h := range s.homes {
		total = merge(total, h.sub.snapshot())
	}
	return total
}

// merge adds up the health of two connections.
func merge(a, b adapter.Health) adapter.Health {
	a.Up = a.Up && b.Up
	a.Reconnects += b.Reconnects
	a.Resubscribes += b.Resubscribes
	a.ProbeFailures += b.ProbeFailures
	if b.Since.After(a.Since) {
		a.Since = b.Since
	}
	if a.LastError == "" || !b.Up && b.LastError != "" {
		a.LastError = b.LastError
	}
	return a
}
