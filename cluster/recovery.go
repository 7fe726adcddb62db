package cluster

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/memory"
)

// recovering is an Adapter whose namespace wants connection state recovery, on a
// bus that is a Log. Every event for its sockets, this node's own too, is
// delivered when it is read from the log, so that what a client has got is always
// the log up to its last offset. Where its methods do not say otherwise they are
// the Adapter's.
type recovering struct {
	*Adapter

	// Immutable.
	log     Log
	journal *journal // log, where the bus is none
	opts    adapter.Recovery
	refresh time.Duration // how often the session of a connected socket is written
	ready   chan struct{} // closed when the log is being read

	// mu makes taking an entry from the log and its delivery one step. It is taken
	// before the locks of the memory adapter and of the queues, and guards the
	// following.
	mu        sync.Mutex
	pos       adapter.Offset // entries up to here have been handled
	token     uint64
	pending   []pending // sent here, in order, and not delivered yet
	down      bool      // pending has been released: nothing waits until the log moves
	holes     bool      // an event may be missing in the log
	holeAt    time.Time // when a Hole was sent that has not been read; zero: none
	release   *time.Timer
	live      map[adapter.Member]*live
	byPID     map[string]*live
	saved     savedSessions
	claims    map[*claim]struct{} // between Claim and Resume
	sweeping  *time.Timer
	closed    bool
	greetOnce sync.Once

	timers sync.WaitGroup // those that run or will
}

var (
	_ adapter.Adapter       = (*recovering)(nil)
	_ adapter.RoomLister    = (*recovering)(nil)
	_ adapter.SessionKeeper = (*recovering)(nil)
	_ adapter.Flusher       = (*recovering)(nil)
)

// pending is something to do for local sockets when everything sent before has
// been done.
type pending struct {
	token uint64 // of an event on its way into the log; 0: only here
	p     *adapter.Packet
	t     adapter.Target
	do    func() // instead of delivering p; runs under recovering.mu
	at    time.Time
}

// pendingPerOutbound bounds what waits for its place in the log, as a multiple of
// Options.MaxOutboundMessages: what has been published waits to be read, too.
const pendingPerOutbound = 4

// recovery returns the part of a that recovers sessions, or nil when it cannot or
// need not.
func (p *Provider) recovery(a *Adapter, h adapter.Host) (*recovering, error) {
	log, ok := p.bus.(Log)
	rh, wants := h.(adapter.RecoveryHost)
	if !wants || !ok && !p.opts.Recovery {
		return nil, nil
	}
	opts := rh.Recovery()
	if opts == nil {
		return nil, nil
	}
	var j *journal
	if !ok {
		if err := p.canJournal(); err != nil {
			return nil, err
		}
		j = newJournal(a, *opts)
		log = j
	}
	r := &recovering{
		Adapter: a, log: log, opts: *opts,
		refresh: min(max(opts.Window/4, 50*time.Millisecond), 30*time.Second),
		ready:   make(chan struct{}),
		live:    make(map[adapter.Member]*live),
		byPID:   make(map[string]*live),
		claims:  make(map[*claim]struct{}),
	}
	if j != nil {
		r.journal, j.next = j, r.receive
	}
	return r, nil
}

// canJournal reports why sessions cannot be recovered on this bus.
func (p *Provider) canJournal() error {
	vault, _ := p.bus.(Vault)
	switch {
	case p.opts.NoExtensions:
		return errors.New("socketio: recovery needs extensions: messages have no numbers without them")
	case p.layout == nil || vault == nil:
		return fmt.Errorf("socketio: recovery is not possible on a %T: it neither numbers messages nor stores sessions", p.bus)
	}
	if lane, _ := p.layout.Lane(&Message{Kind: Broadcast, Target: adapter.Target{Rooms: []adapter.Room{"room"}}}); lane.Room != "" {
		return errors.New("socketio: recovery needs every node to hear every room: it is not possible with a channel per room")
	}
	return nil
}

// greet waits until the log is being read. The entry it adds also gives the log an
// end that sessions can be resumed behind.
func (a *recovering) greet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.p.opts.MaxOutboundAge)
	defer cancel()
	if _, err := a.log.Append(ctx, &Message{Kind: Hello, From: a.self, Namespace: a.ns}); err != nil {
		return err
	}
	select {
	case <-a.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// local is what delivers to local sockets without any order.
func (a *recovering) local() *memory.Adapter { return a.Adapter.Adapter }

// Broadcast implements adapter.Adapter. The sockets of this node, too, get p when
// it has its place in the log, or without one after Options.MaxOutboundAge.
func (a *recovering) Broadcast(p *adapter.Packet, t adapter.Target) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.broadcastLocked(p, t)
}

