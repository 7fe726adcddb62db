package redis

import (
	"context"
	"fmt"
	"time"
)

// run places channels until ctx is done. It belongs to one goroutine.
func (s *channelSet) run(ctx context.Context) {
	defer close(s.ended)
	defer s.closeHomes()
	timer := time.NewTimer(checkInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
		s.pass(ctx)
		timer.Reset(s.pause())
	}
}

// pause returns when the next pass is due at the latest.
func (s *channelSet) pause() time.Duration {
	if time.Now().Before(s.urgent) {
		return urgentInterval
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle) > 0 {
		return min(checkInterval, max(s.linger/2, urgentInterval))
	}
	return checkInterval
}

// pass brings the homes in line with what is wanted, and after that, on Redis
// Cluster, with the topology.
func (s *channelSet) pass(ctx context.Context) {
	check := time.Since(s.checked) >= checkInterval
	if check {
		s.checked = time.Now()
	}
	s.mu.Lock()
	s.expireLocked(s.linger)
	s.mu.Unlock()
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
	s.dirty = make(map[topic]*entry)
	s.mu.Unlock()
	owners := owners{set: s, ctx: ctx}
	for name, e := range dirty {
		h, err := owners.of(name)
		if err != nil {
			s.opts.Logger.Debug("socketio: redis: no server has the channel", "channel", name.name, "error", err)
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

func (s *channelSet) leaveLocked(name topic, e *entry) {
	delete(s.entries, name)
	delete(s.idle, name)
	delete(s.suspect, name)
	if e.home != nil {
		e.home.channels--
		e.home.sub.topics.want(false, name)
	}
}

func (s *channelSet) moveLocked(name topic, e *entry, to *home) {
	if from := e.home; from != nil {
		from.channels--
		from.sub.topics.forget(name)
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
	to.sub.topics.want(true, name)
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
			h.sub.topics.again(name)
		}
		s.mu.Unlock()
	}
	s.checkProbes(ctx)
	s.reportMoved()
}

func (s *channelSet) placed() []topic {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]topic, 0, len(s.entries))
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
		if e.moved.IsZero() || e.home.sub.topics.settled(name) != nil {
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
	s.opts.Logger.Info("socketio: redis: channels were subscribed to anew because of their slots", "event", "adapter.slot_moved", "channels", n, "missing_since", gap.From)
	if s.opts.OnGap != nil {
		s.opts.OnGap(gap)
	}
}

// hint notes that the topology may have changed; name is a channel Redis has
// unsubscribed us from, or empty. It is called by readers.
func (s *channelSet) hint(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := (topic{kind: shard, name: name}); s.suspect[at].IsZero() {
		s.suspect[at] = time.Now()
	}
	signal(s.wake)
}

// owners finds homes, asking once per slot.
type owners struct {
	set   *channelSet
	ctx   context.Context
	known map[int]*home
}

func (o *owners) of(t topic) (*home, error) {
	if o.known == nil {
		o.known = make(map[int]*home)
	}
	slot := 0
	if o.set.kind == shard && o.set.link.cluster != nil {
		slot = slotOf(t.name)
	}
	if h := o.known[slot]; h != nil {
		return h, nil
	}
	h, err := o.set.home(o.ctx, t.name)
	if err == nil {
		o.known[slot] = h
	}
	return h, err
}
