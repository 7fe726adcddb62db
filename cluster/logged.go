package cluster

import (
	"fmt"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// receive is the bus's Receiver: entries of the log come in its order, on one
// goroutine at a time. What comes another way has no offset.
func (a *recovering) receive(m *Message, at adapter.Offset) {
	switch {
	case m == nil:
	case m.Kind == Hole && at == "":
		a.lost()
	case at == "":
		a.Adapter.receive(m, at)
	case m.Kind == Broadcast && m.From == a.self:
		a.readBack(m, at)
	case m.Kind == Broadcast && m.RequestID == "":
		a.read(m, at)
	case m.Kind == Takeover && m.From != a.self:
		a.takenOver(m, at)
		a.pass(m, at)
	case m.Kind == Hole && m.From != a.self:
		a.missedSome(at)
		a.pass(m, at)
	case m.From == a.self || m.Kind >= Takeover:
		a.pass(m, at)
	default: // joins, leaves and disconnects act in their turn
		a.Adapter.receive(m, at)
		a.pass(m, at)
	}
}

// pass notes that an entry has been handled.
func (a *recovering) pass(m *Message, at adapter.Offset) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.From == a.self {
		switch m.Kind {
		case Hello:
			a.greetOnce.Do(func() { close(a.ready) })
		case Hole:
			a.holeAt = time.Time{}
		}
	}
	a.passedLocked(at)
}

// passedLocked notes that the log has been handled up to an entry, and so works.
func (a *recovering) passedLocked(at adapter.Offset) {
	a.pos = at
	a.down = false
	a.markHolesLocked()
}

// markHolesLocked says in the log that events may be missing in it.
func (a *recovering) markHolesLocked() {
	if !a.holes || time.Since(a.holeAt) < 2*a.p.opts.MaxOutboundAge {
		return
	}
	m := &Message{Kind: Hole, From: a.self, Namespace: a.ns}
	if a.p.pub.out.push(outgoing{m: m, size: sizeOf(m), at: time.Now()}, true) == nil {
		a.holes, a.holeAt = false, time.Now()
	}
}

// lost notes that the log may have lost entries, also such as were not read yet.
func (a *recovering) lost() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.missedLocked()
	a.holes = true
	a.markHolesLocked()
}

// missedSome notes that the sockets of this node may not have got all events up to
// a place.
func (a *recovering) missedSome(at adapter.Offset) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.missedLocked()
	a.pos = at
}

func (a *recovering) missedLocked() {
	for _, l := range a.live {
		l.sentLocked("", a.pos)
	}
	for c := range a.claims {
		c.why = fmt.Errorf("%w: events are missing", adapter.ErrSessionTrimmed)
	}
}

// read delivers an event of another node.
func (a *recovering) read(m *Message, at adapter.Offset) {
	a.p.arrived(m)
	if !a.isFresh(m, at) { // added twice: the first one counts
		a.p.duplicates.Add(1)
		a.pass(m, at)
		return
	}
	a.nodes.heard(m.From)
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.Packet != nil {
		m.Target.Flags &^= adapter.Local
		began := time.Now()
		n := a.deliverLocked(m.Packet, m.Target, at)
		a.received(m, began, n)
	}
	a.passedLocked(at)
}

// readBack delivers an event of this node in its turn, now that it has its place,
// unless it has been released meanwhile.
func (a *recovering) readBack(m *Message, at adapter.Offset) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for n < len(a.pending) && a.pending[n].token != m.Token {
		n++
	}
	if m.Token == 0 || n == len(a.pending) {
		a.passedLocked(at)
		return
	}
	for _, it := range a.pending[:n] { // those with a token are not in the log, or not yet
		a.holes = a.holes || it.token != 0 && !it.t.Flags.Has(adapter.Volatile)
		a.doLocked(it)
	}
	a.deliverLocked(a.pending[n].p, a.pending[n].t, at)
	a.cutLocked(n + 1)
	for len(a.pending) > 0 && a.pending[0].token == 0 {
		it := a.pending[0]
		a.cutLocked(1)
		a.doLocked(it)
	}
	a.passedLocked(at)
}

func (a *recovering) cutLocked(n int) {
	clear(a.pending[:n])
	if a.pending = a.pending[n:]; len(a.pending) == 0 {
		a.pending = nil
	}
}

// takenOver lets go of a socket whose session another node is resuming: its
// connection is dead, even if nobody has noticed.
func (a *recovering) takenOver(m *Message, at adapter.Offset) {
	var gone []adapter.Member
	a.mu.Lock()
	for _, id := range m.Rooms {
		if s := a.saved.byID[id]; s != nil && a.log.Before(s.fence, at) {
			a.dropLocked(s)
		}
		a.local().Each(adapter.Target{Rooms: []adapter.Room{id}}, func(member adapter.Member) {
			l := a.live[member]
			if l != nil && member.ID() == id && l.state == connected && l.session.PID != "" && a.log.Before(l.fence, at) {
				gone = append(gone, member)
			}
		})
	}
	for _, member := range gone {
		a.dropLocked(a.live[member])
	}
	a.mu.Unlock()
	for _, member := range gone {
		a.host.Disconnect(member, false)
	}
}
