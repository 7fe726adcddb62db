package memory

import (
	"container/list"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// sent says of a member which events of the log it was sent; zero is none. It
// is written under recovery.mu and table.mu, read under either.
type sent struct {
	first uint64 // the oldest since it became a member
	last  uint64 // the newest; at first, what the client had when it resumed
	left  uint64 // last, when the member last left a room
}

func (s *sent) mark(n uint64) {
	if s.first == 0 {
		s.first = n
	}
	s.last = n
}

// session is a saved one. All but the adapter's Session is guarded by
// recovery.mu.
type session struct {
	adapter.Session
	sent    sent
	head    uint64        // the newest event when it was saved
	elem    *list.Element // its place in sessions.order; nil once dropped
	claimed bool

	// had and from are what start told a connection that has been lost again before
	// its client showed that it was back. Zero is none.
	had, from uint64
}

// start says where a client that presents offset resumes: behind event from. had
// is the event it names, zero for none. It is not ok where it cannot be told what
// the client missed.
func (s *session) start(l *packetLog, offset adapter.Offset) (from, had uint64, ok bool) {
	if offset == "" {
		switch {
		case s.sent.first == 0:
			return s.head, 0, true // it was sent nothing
		case s.sent.left >= s.sent.first:
			return 0, 0, false // by a room it is no longer in, perhaps
		}
		return s.sent.first - 1, 0, true
	}
	had, ok = l.number(offset)
	switch {
	case !ok || had < s.sent.left:
		return 0, 0, false
	case had >= s.sent.last:
		return s.head, had, true // it has all it was sent, however long ago that was
	case had == s.had:
		return s.from, had, true // as when it was last asked
	}
	return had, had, true
}

// sessions are the saved sessions of a namespace by pid, oldest first.
type sessions struct {
	byPID map[string]*session
	order list.List // of *session
}

func (t *sessions) add(s *session) {
	if t.byPID == nil {
		t.byPID = make(map[string]*session)
	}
	if old := t.byPID[s.PID]; old != nil {
		s.had, s.from = old.had, old.from
		t.remove(old)
	}
	t.byPID[s.PID] = s
	s.elem = t.order.PushBack(s)
}

func (t *sessions) remove(s *session) {
	if s.elem != nil {
		t.order.Remove(s.elem)
		s.elem = nil
		delete(t.byPID, s.PID)
	}
}

// oldest returns nil when there is none.
func (t *sessions) oldest() *session {
	if e := t.order.Front(); e != nil {
		return e.Value.(*session)
	}
	return nil
}

// trim drops the oldest sessions until there are at most limit, and all from
// before cut. It returns those nobody is resuming.
func (t *sessions) trim(limit int, cut time.Time) (expired []adapter.Session) {
	for s := t.oldest(); s != nil; s = t.oldest() {
		if !s.At.Before(cut) && (limit <= 0 || len(t.byPID) <= limit) {
			break
		}
		t.remove(s)
		if !s.claimed {
			expired = append(expired, s.Session)
		}
	}
	return expired
}