func (a *recovering) broadcastLocked(p *adapter.Packet, t adapter.Target) error {
	it := pending{p: p, t: remote(t), at: time.Now()}
	if t.Flags.Has(adapter.Local) {
		a.turnLocked(it)
		return nil
	}
	a.token++
	err := a.publish(&Message{Kind: Broadcast, Packet: p, Target: it.t, Token: a.token})
	switch {
	case err != nil:
		a.holes = true
	case a.down:
		a.holes = true // it may be in the log, but its recipients do not know where
	default:
		it.token = a.token
	}
	a.turnLocked(it)
	return err
}

// Send implements adapter.Adapter. An event that can be recovered is one to the
// room of m's id, as in the reference.
func (a *recovering) Send(ctx context.Context, m adapter.Member, p *adapter.Packet, f adapter.Flags, ack func(adapter.Reply)) error {
	kept := ack == nil && !f.Has(adapter.Volatile)
	event := adapter.Target{Rooms: []adapter.Room{m.ID()}, Flags: f}
	a.mu.Lock()
	member := a.live[m] != nil
	if kept && member {
		a.mu.Unlock()
		return a.Broadcast(p, event)
	}
	defer a.mu.Unlock()
	if !member {
		err := a.local().Send(ctx, m, p, f, ack)
		if err != nil && kept && !f.Has(adapter.Local) { // it has left and may come back
			_ = a.broadcastLocked(p, event)
		}
		return err
	}
	if len(a.pending) == 0 {
		return a.local().Send(ctx, m, p, f, ack)
	}
	a.turnLocked(pending{at: time.Now(), do: func() {
		if err := a.local().Send(ctx, m, p, f, ack); err != nil && ack != nil {
			ack(adapter.Reply{Socket: m.ID(), Err: err})
		}
	}})
	return nil
}

// turnLocked does it at once if nothing was sent before that still waits, and it
// need not wait for the log.
func (a *recovering) turnLocked(it pending) {
	if it.token == 0 && len(a.pending) == 0 {
		a.doLocked(it)
		return
	}
	a.pending = append(a.pending, it)
	if len(a.pending) > pendingPerOutbound*a.p.opts.MaxOutboundMessages {
		a.releaseLocked()
		return
	}
	a.armReleaseLocked()
}

// doLocked does it without a place in the log.
func (a *recovering) doLocked(it pending) {
	if it.do != nil {
		it.do()
		return
	}
	a.deliverLocked(it.p, it.t, "")
}

// settled waits until what was sent before has been delivered, or ctx is done.
func (a *recovering) settled(ctx context.Context) {
	done := make(chan struct{})
	a.mu.Lock()
	a.turnLocked(pending{at: time.Now(), do: func() { close(done) }})
	a.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// BroadcastWithAck implements adapter.Adapter. It begins when what was sent before
// has been delivered here.
func (a *recovering) BroadcastWithAck(ctx context.Context, p *adapter.Packet, t adapter.Target) iter.Seq2[adapter.Reply, error] {
	a.settled(ctx)
	return a.Adapter.BroadcastWithAck(ctx, p, t)
}

// SocketsJoin implements adapter.Adapter. It waits like BroadcastWithAck.
func (a *recovering) SocketsJoin(ctx context.Context, t adapter.Target, rooms ...adapter.Room) error {
	a.settled(ctx)
	return a.Adapter.SocketsJoin(ctx, t, rooms...)
}

// SocketsLeave implements adapter.Adapter. It waits like BroadcastWithAck.
func (a *recovering) SocketsLeave(ctx context.Context, t adapter.Target, rooms ...adapter.Room) error {
	a.settled(ctx)
	return a.Adapter.SocketsLeave(ctx, t, rooms...)
}

// DisconnectSockets implements adapter.Adapter. It waits like BroadcastWithAck.
func (a *recovering) DisconnectSockets(ctx context.Context, t adapter.Target, closeConn bool) error {
	a.settled(ctx)
	return a.Adapter.DisconnectSockets(ctx, t, closeConn)
}

// Flush implements adapter.Flusher. m gets no event after it.
func (a *recovering) Flush(m adapter.Member) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.live[m]
	if l == nil || l.flushed || len(a.pending) == 0 {
		return
	}
	in := setOf(a.RoomsOf(m))
	for i := range a.pending {
		it := &a.pending[i]
		if it.p != nil && selects(&it.t, in) {
			_ = a.host.Deliver(it.p, it.t.Flags).To(m)
		}
	}
	l.flushed = true
}

