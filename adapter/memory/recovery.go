package memory

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/sid"
)

// recovering is an Adapter that keeps sessions and the events they miss. Where
// its methods do not say otherwise they are the Adapter's.
type recovering struct {
	*Adapter
	opts adapter.Recovery

	// mu makes adding an event to the log, its delivery and the resuming of a
	// session one step each, so that every client sees the order of the log. It is
	// taken before the table's lock and guards the following.
	mu       sync.Mutex
	log      packetLog
	sessions sessions
	claims   map[adapter.SocketID]int // sockets between Claim and Resume
	timer    *time.Timer              // runs while something is kept
	closed   bool

	sweeps sync.WaitGroup // sweeps that run or whose timer does
}

var (
	_ adapter.Adapter      = (*recovering)(nil)
	_ adapter.RoomLister   = (*recovering)(nil)
	_ adapter.SessionStore = (*recovering)(nil)
)

// newRecovering returns the adapter of a host that wants recovery.
func newRecovering(a *Adapter, opts adapter.Recovery) *recovering {
	return &recovering{
		Adapter: a,
		opts:    opts,
		log:     packetLog{epoch: sid.New()[:epochLen]},
		claims:  make(map[adapter.SocketID]int),
	}
}

// kept reports whether an event is one clients can be sent later.
func kept(f adapter.Flags) bool { return !f.Has(adapter.Volatile) }

// Send implements adapter.Adapter.
func (a *recovering) Send(ctx context.Context, m adapter.Member, p *adapter.Packet, f adapter.Flags, ack func(adapter.Reply)) error {
	if ack != nil || !kept(f) {
		return a.Adapter.Send(ctx, m, p, f, ack)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p, n := a.addLocked(p, adapter.Target{Rooms: []adapter.Room{m.ID()}, Flags: f})
	if a.claims[m.ID()] > 0 {
		return nil // Resume will deliver it in its turn
	}
	a.t.mu.RLock()
	if e := a.t.byID[m.ID()]; e != nil {
		e.sent.mark(n)
		m = e.m // or what it has been resumed as
	}
	a.t.mu.RUnlock()
	return a.host.Deliver(p, f).To(m)
}

// Broadcast implements adapter.Adapter.
func (a *recovering) Broadcast(p *adapter.Packet, t adapter.Target) error {
	if !kept(t.Flags) {
		return a.Adapter.Broadcast(p, t)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p, n := a.addLocked(p, adapter.Target{Rooms: slices.Clone(t.Rooms), Except: slices.Clone(t.Except), Flags: t.Flags})
	d := a.host.Deliver(p, t.Flags)
	a.t.mu.RLock()
	defer a.t.mu.RUnlock()
	a.t.selectLocked(&t, func(e *entry) {
		e.sent.mark(n) // even if it is not taken: the client may come back for it
		_ = d.To(e.m)
	})
	return nil
}

// addLocked keeps an event, and the log within its limits.
func (a *recovering) addLocked(p *adapter.Packet, t adapter.Target) (*adapter.Packet, uint64) {
	now := time.Now()
	p, n := a.log.add(p, t, now)
	a.log.trim(a.opts.MaxPackets, a.opts.MaxBytes, now.Add(-a.keep()))
	a.armLocked()
	return p, n
}

// keep is how long events are kept.
func (a *recovering) keep() time.Duration { return a.opts.Window + a.opts.Grace }

// Save implements adapter.SessionStore.
func (a *recovering) Save(m adapter.Member, s adapter.Session) {
	now := time.Now()
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return
	}
	a.t.mu.RLock()
	e := a.t.lookupLocked(m)
	var marks sent
	if e != nil {
		marks = e.sent
		s.Rooms = e.roomsLocked()
	}
	a.t.mu.RUnlock()
	if e == nil {
		a.mu.Unlock()
		return
	}
	s.At = now
	a.sessions.add(&session{Session: s, sent: marks, head: a.log.head()})
	expired := a.sessions.trim(a.opts.MaxSessions, now.Add(-a.opts.Window))
	a.armLocked()
	a.mu.Unlock()
	a.expired(expired)
}

// Saved implements adapter.SessionStore.
func (a *recovering) Saved() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.sessions.byPID)
}

// Claim implements adapter.SessionStore.
func (a *recovering) Claim(_ context.Context, pid string, offset adapter.Offset) (adapter.Claim, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sessions.byPID[pid]
	switch {
	case s == nil || s.claimed:
		return nil, adapter.ErrNoSession
	case time.Since(s.At) > a.opts.Window:
		return nil, fmt.Errorf("%w: it has expired", adapter.ErrNoSession)
	}
	if _, known := a.log.number(offset); offset != "" && !known {
		return nil, adapter.ErrSessionOffset
	}
	from, had, ok := s.start(&a.log, offset)
	if ok {
		_, ok = a.missedLocked(s, from)
	}
	if !ok {
		return nil, adapter.ErrSessionTrimmed
	}
	s.claimed, s.had, s.from = true, had, from
	a.claims[s.ID]++
	return &claim{a: a, s: s, from: from, had: had}, nil
}

