package engineio

import (
	"time"
)

// noopEvery is how often a waiting GET is answered while the client probes, so
// that it can pause polling.
const noopEvery = 100 * time.Millisecond

const probeText = "probe"

// probe is a WebSocket that is about to replace polling. It is guarded by the
// session's lock.
type probe struct {
	w        *wsConn
	timer    *time.Timer
	deadline time.Time // zero: none
	probed   bool
}

// attachLocked makes w the session's probe. It returns false when the session is
// not one that can be upgraded now.
func (s *Session) attachLocked(w *wsConn) bool {
	_, isPolling := s.transport.(*polling)
	if s.state != stateOpen || !isPolling || s.probe != nil {
		return false
	}
	p := &probe{w: w}
	s.probe = p
	wait := s.srv.opts.UpgradeTimeout
	if wait > 0 {
		p.deadline = time.Now().Add(wait)
	} else {
		wait = time.Hour
	}
	p.timer = time.AfterFunc(wait, func() { s.onProbeTimer(p) })
	return true
}

// receiveProbe acts on a packet of a WebSocket that is not the session's transport.
// It returns true when the WebSocket has become it.
func (s *Session) receiveProbe(w *wsConn, p packet) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.probe == nil || s.probe.w != w {
		return false
	}
	switch {
	case p.kind == kindPing && string(p.data) == probeText:
		w.ctl = append(w.ctl, probeAnswer...)
		w.wake()
		s.probe.probed = true
		s.probe.timer.Reset(noopEvery)
		return false
	case p.kind == kindUpgrade:
		s.promoteLocked()
		return true
	}
	s.dropProbeLocked()
	return false
}

var probeAnswer = control('3', probeText).text.frame()

// promoteLocked makes the probe the session's transport. What is queued, and what
// a graceful close still has to send, goes there.
func (s *Session) promoteLocked() {
	w := s.probe.w
	s.probe.timer.Stop()
	s.probe = nil
	old := s.transport
	old.end()
	s.retainLocked()
	go func() { // frees a POST that the client has not finished
		defer s.release()
		old.kill(false)
	}()
	s.transport = w
	s.srv.count.polling.Add(-1)
	s.srv.count.webSocket.Add(1)
	s.srv.count.upgraded.Add(1)
	if s.pinging && s.state == stateOpen {
		// The ping may have left over polling a moment ago.
		s.armLocked(s.srv.opts.PingTimeout)
	}
	if s.out.Len() > 0 || s.state == stateClosing {
		w.wake()
	}
}

// dropProbeLocked closes the probing WebSocket, if there is one.
func (s *Session) dropProbeLocked() {
	if s.probe == nil {
		return
	}
	s.probe.timer.Stop()
	w := s.probe.w
	s.probe = nil
	w.end()
}

func (s *Session) onProbeTimer(p *probe) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.probe != p {
		return
	}
	if !p.deadline.IsZero() && !time.Now().Before(p.deadline) {
		s.dropProbeLocked()
		return
	}
	next := time.Hour
	if !p.deadline.IsZero() {
		next = time.Until(p.deadline)
	}
	if p.probed {
		next = min(next, noopEvery)
		if t, ok := s.transport.(*polling); ok && t.ready() {
			t.answer(bodyNoop)
		}
	}
	p.timer.Reset(next)
}
