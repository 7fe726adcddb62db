package engineio

import (
	"cmp"
	"context"
	"log/slog"
	"math"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/socketfleet/socketfleet/internal/outq"
)

const (
	// reliefDelay is how long the queues of a server may hold too much before any is
	// cut: one broadcast to many fast clients counts once per client, and is gone
	// within that time. It is also the time between two searches for the largest.
	reliefDelay = 100 * time.Millisecond
	// reliefTo is the part of the budget, in percent, that is left filled.
	reliefTo = 90
	// slowLogEvery is the time between two log lines about slow clients.
	slowLogEvery = time.Second
)

// defaultTotal is a quarter of the memory limit of the Go runtime, if it has one.
func defaultTotal() int64 {
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		return max(limit/4, 1)
	}
	return 512 << 20
}

// budget bounds what all queues of a server hold together.
type budget struct {
	limit int64      // zero: none
	total outq.Total // of all queues; each counts a shared message

	relieving atomic.Bool // a search is due or under way
	searches  sync.WaitGroup
}

func (b *budget) exceeded() bool { return b.limit > 0 && b.total.Bytes.Load() > b.limit }

// relieve has the largest queues cut, soon and on another goroutine, because the
// caller holds the lock of a session.
func (srv *Server) relieve() {
	b := &srv.budget
	if !b.relieving.CompareAndSwap(false, true) {
		return
	}
	b.searches.Add(1)
	go func() {
		defer b.searches.Done()
		select {
		case <-time.After(reliefDelay):
		case <-srv.idle: // no queue is left
		}
		srv.cutLargest()
		b.relieving.Store(false)
		if b.exceeded() { // by sessions that saw the search still going on
			srv.relieveAgain()
		}
	}()
}

// relieveAgain goes on unless there is nothing left to cut.
func (srv *Server) relieveAgain() {
	select {
	case <-srv.idle:
	default:
		if srv.count.sessions.Load() > 0 {
			srv.relieve()
		}
	}
}

// cutLargest ends the sessions with the most in their queues until what is left
// fits.
func (srv *Server) cutLargest() {
	b := &srv.budget
	if !b.exceeded() {
		return
	}
	excess := b.total.Bytes.Load() - b.limit/100*reliefTo
	type queue struct {
		s     *Session
		bytes int64
	}
	var queues []queue
	for _, s := range srv.all() {
		s.mu.Lock()
		if n := s.out.Bytes(); n > 0 && s.state != stateClosed {
			queues = append(queues, queue{s, int64(n)})
		}
		s.mu.Unlock()
	}
	slices.SortFunc(queues, func(a, b queue) int { return cmp.Compare(b.bytes, a.bytes) })
	for _, q := range queues {
		if excess <= 0 {
			return
		}
		excess -= q.bytes
		q.s.mu.Lock()
		if q.s.state != stateClosed {
			q.s.cutLocked(ErrBudget)
		}
		q.s.mu.Unlock()
	}
}

// slowLog gathers clients that were cut between two log lines.
type slowLog struct {
	clients, bytes atomic.Int64
	next           atomic.Int64 // when the next line may be written, Unix nanoseconds
}

func (l *slowLog) note(bytes int) {
	l.clients.Add(1)
	l.bytes.Add(int64(bytes))
}

// logSlow writes what has been gathered, at most once a second.
func (srv *Server) logSlow(ctx context.Context, cause error) {
	l := &srv.slow
	now := time.Now().UnixNano()
	next := l.next.Load()
	if l.clients.Load() == 0 || now < next || !l.next.CompareAndSwap(next, now+int64(slowLogEvery)) {
		return
	}
	srv.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "socketio: slow clients disconnected",
		slog.String("event", "slow_consumer.disconnect"),
		slog.Int64("clients", l.clients.Swap(0)),
		slog.Int64("bytes", l.bytes.Swap(0)),
		slog.Int64("queued", srv.budget.total.Bytes.Load()),
		slog.Any("cause", cause))
}

// Slow describes a client whose queue has reached its bound.
type Slow struct {
	Cause   error // ErrQueueFull or ErrQueuePackets
	Bytes   int   // queued or being written
	Packets int   // queued
}

// Latest tells that of several undelivered messages with one key only the newest
// matters.
type Latest struct {
	Key string
	// InOrder moves the newest message to the end of the queue instead of giving it
	// the place of the one it replaces; see outq.Queue.PushLatest.
	InOrder bool
}

// Queued returns how much waits for the client or is being written to it, in
// bytes, and how many messages wait.
func (s *Session) Queued() (bytes, messages int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Bytes(), s.out.Len()
}

// SendLatest is Send for a message that replaces one with the same key that still
// waits, if there is one.
func (s *Session) SendLatest(m *Message, l Latest) error { return s.send(m, &l) }

func (s *Session) send(m *Message, l *Latest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != stateOpen {
		return ErrClosed
	}
	if err := s.pushLocked(m, l); err != nil {
		s.cutLocked(err)
		return err
	}
	s.transport.wake()
	if s.srv.budget.exceeded() {
		s.srv.relieve()
	}
	return nil
}

// pushLocked queues a message. Where the program wants to be asked about slow
// clients the bounds are twice as wide, and passing the first half asks.
func (s *Session) pushLocked(m *Message, l *Latest) error {
	o := &s.srv.opts
	bound := outq.Bound{Bytes: o.MaxQueueBytes, Items: o.MaxQueuePackets}
	fit := s.tryLocked(m, l, bound)
	if fit == outq.Fits {
		s.asked = s.asked && !s.caughtUpLocked(bound)
		return nil
	}
	cause := ErrQueueFull
	if fit == outq.TooManyItems {
		cause = ErrQueuePackets
	}
	if o.OnSlow == nil || s.tryLocked(m, l, outq.Bound{Bytes: 2 * bound.Bytes, Items: 2 * bound.Items}) != outq.Fits {
		return cause
	}
	if !s.asked {
		s.asked = true
		s.retainLocked()
		go s.ask(Slow{cause, s.out.Bytes(), s.out.Len()})
	}
	return nil
}

// caughtUpLocked reports whether the queue has fallen to half its bounds.
func (s *Session) caughtUpLocked(b outq.Bound) bool {
	return (b.Bytes <= 0 || s.out.Bytes() <= b.Bytes/2) && (b.Items <= 0 || s.out.Len() <= b.Items/2)
}

func (s *Session) tryLocked(m *Message, l *Latest, b outq.Bound) outq.Fit {
	if l == nil {
		return s.out.Push(m, b)
	}
	fit, replaced := s.out.PushLatest(m, l.Key, l.InOrder, b)
	if replaced {
		s.srv.count.conflated.Add(1)
	}
	return fit
}

// ask lets the program decide about a slow client.
func (s *Session) ask(slow Slow) {
	defer s.release()
	defer func() {
		if v := recover(); v != nil {
			s.panicked(v)
		}
	}()
	if s.srv.opts.OnSlow(s.receiver, slow) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == stateOpen {
		s.cutLocked(slow.Cause)
	}
}

// cutLocked ends the session of a client that fell behind.
func (s *Session) cutLocked(cause error) {
	s.abrupt = true
	s.slowLocked()
	s.closeLocked(ReasonTransportError, cause, false)
}

// slowLocked counts the client among the slow ones.
func (s *Session) slowLocked() {
	s.srv.count.slow.Add(1)
	s.srv.slow.note(s.out.Bytes())
}