func (a *recovering) missedLocked(s *session, from uint64) ([]uint64, bool) {
	return a.log.missed(from, s.Rooms, a.opts.MaxReplayPackets, a.opts.MaxReplayBytes)
}

// claim is a session on its way back. Its mutable fields are guarded by a.mu.
type claim struct {
	a    *recovering
	s    *session
	from uint64 // the client has all it was to get up to here
	had  uint64 // the newest event it says it has

	resumed bool
	settled bool
	missed  int
}

var _ adapter.Claim = (*claim)(nil)

// Session implements adapter.Claim.
func (c *claim) Session() *adapter.Session { return &c.s.Session }

// Resume implements adapter.Claim.
func (c *claim) Resume(m adapter.Member, ready func(), rooms ...adapter.Room) error {
	err := c.resume(m, ready, rooms)
	c.a.t.mu.Lock()
	c.a.unlockAndTell() // of the joins, now that c.a.mu is free
	return err
}

func (c *claim) resume(m adapter.Member, ready func(), rooms []adapter.Room) error {
	a := c.a
	a.mu.Lock()
	defer a.mu.Unlock()
	c.endClaimLocked()
	list, ok := a.missedLocked(c.s, c.from)
	if !ok {
		return adapter.ErrSessionTrimmed
	}
	c.missed = len(list)
	marks := sent{last: c.had}
	for _, n := range list {
		r := a.log.at(n)
		marks.mark(n)
		if err := a.host.Deliver(r.p, r.target.Flags).To(m); err != nil {
			return err
		}
	}
	ready()
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	a.joinLocked(m, append(slices.Clip(c.s.Rooms), rooms...), true)
	if e := a.t.lookupLocked(m); e != nil {
		e.sent = marks
	}
	return nil
}

// Missed implements adapter.Claim.
func (c *claim) Missed() int {
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	return c.missed
}

// endClaimLocked notes that the socket is a member, or will not be one.
func (c *claim) endClaimLocked() {
	if c.resumed {
		return
	}
	c.resumed = true
	if c.a.claims[c.s.ID]--; c.a.claims[c.s.ID] == 0 {
		delete(c.a.claims, c.s.ID)
	}
}

// Confirm implements adapter.Claim.
func (c *claim) Confirm() { c.settle(true) }

// Release implements adapter.Claim.
func (c *claim) Release() { c.settle(false) }

func (c *claim) settle(done bool) {
	a := c.a
	a.mu.Lock()
	c.endClaimLocked()
	var expired []adapter.Session
	switch {
	case c.settled:
	case done:
		a.sessions.remove(c.s)
	case c.s.elem != nil:
		c.s.claimed = false
	case !a.closed:
		expired = []adapter.Session{c.s.Session} // while it was claimed
	}
	c.settled = true
	a.mu.Unlock()
	a.expired(expired)
}

func (a *recovering) expired(list []adapter.Session) {
	if len(list) > 0 && a.opts.Expired != nil {
		a.opts.Expired(list)
	}
}

// sweepsPerWindow is how often what has expired is dropped.
const sweepsPerWindow = 16

// armLocked makes sure that what is kept will be swept.
func (a *recovering) armLocked() {
	if a.timer != nil || a.closed || len(a.log.list) == 0 && len(a.sessions.byPID) == 0 {
		return
	}
	a.sweeps.Add(1)
	a.timer = time.AfterFunc(max(a.opts.Window/sweepsPerWindow, 10*time.Millisecond), a.sweep)
}

func (a *recovering) sweep() {
	defer a.sweeps.Done()
	now := time.Now()
	a.mu.Lock()
	a.timer = nil
	if a.closed {
		a.mu.Unlock()
		return
	}
	a.log.trim(a.opts.MaxPackets, a.opts.MaxBytes, now.Add(-a.keep()))
	expired := a.sessions.trim(a.opts.MaxSessions, now.Add(-a.opts.Window))
	a.armLocked()
	a.mu.Unlock()
	a.expired(expired)
}

// Close implements adapter.Adapter. Sessions end with it, unreported.
func (a *recovering) Close(ctx context.Context) error {
	a.mu.Lock()
	a.closed = true
	if a.timer != nil && a.timer.Stop() {
		a.sweeps.Done()
	}
	a.timer = nil
	a.log = packetLog{epoch: a.log.epoch, trimmed: a.log.head()}
	a.sessions = sessions{}
	a.mu.Unlock()
	a.sweeps.Wait()
	return a.Adapter.Close(ctx)
}
