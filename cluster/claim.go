package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// claimTimeout bounds Claim.
const claimTimeout = 5 * time.Second

// claim is a session on its way back. While it is, it gathers the events for it
// that are read from the log behind its fence.
type claim struct {
	// Immutable once Claim has returned.
	a     *recovering
	s     *StoredSession
	until time.Time // when the session would expire
	base  adapter.Offset
	from  adapter.Offset
	in    map[adapter.Room]struct{}

	// Guarded by a.mu, but that Claim fills missed before anybody else knows it.
	fence   adapter.Offset // the log's end when the session was taken
	why     error          // why the session cannot be resumed after all
	missed  []missed       // up to the fence
	seen    map[sender]bool
	live    []missed // read since Claim began
	packets int      // all that is for the client, once resumed
	bytes   int64

	resumed, settled bool
}

// sender is what an entry and its repetition have in common.
type sender struct {
	from  adapter.NodeID
	token uint64
}

// missed is an event a client has to get, with its offset.
type missed struct {
	p     *adapter.Packet
	flags adapter.Flags
	at    adapter.Offset
}

var _ adapter.Claim = (*claim)(nil)

var errTooMuch = fmt.Errorf("%w: it missed more than is replayed", adapter.ErrSessionTrimmed)

// Claim implements adapter.SessionStore. The session is taken from its store, so
// that only one connection gets it, and put back if it cannot be resumed. The
// entry that tells the other nodes also ends what is read from the log: later
// events are those this node delivers anyway.
func (a *recovering) Claim(ctx context.Context, pid string, offset adapter.Offset) (adapter.Claim, error) {
	if offset != "" && !a.log.ValidOffset(offset) {
		return nil, adapter.ErrSessionOffset
	}
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	if err := a.p.saver.flush(ctx); err != nil {
		return nil, noSession(err)
	}
	s, err := a.log.TakeSession(ctx, pid)
	if err != nil {
		return nil, noSession(err)
	}
	c := &claim{a: a, s: s, until: time.Now().Add(s.TTL), base: offset, in: setOf(s.Rooms), seen: make(map[sender]bool)}
	a.register(c)
	if err := c.read(ctx, offset); err != nil {
		c.settle(true)
		return nil, noSession(err)
	}
	return c, nil
}

// noSession makes every reason one to start a new session.
func noSession(err error) error {
	switch {
	case errors.Is(err, adapter.ErrNoSession):
		return err
	case errors.Is(err, ErrTrimmed):
		return fmt.Errorf("%w: %w", adapter.ErrSessionTrimmed, err)
	}
	return fmt.Errorf("%w: %w", adapter.ErrSessionStore, err)
}

// register lets c gather events, and ends what this node knew of the session: also
// its socket, whose connection is dead if the client has another.
func (a *recovering) register(c *claim) {
	a.mu.Lock()
	a.claims[c] = struct{}{}
	old := a.byPID[c.s.PID]
	var gone adapter.Member
	if old != nil {
		if old.state == connected {
			gone = old.m
		}
		a.dropLocked(old)
	}
	a.mu.Unlock()
	if gone != nil {
		a.host.Disconnect(gone, false)
	}
}

// read gathers what the client missed.
func (c *claim) read(ctx context.Context, offset adapter.Offset) error {
	a := c.a
	if c.s.Namespace != "" && c.s.Namespace != a.ns {
		return fmt.Errorf("%w: it is of another namespace", adapter.ErrNoSession)
	}
	var ok bool
	if c.from, ok = c.s.start(a.log, offset); !ok {
		return fmt.Errorf("%w: what lies behind its offset cannot be told", adapter.ErrSessionTrimmed)
	}
	if a.journal != nil {
		if err := a.journal.await(ctx, c.from, c.s.Pos); err != nil {
			return err
		}
	}
	m := &Message{Kind: Takeover, From: a.self, Namespace: a.ns, Rooms: []adapter.Room{c.s.ID}}
	fence, err := a.log.Append(ctx, m)
	if err != nil {
		return err
	}
	a.mu.Lock()
	c.fence = fence
	a.mu.Unlock()
	var why error
	err = a.log.ReadLog(ctx, a.ns, c.from, fence, func(m *Message, at adapter.Offset) bool {
		why = c.addMissed(m, at)
		return why == nil
	})
	if err == nil {
		err = why
	}
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return c.why
}

