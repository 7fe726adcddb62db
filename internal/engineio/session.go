package engineio

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/internal/outq"
)

// Handler is called once per session, before any of its packets is read, and
// returns who receives them. It must not block.
type Handler func(s *Session) Receiver

// Receiver takes what a client sends. Its methods are called by one goroutine at a
// time, in order. A blocked method stops the reading from that client and nothing
// else.
type Receiver interface {
	// Text and Binary take one message. data is valid during the call only.
	Text(data []byte)
	Binary(data []byte)
	// Closed is called exactly once, after the last Text or Binary. err is nil when
	// the reason says everything.
	Closed(reason Reason, err error)
}

// UpgradeReceiver is implemented by Receivers that want to know when the session
// has moved to another transport.
type UpgradeReceiver interface {
	// Upgraded is called ahead of the first message of the new transport.
	Upgraded()
}

type sessionState uint8

const (
	stateOpen    sessionState = iota
	stateClosing              // sending what is queued, receiving nothing
	stateClosed
)

// Session is one connected client.
type Session struct {
	// Immutable after newSession.
	srv *Server
	id  string
	req Request
	ctx context.Context
	rev revision

	receiver Receiver // written before busy is first cleared

	mu        sync.Mutex // guards the following
	state     sessionState
	busy      bool // a goroutine is inside the receiver
	pinging   bool // a pong is due
	abrupt    bool // drop the connection without a farewell
	refs      int  // what keeps the session from being forgotten
	reason    Reason
	err       error
	turn      chan struct{} // closed when busy is cleared; nil: nobody waits
	done      chan struct{} // closed with the session; nil: nobody asked
	transport transport
	probe     *probe // a WebSocket about to replace polling
	out       outq.Queue[*Message]
	asked     bool // Options.OnSlow has been called, and the queue is still long
	timer     *time.Timer
	due       time.Time // when timer fires
	quiet     time.Time // when the receiver last returned while a pong was due
	requests  bucket    // of polling requests
	pinged    time.Time // when the ping that is to be answered was queued
	address   *address  // counted there until the end; nil: not counted
}

// ID returns the session id. It authenticates the client's requests: do not show
// it to others.
func (s *Session) ID() string { return s.id }

// Request returns what is kept of the handshake request.
func (s *Session) Request() *Request { return &s.req }

// Context returns the values of the handshake request's context. It is never
// canceled.
func (s *Session) Context() context.Context { return s.ctx }

// Protocol returns the Engine.IO protocol revision.
func (s *Session) Protocol() int { return int(s.rev) }

// Transport returns the name of the current transport.
func (s *Session) Transport() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transport.name()
}

// Done returns a channel that is closed when the session has ended: Closed then
// waits only for a Text or Binary that has not returned.
func (s *Session) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		s.done = make(chan struct{})
		if s.state == stateClosed {
			close(s.done)
		}
	}
	return s.done
}

// Send queues m. It never blocks. ErrClosed says that the session is over or about
// to be; ErrQueueFull and ErrQueuePackets that the client fell behind by more than
// MaxQueueBytes or MaxQueuePackets, for which the session has been closed.
func (s *Session) Send(m *Message) error { return s.send(m, nil) }

// SendVolatile queues m if it would leave soon, and else drops it and returns
// false: the session is closed, or polling without a waiting request, or has more
// than HighWaterBytes queued.
func (s *Session) SendVolatile(m *Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &s.srv.opts
	bound := outq.Bound{Bytes: o.MaxQueueBytes, Items: o.MaxQueuePackets}
	cause := dropNone
	switch {
	case s.state != stateOpen:
		cause = dropClosed
	case !s.transport.ready():
		cause = dropHighWater
		if _, ok := s.transport.(*polling); ok {
			cause = dropNoPoll
		}
	case s.out.Push(m, bound) != outq.Fits:
		cause = dropFull
	}
	if cause != dropNone {
		s.srv.count.volatileDropped[cause].Add(1)
		return false
	}
	s.transport.wake()
	return true
}

// Close ends the session. With flush, what is queued is sent first, for which a
// WebSocket has WriteTimeout, and polling waits CloseTimeout for the next request.
// It never blocks and only the first call counts, but one without flush cuts short
// an earlier one with flush.
func (s *Session) Close(reason Reason, flush bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeLocked(reason, nil, flush)
}

// fail ends the session at once.
func (s *Session) fail(reason Reason, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeLocked(reason, err, false)
}

