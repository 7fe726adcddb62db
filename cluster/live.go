package cluster

import (
	"container/list"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// liveState says what is stored of a session.
type liveState uint8

const (
	connected liveState = iota // what the client would need if this process died
	stored                     // what it needs to come back
	forgotten                  // nothing: it has left for good
	dropped                    // whatever another connection stores
)

// live is a session this node writes: that of a local socket, or of one that was
// local. All is guarded by recovering.mu.
type live struct {
	// Immutable.
	a *recovering
	m adapter.Member // nil: it was not resumed after all

	session adapter.Session // PID is empty until Keep
	state   liveState
	flushed bool           // it gets nothing more
	blind   bool           // it was sent an event without offset, and none with one since
	after   adapter.Offset // it has what lies up to here; empty: what it has was delivered
	fence   adapter.Offset // the entry with which it was resumed; empty: it was not

	base, from, last, left adapter.Offset // as in StoredSession

	due   time.Time // when it is written again
	final *StoredSession
	until time.Time     // of a stored one: when it expires
	elem  *list.Element // its place among the stored ones

	queued bool // guarded by saver.mu
}

// hasLocked reports whether the client got the entry when it was resumed.
func (l *live) hasLocked(log Log, at adapter.Offset) bool {
	if l.after == "" {
		return false
	}
	if !log.Before(l.after, at) {
		return true
	}
	l.after = ""
	return false
}

// sentLocked notes an event for the socket. before is where the log was until now.
func (l *live) sentLocked(at, before adapter.Offset) {
	if at == "" {
		l.blind = true
		return
	}
	if l.last == "" {
		l.from = before
	}
	l.last = at
	if l.blind {
		l.blind, l.left = false, at
	}
}

// leftLocked notes that the socket has left a room: what it was sent through it
// cannot be found any more.
func (l *live) leftLocked() {
	switch {
	case l.last != "":
		l.left = l.last
	case l.base != "":
		l.left = l.base
	}
}

// snapshotLocked returns what is to be stored of a connected socket.
func (l *live) snapshotLocked() *StoredSession {
	s := &StoredSession{
		Session: l.session, Namespace: l.a.ns,
		Base: l.base, From: l.from, Last: l.last, Left: l.left, Pos: l.a.pos, Lost: l.blind,
	}
	if l.after != "" {
		s.Pos = l.after
	}
	if l.last == "" {
		s.From = s.Pos
	}
	s.Rooms = l.a.RoomsOf(l.m)
	return s
}

// write returns what is to be written of the session now, if anything.
func (l *live) write() (w SessionWrite, ok bool) {
	a := l.a
	a.mu.Lock()
	defer a.mu.Unlock()
	w.PID = l.session.PID
	switch l.state {
	case connected:
		w.Session, w.TTL = l.snapshotLocked(), a.opts.Window+2*a.refresh
		ok = len(w.Session.Rooms) > 0
	case stored:
		w.Session, w.TTL = l.final, time.Until(l.until)
		ok = w.TTL > 0
	case forgotten:
		ok = true
	}
	return w, ok && w.PID != ""
}

// Join implements adapter.Adapter.
func (a *recovering) Join(m adapter.Member, rooms ...adapter.Room) {
	a.mu.Lock()
	if a.live[m] == nil && !a.closed {
		for _, r := range rooms {
			if r == m.ID() {
				a.live[m] = &live{a: a, m: m, from: a.pos}
				break
			}
		}
	}
	a.mu.Unlock()
	a.Adapter.Join(m, rooms...)
}

// joined and left are told of every change of a room.
func (a *recovering) joined(m adapter.Member) { a.changed(m, false) }
func (a *recovering) left(m adapter.Member)   { a.changed(m, true) }

func (a *recovering) changed(m adapter.Member, left bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.live[m]
	if l == nil || l.state != connected {
		return
	}
	if left {
		l.leftLocked()
	}
	if l.session.PID != "" {
		a.p.saver.touch(l)
	}
}

// LeaveAll implements adapter.Adapter.
func (a *recovering) LeaveAll(m adapter.Member) {
	a.mu.Lock()
	l := a.live[m]
	delete(a.live, m)
	if l != nil && l.state == connected {
		l.state = forgotten
		a.unindexLocked(l)
		if l.session.PID != "" {
			a.p.saver.touch(l)
		}
	}
	a.mu.Unlock()
	a.Adapter.LeaveAll(m)
}

// Keep implements adapter.SessionKeeper.
func (a *recovering) Keep(m adapter.Member, s adapter.Session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.live[m]
	if l == nil || l.state != connected || a.closed {
		return
	}
	a.adoptLocked(l, s)
	l.due = time.Now().Add(a.refresh)
	a.p.saver.touch(l)
	a.armSweepLocked()
}

func (a *recovering) adoptLocked(l *live, s adapter.Session) {
	s.Rooms, s.At = nil, time.Time{}
	l.session = s
	a.byPID[s.PID] = l
}

// Save implements adapter.SessionStore.
func (a *recovering) Save(m adapter.Member, s adapter.Session) {
	a.mu.Lock()
	l := a.live[m]
	if l == nil || l.state != connected || a.closed {
		a.mu.Unlock()
		return
	}
	a.adoptLocked(l, s)
	final := l.snapshotLocked()
	final.At = time.Now()
	expired := a.storeLocked(l, final, a.opts.Window)
	a.mu.Unlock()
	a.expired(expired)
}

// storeLocked keeps a session for a client that may come back. It returns those
// that there is no room for.
func (a *recovering) storeLocked(l *live, s *StoredSession, ttl time.Duration) []adapter.Session {
	l.session, l.final, l.until = s.Session, s, time.Now().Add(ttl)
	l.state = stored
	a.byPID[s.PID] = l
	a.saved.add(l)
	a.p.saver.touch(l)
	a.armSweepLocked()
	var expired []adapter.Session
	for a.opts.MaxSessions > 0 && a.saved.order.Len() > a.opts.MaxSessions {
		old := a.saved.oldest()
		expired = append(expired, old.session)
		a.dropLocked(old)
		old.state = forgotten
		a.p.saver.touch(old)
	}
	return expired
}

// dropLocked ends this node's part in a session.
func (a *recovering) dropLocked(l *live) {
	l.state = dropped
	a.unindexLocked(l)
	a.saved.remove(l)
}

func (a *recovering) unindexLocked(l *live) {
	if a.byPID[l.session.PID] == l {
		delete(a.byPID, l.session.PID)
	}
}

// Saved implements adapter.SessionStore. Sessions that a Node.js server resumes
// count until they would have expired.
func (a *recovering) Saved() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.saved.order.Len()
}