// addMissed takes an entry of the log.
func (c *claim) addMissed(m *Message, at adapter.Offset) error {
	if m.Kind == Hole && selects(&m.Target, c.in) {
		return fmt.Errorf("%w: the log may lack events", adapter.ErrSessionTrimmed)
	}
	if m.Packet == nil || m.RequestID != "" || m.Target.Flags.Has(adapter.Volatile) || !selects(&m.Target, c.in) {
		return nil
	}
	if id := (sender{m.From, m.Token}); m.Token != 0 { // added twice: the first one counts
		if c.seen[id] {
			return nil
		}
		c.seen[id] = true
	}
	p := withOffset(m.Packet, at)
	c.missed = append(c.missed, missed{p, m.Target.Flags &^ adapter.Local, at})
	return c.count(p)
}

// count keeps what the client missed within the limits.
func (c *claim) count(p *adapter.Packet) error {
	c.packets++
	c.bytes += int64(len(p.Data))
	for i := range p.Attachments {
		c.bytes += int64(len(p.Attachments[i].Data))
	}
	o := &c.a.opts
	if o.MaxReplayPackets > 0 && c.packets > o.MaxReplayPackets || o.MaxReplayBytes > 0 && c.bytes > o.MaxReplayBytes {
		return errTooMuch
	}
	return nil
}

// passLocked takes an event that is being delivered, if it is for the client.
func (c *claim) passLocked(p *adapter.Packet, t *adapter.Target, at adapter.Offset) {
	if c.why != nil || !selects(t, c.in) {
		return
	}
	if at == "" {
		c.why = fmt.Errorf("%w: one event has no offset", adapter.ErrSessionTrimmed)
		return
	}
	c.live = append(c.live, missed{p, t.Flags, at})
	if o := &c.a.opts; o.MaxReplayPackets > 0 && len(c.live) > 2*o.MaxReplayPackets {
		c.why = errTooMuch // even if half of them come before the fence
	}
}

// Session implements adapter.Claim.
func (c *claim) Session() *adapter.Session { return &c.s.Session }

// Resume implements adapter.Claim.
func (c *claim) Resume(m adapter.Member, ready func(), rooms ...adapter.Room) error {
	tell, err := c.resume(m, ready, rooms)
	if tell != nil {
		tell()
	}
	return err
}

func (c *claim) resume(m adapter.Member, ready func(), rooms []adapter.Room) (tell func(), err error) {
	a := c.a
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.claims, c)
	if c.why != nil {
		return nil, c.why
	}
	if a.closed || c.resumed {
		return nil, adapter.ErrClosed
	}
	l := &live{
		a: a, m: m, base: c.base, from: c.from, fence: c.fence,
		due: time.Now().Add(min(a.refresh, time.Second)), // whoever had it before may still be writing it
	}
	if a.log.Before(a.pos, c.fence) {
		l.after = c.fence
	}
	if err := c.sendLocked(l); err != nil {
		return nil, err
	}
	ready()
	c.resumed = true
	a.live[m] = l
	a.adoptLocked(l, c.s.Session)
	a.p.saver.touch(l)
	a.armSweepLocked()
	return a.local().JoinLater(m, append(append([]adapter.Room{m.ID()}, c.s.Rooms...), rooms...)...), nil
}

// sendLocked sends what the client missed.
func (c *claim) sendLocked(l *live) error {
	list := c.missed
	for _, e := range c.live {
		if c.a.log.Before(c.fence, e.at) { // the others are among the missed
			if err := c.count(e.p); err != nil {
				return err
			}
			list = append(list, e)
		}
	}
	for _, e := range list {
		l.last = e.at
		if err := c.a.host.Deliver(e.p, e.flags).To(l.m); err != nil {
			return err
		}
	}
	return nil
}

// Missed implements adapter.Claim.
func (c *claim) Missed() int {
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	return c.packets
}

// Confirm implements adapter.Claim: the session is no longer stored, but as that
// of the socket that resumed it.
func (c *claim) Confirm() { c.settle(false) }

// Release implements adapter.Claim.
func (c *claim) Release() { c.settle(true) }

func (c *claim) settle(putBack bool) {
	a := c.a
	var expired []adapter.Session
	a.mu.Lock()
	delete(a.claims, c)
	if putBack && !c.settled && !c.resumed && !a.closed {
		if ttl := time.Until(c.until); ttl > 0 {
			expired = a.storeLocked(&live{a: a, fence: c.fence}, c.s, ttl)
		}
	}
	c.settled = true
	a.mu.Unlock()
	a.expired(expired)
}