// failLocked ends the session at once if t still is its transport: what goes wrong
// on the old transport after an upgrade harms nobody.
func (s *Session) failLocked(t transport, err error) {
	if s.transport == t {
		s.closeLocked(reasonOf(err), err, false)
	}
}

func (s *Session) closeLocked(reason Reason, err error, flush bool) {
	switch {
	case s.state == stateClosed:
	case s.state == stateClosing:
		if !flush || s.transport.finish() {
			s.endLocked(s.reason, err)
		}
	case flush:
		s.state, s.reason = stateClosing, reason
		if s.transport.finish() {
			s.endLocked(reason, err)
		}
	default:
		s.endLocked(reason, err)
	}
}

// endLocked is the only way to stateClosed.
func (s *Session) endLocked(reason Reason, err error) {
	s.state, s.reason, s.err = stateClosed, reason, err
	if s.done != nil {
		close(s.done)
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	s.out.Clear()
	s.dropProbeLocked()
	s.transport.end()
	s.srv.addresses.leave(s.address)
	s.srv.count.hitBy(err)
	s.srv.count.closedWith(s.transport.name(), reason).Add(1)
	s.srv.count.sessions.Add(-1)
	s.srv.count.transport(s.transport.name()).Add(-1)
	go s.finish(s.transport, s.abrupt)
}

// finish frees who is blocked in the transport and tells the receiver. It has the
// reference that the session was made with.
func (s *Session) finish(t transport, abrupt bool) {
	defer s.release()
	t.kill(abrupt)
	s.srv.logSlow(s.ctx, s.err)
	s.mu.Lock()
	s.waitTurnLocked()
	s.busy = true
	s.mu.Unlock()
	if s.receiver == nil {
		return
	}
	defer s.leave()
	s.receiver.Closed(s.reason, s.err)
}

// retainLocked keeps the session known to the server until release.
func (s *Session) retainLocked() { s.refs++ }

func (s *Session) release() {
	s.mu.Lock()
	s.refs--
	last := s.refs == 0
	s.mu.Unlock()
	if last {
		s.srv.forget(s)
	}
}

// enter waits until no other goroutine is inside the receiver. It returns false
// when the session takes no more messages.
func (s *Session) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waitTurnLocked()
	if s.state != stateOpen {
		return false
	}
	s.busy = true
	return true
}

func (s *Session) waitTurnLocked() {
	for s.busy {
		if s.turn == nil {
			s.turn = make(chan struct{})
		}
		turn := s.turn
		s.mu.Unlock()
		<-turn
		s.mu.Lock()
	}
}

// leave is deferred after enter; it also stops a panic of the receiver.
func (s *Session) leave() {
	if v := recover(); v != nil {
		s.panicked(v)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = false
	if s.turn != nil {
		close(s.turn)
		s.turn = nil
	}
	if s.pinging {
		s.quiet = time.Now()
	}
}

// deliver hands one message to the receiver, unless the session is over.
func (s *Session) deliver(text bool, data []byte) {
	if !s.enter() {
		return
	}
	defer s.leave()
	if text {
		s.receiver.Text(data)
	} else {
		s.receiver.Binary(data)
	}
}

// receive acts on one packet of the session's transport. Close packets are the
// transport's business.
func (s *Session) receive(p packet) error {
	switch p.kind {
	case kindText:
		s.deliver(true, p.data)
	case kindBinary:
		data := p.data
		if p.encoded {
			data = decodeBase64(data)
		}
		s.deliver(false, data)
	case kindPong, kindPing:
		return s.heartbeat(p.kind)
	case kindInvalid:
		return errParser
	}
	return nil
}

// reasonOf is the reason that goes with an error of receive.
func reasonOf(err error) Reason {
	if err == errParser || err == errTooManyPackets {
		return ReasonParseError
	}
	return ReasonTransportError
}

// panicked is called with what a handler panicked with, from the deferred function
// that recovered it.
func (s *Session) panicked(v any) {
	s.srv.logPanic(s.ctx, v)
	s.fail(ReasonTransportError, ErrPanic)
}

func (srv *Server) logPanic(ctx context.Context, v any) {
	srv.count.panics.Add(1)
	srv.opts.Logger.LogAttrs(ctx, slog.LevelError, "socketio: handler panicked",
		slog.String("event", "handler.panic"),
		slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
}