func (a *recovering) expired(list []adapter.Session) {
	if len(list) > 0 && a.opts.Expired != nil {
		a.opts.Expired(list)
	}
}

// armSweepLocked makes sure that sessions are refreshed and expire.
func (a *recovering) armSweepLocked() {
	if a.sweeping != nil || a.closed || len(a.live) == 0 && a.saved.order.Len() == 0 {
		return
	}
	a.timers.Add(1)
	a.sweeping = time.AfterFunc(min(max(a.refresh/2, 10*time.Millisecond), time.Second), a.sweep)
}

func (a *recovering) sweep() {
	defer a.timers.Done()
	now := time.Now()
	var expired []adapter.Session
	a.mu.Lock()
	a.sweeping = nil
	for l := a.saved.oldest(); l != nil && !l.until.After(now); l = a.saved.oldest() {
		expired = append(expired, l.session)
		a.dropLocked(l)
	}
	for _, l := range a.live {
		if l.state == connected && l.session.PID != "" && !l.due.After(now) {
			l.due = now.Add(a.refresh)
			a.p.saver.touch(l)
		}
	}
	a.armSweepLocked()
	a.mu.Unlock()
	a.expired(expired)
}

// savedSessions are the sessions this node stored, oldest first.
type savedSessions struct {
	byID  map[adapter.SocketID]*live
	order list.List // of *live
}

func (t *savedSessions) add(l *live) {
	if t.byID == nil {
		t.byID = make(map[adapter.SocketID]*live)
	}
	if old := t.byID[l.session.ID]; old != nil {
		t.remove(old)
	}
	t.byID[l.session.ID] = l
	l.elem = t.order.PushBack(l)
}

func (t *savedSessions) remove(l *live) {
	if l.elem == nil {
		return
	}
	t.order.Remove(l.elem)
	l.elem = nil
	if t.byID[l.session.ID] == l {
		delete(t.byID, l.session.ID)
	}
}

func (t *savedSessions) oldest() *live {
	if e := t.order.Front(); e != nil {
		return e.Value.(*live)
	}
	return nil
}
