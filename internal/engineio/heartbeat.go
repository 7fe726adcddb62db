package engineio

import (
	"math/rand/v2"
	"time"

	"github.com/socketfleet/socketfleet/internal/outq"
)

// jitterFrom is the ping interval from which the first ping is jittered. Shorter
// intervals are found in tests, which count on them.
const jitterFrom = 10 * time.Second

var (
	pingPacket = control('2', "")
	pongPacket = control('3', "")
)

// startHeartbeatLocked arms the first ping. In revision 3 the client pings, and is
// waited for all the time.
func (s *Session) startHeartbeatLocked() {
	d := s.srv.opts.PingInterval
	if d <= 0 {
		return
	}
	if s.rev == revision3 {
		if s.pinging = s.srv.opts.PingTimeout > 0; s.pinging {
			s.armLocked(s.patience())
		}
		return
	}
	if !s.srv.opts.NoPingJitter && d >= jitterFrom {
		d = d/2 + rand.N(d/2)
	}
	s.armLocked(d)
}

// armLocked sets the session's only timer. What it means depends on the state: the
// next ping, a pong overdue, or the end of a graceful close.
func (s *Session) armLocked(d time.Duration) { s.armAtLocked(time.Now().Add(d)) }

func (s *Session) armAtLocked(due time.Time) {
	s.due = due
	d := time.Until(due)
	if s.timer == nil {
		s.timer = time.AfterFunc(d, s.onTimer)
		return
	}
	s.timer.Reset(d)
}

func (s *Session) onTimer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onTimerLocked()
}

// onTimerLocked acts if it is time to. Requests call it too, so that what they find
// does not depend on how late a timer fires.
func (s *Session) onTimerLocked() {
	switch {
	case s.timer == nil, s.state == stateClosed, time.Now().Before(s.due):
		// Stopped or set anew while it fired.
	case s.state == stateClosing:
		s.abrupt = true
		s.endLocked(s.reason, errFlushTimeout)
	case s.pinging:
		s.pongOverdueLocked()
	default:
		s.pingLocked()
	}
}

func (s *Session) pingLocked() {
	s.pinging, s.pinged = true, time.Now()
	s.out.Push(pingPacket, outq.Bound{})
	s.transport.wake()
	d := s.srv.opts.PingTimeout
	switch now := time.Now(); {
	case d <= 0:
		s.due = now.Add(noTimeout)
	case now.Sub(s.due) < d/4:
		s.armAtLocked(s.due.Add(d)) // a timer a little late shifts nothing
	default:
		s.armAtLocked(now.Add(d)) // the process was stopped: no fault of the client
	}
}

// pongOverdueLocked closes the session, unless the pong may be unread because the
// receiver is, or was until a moment ago, keeping the reader from reading.
func (s *Session) pongOverdueLocked() {
	timeout := s.srv.opts.PingTimeout
	if s.busy {
		if s.rev == revision4 { // the client, too, wants to hear something in time
			s.out.Push(pingPacket, outq.Bound{})
			s.transport.wake()
		}
		s.armLocked(timeout)
		return
	}
	if left := timeout - time.Since(s.quiet); left > 0 {
		s.armLocked(left)
		return
	}
	s.closeLocked(ReasonPingTimeout, errPongTimeout, false)
}

// patience is how long the client's heartbeat may take, with none overdue.
func (s *Session) patience() time.Duration {
	d := s.srv.opts.PingTimeout
	if s.rev == revision3 {
		d += s.srv.opts.PingInterval
	}
	return d
}

// heartbeat takes a ping or pong packet: each revision allows clients one of them.
func (s *Session) heartbeat(k kind) error {
	if s.rev == revision4 && k == kindPong {
		s.pong()
		return nil
	}
	if s.rev == revision3 && k == kindPing {
		s.ping3()
		return nil
	}
	return errHeartbeat
}

// ping3 answers the ping of a client of revision 3.
func (s *Session) ping3() {
	s.mu.Lock()
	if s.pinging && s.state == stateOpen {
		s.armLocked(s.patience())
	}
	s.mu.Unlock()
	_ = s.Send(pongPacket) // the session may be over
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
	s.srv.count.pingRTT.Since(s.pinged)
	if s.state == stateOpen {
		s.armLocked(s.srv.opts.PingInterval)
	}
}
