package engineio

import (
	"time"
)

// noopEvery is how often a waiting GET is answered while the client probes, so
// that it can pause polling.
const noopEvery = 100 * time.Millisecond

const probeText = "probe"

// candidate is a transport that may replace polling.
type candidate interface {
	transport
	// answerProbe queues the answer to a probe. The session's lock is held.
	answerProbe()
}

// probe is a WebSocket or a stream that is about to replace polling. It is guarded
// by the session's lock.
type probe struct {
	w        candidate
	timer    *time.Timer
	deadline time.Time // zero: none
	probed   bool
	done     chan struct{} // closed when the probe has become the transport, or failed
}

// attach makes w the session's probe, unless the session cannot be upgraded now. It
// returns how to take that back.
func (s *Session) attach(w *wsConn) (undo func()) {
	w.s = s
	s.mu.Lock()
	defer s.mu.Unlock()
	_, isPolling := s.transport.(*polling)
	if s.state == stateOpen && isPolling && s.probe == nil {
		s.newProbeLocked(w)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.probe != nil && s.probe.w == candidate(w) {
			s.takeProbeLocked()
		}
	}
}

func (s *Session) newProbeLocked(w candidate) {
	p := &probe{w: w, done: make(chan struct{})}
	s.probe = p
	wait := s.srv.opts.UpgradeTimeout
	if wait > 0 {
		p.deadline = time.Now().Add(wait)
	} else {
		wait = time.Hour
	}
	p.timer = time.AfterFunc(wait, func() { s.onProbeTimer(p) })
}

// receiveProbe acts on a packet of a candidate. It returns true when the candidate
// has become the session's transport.
func (s *Session) receiveProbe(w candidate, p packet) bool {
	if !s.advanceProbe(w, p) {
		return false
	}
	if s.enter() {
		defer s.leave()
		if r, ok := s.receiver.(UpgradeReceiver); ok {
			r.Upgraded()
		}
	}
	return true
}

// advanceProbe is receiveProbe without telling the receiver.
func (s *Session) advanceProbe(w candidate, p packet) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.probe == nil || s.probe.w != w {
		return false
	}
	switch {
	case p.kind == kindPing && string(p.data) == probeText:
		w.answerProbe()
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
	w := s.takeProbeLocked()
	old := s.transport
	old.end()
	s.retainLocked()
	go func() { // frees a POST that the client has not finished
		defer s.release()
		old.kill(false)
	}()
	s.transport = w
	s.srv.count.polling.Add(-1)
	s.srv.count.transport(w.name()).Add(1)
	s.srv.count.upgraded.Add(1)
	if s.pinging && s.state == stateOpen {
		// The ping may have left over polling a moment ago.
		s.armLocked(s.patience())
	}
	if s.out.Len() > 0 || s.state == stateClosing {
		w.wake()
	}
}

// dropProbeLocked closes the candidate, if there is one.
func (s *Session) dropProbeLocked() {
	if s.probe == nil {
		return
	}
	s.srv.count.upgradesFailed.Add(1)
	s.takeProbeLocked().end()
}

// takeProbeLocked ends the probing.
func (s *Session) takeProbeLocked() candidate {
	p := s.probe
	s.probe = nil
	p.timer.Stop()
	close(p.done)
	return p.w
}

// settleProbeLocked gives an upgrade packet that is being read a moment to act.
func (s *Session) settleProbeLocked() {
	if s.probe != nil {
		waitSettled(&s.mu, s.probe.done)
	}
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
			t.answer(tailNoop)
		}
	}
	p.timer.Reset(next)
}
