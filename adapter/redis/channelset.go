package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
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
)

// channelSet is what a node listens to: channels by their exact names, each on
// the connection to the server that has it. On Redis Cluster a sharded channel
// has one, which changes when its slot moves; in any other case there is one
// connection for all.
type channelSet struct {
	// Immutable.
	link   *link
	kind   topicKind // plain or shard
	key    string    // prefix of the names of probes
	opts   *Options
	handle func(to *member, channel, payload string) // called by readers, must be quick
	wake   chan struct{}                             // capacity 1

	// Owned by the goroutine of run.
	urgent time.Time // until then checks come often

	mu      sync.Mutex // guards the following, entry, home.channels, home.probe and member.channels; before topics.mu
	entries map[string]*entry
	dirty   map[string]*entry // to be placed, or to be left
	suspect map[string]time.Time
	homes   map[string]*home // by address
	retired adapter.Health   // counters of homes that are gone
	changed chan struct{}    // closed and replaced when entries were placed or left
}

// entry is one channel.
type entry struct {
	to    []*member // empty: to be left
	home  *home     // nil: not placed yet
	moved time.Time // since when messages may be missing; zero: they are not
}

func newChannelSet(l *link, kind topicKind, o *Options, handle func(to *member, channel, payload string)) *channelSet {
	return &channelSet{
		link: l, kind: kind, key: o.Key, opts: o, handle: handle,
		wake:    make(chan struct{}, 1),
		entries: make(map[string]*entry),
		dirty:   make(map[string]*entry),
		suspect: make(map[string]time.Time),
		homes:   make(map[string]*home),
		changed: make(chan struct{}),
	}
}

// add makes to listen to channels. It does nothing once to has left.
func (s *channelSet) add(to *member, channels ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range channels {
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
		s.dirty[name] = e
	}
	signal(s.wake)
}

func (s *channelSet) remove(to *member, channels ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range channels {
		s.removeLocked(to, name)
	}
	signal(s.wake)
}

func (s *channelSet) removeLocked(to *member, name string) {
	if _, has := to.channels[name]; !has {
		return
	}
	delete(to.channels, name)
	e := s.entries[name]
	e.to = slices.DeleteFunc(slices.Clone(e.to), func(m *member) bool { return m == to })
	s.dirty[name] = e
}

// leave ends all of to's listening and returns when Redis has confirmed that for
// the channels named, or ctx is done.
func (s *channelSet) leave(ctx context.Context, to *member, channels ...string) {
	s.mu.Lock()
	had := make(map[string]*home)
	for _, name := range channels {
		if e := s.entries[name]; e != nil && e.home != nil {
			had[name] = e.home
		}
	}
	for name := range to.channels {
		s.removeLocked(to, name)
	}
	to.channels = nil
	signal(s.wake)
	s.mu.Unlock()
	for name, h := range had {
		if s.until(ctx, func() bool { return s.entries[name] == nil || len(s.entries[name].to) > 0 }) != nil {
			return
		}
		_ = h.sub.topics.wait(ctx, s.topic(name)) // without Redis there is nothing to leave
	}
}

// wait returns when Redis has confirmed the subscriptions.
func (s *channelSet) wait(ctx context.Context, channels ...string) error {
	for _, name := range channels {
		for {
			var h *home
			err := s.until(ctx, func() bool {
				if e := s.entries[name]; e != nil {
					h = e.home
				}
				return h != nil
			})
			if err != nil {
				return err
			}
			if err := h.sub.topics.wait(ctx, s.topic(name)); err != nil {
				return err
			}
			if s.homeOf(name) == h {
				break
			}
		}
	}
	return nil
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
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *channelSet) homeOf(name string) *home {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[name]; e != nil {
		return e.home
	}
	return nil
}

func (s *channelSet) topic(name string) topic { return topic{kind: s.kind, name: name} }

// receive passes on a message that came to h, unless the channel is at home
// elsewhere by now: a replica of the new owner repeats what that sends.
func (s *channelSet) receive(h *home, m *goredis.Message) {
	s.mu.Lock()
	e := s.entries[m.Channel]
	var to []*member
	if e != nil && e.home == h {
		to = e.to
	}
	s.mu.Unlock()
	for _, member := range to {
		s.handle(member, m.Channel, m.Payload)
	}
}

// run places channels until ctx is done. It belongs to one goroutine.
func (s *channelSet) run(ctx context.Context) {
	defer s.closeHomes()
	timer := time.NewTimer(checkInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
			s.pass(ctx, false)
		case <-timer.C:
			s.pass(ctx, true)
		}
		wait := checkInterval
		if time.Now().Before(s.urgent) {
			wait = urgentInterval
		}
		timer.Reset(wait)
	}
}