func setOf(rooms []adapter.Room) map[adapter.Room]struct{} {
	set := make(map[adapter.Room]struct{}, len(rooms))
	for _, r := range rooms {
		set[r] = struct{}{}
	}
	return set
}

// selects reports whether t selects a socket that is in these rooms.
func selects(t *adapter.Target, in map[adapter.Room]struct{}) bool {
	isIn := func(r adapter.Room) bool { _, ok := in[r]; return ok }
	return (len(t.Rooms) == 0 || slices.ContainsFunc(t.Rooms, isIn)) && !slices.ContainsFunc(t.Except, isIn)
}

// deliverLocked queues an event for the local sockets it is for. at is its place
// in the log; without one, its recipients can only be resumed behind a later one.
// It returns how many there are.
func (a *recovering) deliverLocked(p *adapter.Packet, t adapter.Target, at adapter.Offset) int {
	kept := !t.Flags.Has(adapter.Volatile)
	if kept && at != "" {
		p = withOffset(p, at)
	}
	d := a.host.Deliver(p, t.Flags)
	a.local().Each(t, func(m adapter.Member) {
		l := a.live[m]
		if l == nil || l.flushed || at != "" && l.hasLocked(a.log, at) {
			return
		}
		if kept {
			l.sentLocked(at, a.pos)
		}
		_ = d.To(m)
	})
	if kept {
		for c := range a.claims {
			c.passLocked(p, &t, at)
		}
	}
	if f, ok := d.(adapter.Finisher); ok {
		f.Done()
	}
	return d.Count()
}

// withOffset returns p with its offset as one more argument.
func withOffset(p *adapter.Packet, at adapter.Offset) *adapter.Packet {
	q := *p
	q.Data = make([]byte, 0, len(p.Data)+len(at)+3)
	q.Data = append(q.Data, p.Data[:len(p.Data)-1]...)
	q.Data = append(q.Data, `,"`...)
	q.Data = append(q.Data, at...)
	q.Data = append(q.Data, `"]`...)
	return &q
}

// armReleaseLocked makes sure that what waits does not wait for ever.
func (a *recovering) armReleaseLocked() {
	if a.release != nil || len(a.pending) == 0 || a.closed {
		return
	}
	a.timers.Add(1)
	a.release = time.AfterFunc(time.Until(a.pending[0].at.Add(a.p.opts.MaxOutboundAge)), a.overdue)
}

func (a *recovering) overdue() {
	defer a.timers.Done()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.release = nil
	if len(a.pending) > 0 && time.Since(a.pending[0].at) >= a.p.opts.MaxOutboundAge {
		a.releaseLocked()
	}
	a.armReleaseLocked()
}

// releaseLocked delivers what waits without its place in the log.
func (a *recovering) releaseLocked() {
	a.down, a.holes = true, true
	list := a.pending
	a.pending = nil
	for _, it := range list {
		a.doLocked(it)
	}
	a.host.Logger().Warn("socketio: the log does not answer: events are delivered without it, clients they are for will not be recovered", "event", "recovery.log_silent",
		"namespace", a.ns, "events", len(list))
}

// end releases what the adapter owns, when what it has to say has been written or
// ctx is done.
func (a *recovering) end(ctx context.Context) {
	a.settled(ctx)
	a.mu.Lock()
	a.closed = true
	for _, t := range []**time.Timer{&a.release, &a.sweeping} {
		if *t != nil && (*t).Stop() {
			a.timers.Done()
		}
		*t = nil
	}
	if len(a.pending) > 0 {
		a.releaseLocked()
	}
	a.saved = savedSessions{}
	a.mu.Unlock()
	a.timers.Wait()
	_ = a.p.saver.flush(ctx)
	if a.journal != nil {
		a.journal.end()
	}
}
