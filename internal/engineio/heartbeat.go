package engineio

import (
	"math/rand/v2"
	"time"
)

// jitterFrom is the ping interval from which the first ping is jittered. Shorter
// intervals are found in tests, which count on them.
const jitterFrom = 10 * time.Second

var pingPacket = control('2', "")

// startHeartbeatLocked arms the first ping.
func (s *Session) startHeartbeatLocked() {
	d := s.srv.opts.PingInterval
	if d <= 0 {
		return
	}
	if !s.srv.opts.NoPingJitter && d >= jitterFrom {
		d = d/2 + rand.N(d/2)
	}
	s.armLocked(d)
}

// armLocked sets the session's only timer. What it means depends on the state: the
// next ping, a pong overdue, or the end of a graceful close.
func (s *Session) armLocked(d time.Duration) {
	s.due = time.Now().Add(d)
	if s.timer == nil {
		s.timer = time.AfterFunc(d, s.onTimer)
		return
	}
	s.timer.Reset(d)
}

func (s *Session) onTimer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state == stateClosed, time.Now().Before(s.due):
		// Fired while it was being stopped or set anew.
	case s.state == stateClosing:
		s.abrupt = true
		s.endLocked(s.reason, errFlushTimeout)
	case s.pinging:
		s.pongOverdueLocked()
	default:
		s.pinging = true
		s.out.Push(pingPacket, 0)
		s.transport.wake()
		if d := s.srv.opts.PingTimeout; d > 0 {
			s.armLocked(d)
		}
	}
}

// pongOverdueLocked closes the session, unless the pong may be unread because the
// receiver is, or was until a moment ago, keeping the reader from reading.
func (s *Session) pongOverdueLocked() {
	timeout := s.srv.opts.PingTimeout
	if s.busy {
		s.armLocked(timeout)
		return
	}
	if left := timeout - time.Since(s.quiet); left > 0 {
		s.armLocked(left)
		return
	}
	s.closeLocked(ReasonPingTimeout, errPongTimeout, false)
}

// pong takes a pong packet. One that nobody asked for changes nothing.
func (s *Session) pong() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.pinging {
		s.srv.count.pongs.Add(1)
		return
	}
	s.pinging = false
	if s.state == stateOpen {
		s.armLocked(s.srv.opts.PingInterval)
	}
}