// pass brings the homes in line with what is wanted, and after that, on Redis
// Cluster, with the topology.
func (s *channelSet) pass(ctx context.Context, check bool) {
	if s.place(ctx) {
		s.urgent = time.Now().Add(urgentTime)
	}
	s.mu.Lock()
	if len(s.suspect) > 0 {
		s.urgent = time.Now().Add(urgentTime)
	}
	s.mu.Unlock()
	if s.kind == shard && s.link.cluster != nil && (check || time.Now().Before(s.urgent)) {
		s.rehome(ctx)
	}
	if check {
		s.dropEmpty()
	}
	s.mu.Lock()
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
}

// place settles what changed. It reports whether something could not be placed.
func (s *channelSet) place(ctx context.Context) (failed bool) {
	s.mu.Lock()
	dirty := s.dirty
	s.dirty = make(map[string]*entry)
	s.mu.Unlock()
	owners := owners{set: s, ctx: ctx}
	for name, e := range dirty {
		h, err := owners.of(name)
		if err != nil {
			s.opts.Logger.Debug("socketio: redis: no server has the channel", "channel", name, "error", err)
		}
		s.mu.Lock()
		switch {
		case s.entries[name] != e: // left before
		case len(e.to) == 0:
			s.leaveLocked(name, e)
		case e.home != nil:
		case h == nil:
			s.dirty[name] = e
			failed = true
		default:
			s.moveLocked(name, e, h)
		}
		s.mu.Unlock()
	}
	return failed
}

func (s *channelSet) leaveLocked(name string, e *entry) {
	delete(s.entries, name)
	delete(s.suspect, name)
	if e.home != nil {
		e.home.channels--
		e.home.sub.topics.want(false, s.topic(name))
	}
}

func (s *channelSet) moveLocked(name string, e *entry, to *home) {
	if from := e.home; from != nil {
		from.channels--
		from.sub.topics.forget(s.topic(name))
		if e.moved.IsZero() {
			e.moved = from.sub.lastHeard()
		}
		if at, ok := s.suspect[name]; ok && at.Before(e.moved) {
			e.moved = at
		}
	}
	delete(s.suspect, name)
	e.home = to
	to.channels++
	to.sub.topics.want(true, s.topic(name))
}

// rehome moves the channels whose slots have moved.
func (s *channelSet) rehome(ctx context.Context) {
	if time.Now().Before(s.urgent) {
		s.link.failed(ctx)
	}
	owners := owners{set: s, ctx: ctx}
	for _, name := range s.placed() {
		h, err := owners.of(name)
		if err != nil {
			continue
		}
		s.mu.Lock()
		e := s.entries[name]
		switch at, suspected := s.suspect[name]; {
		case e == nil || e.home == nil:
		case e.home != h:
			s.moveLocked(name, e, h)
			s.urgent = time.Now().Add(urgentTime)
		case suspected && time.Since(at) > suspectTime: // it has not moved after all
			delete(s.suspect, name)
			e.moved = at
			h.sub.topics.again(s.topic(name))
		}
		s.mu.Unlock()
	}
	s.checkProbes(ctx)
	s.reportMoved()
}

func (s *channelSet) placed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]string, 0, len(s.entries))
	for name, e := range s.entries {
		if e.home != nil {
			list = append(list, name)
		}
	}
	return list
}

// reportMoved reports one gap for the channels that have moved, or that Redis
// ended, when they are subscribed to again.
func (s *channelSet) reportMoved() {
	var gap Gap
	n := 0
	s.mu.Lock()
	for name, e := range s.entries {
		if e.moved.IsZero() || e.home.sub.topics.settled(s.topic(name)) != nil {
			continue
		}
		if n++; n == 1 || e.moved.Before(gap.From) {
			gap.From = e.moved
		}
		e.moved = time.Time{}
	}
	s.mu.Unlock()
	if n == 0 {
		return
	}
	gap.Kind, gap.To, gap.Reason = GapMoved, time.Now(), fmt.Sprintf("%d channels were subscribed to anew because of their slots", n)
	s.opts.Logger.Info("socketio: redis: channels were subscribed to anew because of their slots", "channels", n, "missing_since", gap.From)
	if s.opts.OnGap != nil {
		s.opts.OnGap(gap)
	}
}

// hint notes that the topology may have changed; name is a channel Redis has
// unsubscribed us from, or empty. It is called by readers.
func (s *channelSet) hint(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.suspect[name]; !known {
		s.suspect[name] = time.Now()
	}
	signal(s.wake)
}

// owners finds homes, asking once per slot.
type owners struct {
	set   *channelSet
	ctx   context.Context
	known map[int]*home
}

func (o *owners) of(name string) (*home, error) {
	if o.known == nil {
		o.known = make(map[int]*home)
	}
	slot := 0
	if o.set.kind == shard && o.set.link.cluster != nil {
		slot = slotOf(name)
	}
	if h := o.known[slot]; h != nil {
		return h, nil
	}
	h, err := o.set.home(o.ctx, name)
	if err == nil {
		o.known[slot] = h
	}
	return h, err
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

// token makes the names of one process's probes its own.
var token = rand.Text()
