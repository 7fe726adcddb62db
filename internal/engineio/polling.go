package engineio

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"
)

// settle is how long a request may wait for what the client sent just before it over
// another connection. In Node.js connections are served in the order of arrival;
// here they are served side by side, and neither may overtake the other.
const settle = 25 * time.Millisecond

// Bodies of responses that carry no message.
const (
	bodyClose       = "1"
	bodyNoop        = "6"
	bodyNoopClose   = "6\x1e1" // answers the first poll after a close
	mimeOctetStream = "application/octet-stream"
)

// polling is HTTP long-polling, as in engine.io transports/polling.ts. All fields
// are guarded by the session's lock.
type polling struct {
	s    *Session
	get  *pollGet  // the waiting GET; nil: none
	post *pollPost // the POST being read or handled; nil: none

	arrival chan struct{} // closed when a GET arrives; nil: nobody waits for one
}

// pollGet is one GET from its arrival until it has taken what it answers with.
type pollGet struct {
	ready chan struct{} // closed by wake
	woken bool
	final string // the whole answer, when it is not what the queue holds
}

// pollPost is one POST until its packets have been handled.
type pollPost struct {
	rc      *http.ResponseController
	reading bool
}

func (p *polling) name() string { return Polling }

func (p *polling) ready() bool { return p.get != nil && !p.get.woken }

func (p *polling) wake() {
	if p.ready() {
		p.get.woken = true
		close(p.get.ready)
	}
}

// answer ends the waiting GET with a body of its own. What is queued stays.
func (p *polling) answer(body string) {
	if p.get != nil && p.get.final == "" {
		p.get.final = body
		p.wake()
	}
}

func (p *polling) finish() bool {
	s := p.s
	if p.ready() || s.reason == ReasonShutdown && p.get == nil && s.out.Len() == 0 {
		return true
	}
	s.armLocked(max(s.srv.opts.CloseTimeout, 0))
	return false
}

func (p *polling) end() { p.answer(bodyClose) }

// kill frees a POST whose body is still being read.
func (p *polling) kill(bool) {
	p.s.mu.Lock()
	post := p.post
	reading := post != nil && post.reading
	p.s.mu.Unlock()
	if reading {
		_ = post.rc.SetReadDeadline(time.Unix(1, 0))
	}
}

// pollingLocked returns the session's polling transport, or why requests for it
// are refused.
func (s *Session) pollingLocked() (*polling, *refusal) {
	s.onTimerLocked()
	if s.state == stateClosed {
		return nil, refuse(CodeSessionUnknown, "")
	}
	p, ok := s.transport.(*polling)
	if !ok {
		return nil, refuse(CodeBadRequest, "TRANSPORT_MISMATCH")
	}
	return p, nil
}

// servePoll answers a GET, once there is something to answer with.
func (s *Session) servePoll(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.settleProbeLocked()
	p, no := s.pollingLocked()
	if no != nil {
		s.mu.Unlock()
		s.srv.refuse(w, r, no)
		return
	}
	if p.get != nil {
		s.closeLocked(ReasonTransportError, errPollOverlap, false)
		s.mu.Unlock()
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	g := &pollGet{ready: make(chan struct{})}
	p.get = g
	if p.arrival != nil {
		close(p.arrival)
		p.arrival = nil
	}
	if s.out.Len() > 0 || s.state == stateClosing {
		p.wake()
	}
	s.retainLocked()
	s.mu.Unlock()
	defer s.release()
	s.awaitPoll(w, r, p, g)
}

func (s *Session) awaitPoll(w http.ResponseWriter, r *http.Request, p *polling, g *pollGet) {
	rc := http.NewResponseController(w)
	// The deadlines of http.Server are for ordinary requests. Where they cannot be
	// changed, the application has to live with its own.
	_ = rc.SetReadDeadline(time.Time{})
	_ = rc.SetWriteDeadline(time.Time{})
	select {
	case <-g.ready:
	case <-r.Context().Done():
	}
	body := buffers.get()
	defer buffers.put(body)
	s.mu.Lock()
	if !g.woken {
		p.get = nil
		s.failLocked(p, errPollAborted)
		s.mu.Unlock()
		return
	}
	taken, compress := p.takeLocked(g, body)
	s.mu.Unlock()

	err := s.srv.writePayload(w, r, *body, compress)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.Done(taken)
	if err != nil {
		s.failLocked(p, err)
	}
}

// takeLocked frees the GET's slot and moves what it answers with to body. It
// returns how many bytes left the queue, and whether any may be compressed.
func (p *polling) takeLocked(g *pollGet, body *[]byte) (taken int, compress bool) {
	s := p.s
	p.get = nil
	if g.final != "" {
		*body = append(*body, g.final...)
		return 0, false
	}
	packets := 0
	limit := int(s.srv.opts.MaxPayload)
	var one [1]*Message
	for s.out.Len() > 0 {
		next := s.out.Peek()
		if size := next.payloadSize(); packets > 0 && limit > 0 && len(*body)+1+size > limit {
			break
		}
		_, n := s.out.Take(one[:0], 0)
		taken += n
		packets += next.packets()
		*body = next.appendPayload(*body)
	}
	c := &s.srv.count
	c.packetsOut.Add(uint64(packets))
	c.bytesOut.Add(uint64(len(*body)))
	if s.state == stateClosing && s.out.Len() == 0 {
		if packets == 0 {
			*body = append(*body, bodyNoopClose...)
		} else {
			*body = append(*body, separator, bodyClose[0])
		}
		s.endLocked(s.reason, nil)
	}
	return taken, packets > 0
}

// servePost takes a payload from the client.
func (s *Session) servePost(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	p, no := s.pollingLocked()
	if no != nil {
		s.mu.Unlock()
		s.srv.refuse(w, r, no)
		return
	}
	var bad error
	switch {
	case p.post != nil:
		bad = errPostOverlap
	case r.Header.Get("Content-Type") == mimeOctetStream:
		bad = errInvalidContent
	}
	if bad != nil {
		s.closeLocked(ReasonTransportError, bad, false)
		s.mu.Unlock()
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	post := &pollPost{rc: http.NewResponseController(w), reading: true}
	p.post = post
	s.retainLocked()
	s.mu.Unlock()
	defer s.release()

	status, err := s.takePost(w, r, post)
	s.mu.Lock()
	p.post = nil
	if err != nil {
		s.failLocked(p, err)
	}
	s.mu.Unlock()
	if status != http.StatusOK {
		w.WriteHeader(status)
		return
	}
	s.srv.writeOK(w, r, post.rc)
}

// takePost reads and handles a payload. It returns the status to answer with, and
// why the session has to end.
func (s *Session) takePost(w http.ResponseWriter, r *http.Request, post *pollPost) (int, error) {
	body := buffers.get()
	defer buffers.put(body)
	status := s.readBody(w, r, post, body)
	s.mu.Lock()
	post.reading = false
	closed := s.state == stateClosed
	s.mu.Unlock()
	switch {
	case status == http.StatusRequestEntityTooLarge:
		return status, nil
	case status != http.StatusOK:
		return status, errPostAborted
	case closed:
		return http.StatusBadRequest, nil
	}
	payload := *body
	if !utf8.Valid(payload) {
		payload = bytes.ToValidUTF8(payload, []byte("\uFFFD"))
	}
	if err := s.receivePayload(payload); err != nil {
		return http.StatusBadRequest, err
	}
	return http.StatusOK, nil
}

func (s *Session) readBody(w http.ResponseWriter, r *http.Request, post *pollPost, body *[]byte) int {
	limit := s.srv.opts.MaxPayload
	if d := s.srv.opts.BodyTimeout; d > 0 {
		_ = post.rc.SetReadDeadline(time.Now().Add(d))
	}
	if limit > 0 && r.ContentLength > limit {
		return http.StatusRequestEntityTooLarge
	}
	in := io.Reader(r.Body)
	if limit > 0 {
		in = http.MaxBytesReader(w, r.Body, limit)
	}
	err := readAll(in, body)
	if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
		return http.StatusRequestEntityTooLarge
	}
	if err != nil {
		return http.StatusBadRequest
	}
	// Only now: net/http reads the rest of a refused body, under this deadline.
	_ = post.rc.SetReadDeadline(time.Time{})
	return http.StatusOK
}

// receivePayload handles the packets of a POST body up to the first bad one.
func (s *Session) receivePayload(payload []byte) error {
	limit := s.srv.opts.MaxPacketsPerPayload
	for n := 0; ; n++ {
		if limit > 0 && n == limit {
			return errTooManyPackets
		}
		p, rest, more := nextPacket(payload)
		if p.kind == kindClose {
			s.pollClosed()
			return nil
		}
		if err := s.receive(p); err != nil {
			return err
		}
		if !more {
			return nil
		}
		payload = rest
	}
}

// pollClosed acts on a close packet: the client is leaving, so its waiting GET
// gets a noop instead of a close packet.
func (s *Session) pollClosed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.transport.(*polling)
	if ok && s.state != stateClosed {
		p.settleLocked()
		p.answer(bodyNoop)
	}
	s.closeLocked(ReasonTransportClose, nil, false)
}

// settleLocked waits a moment for the GET that a client normally has waiting.
func (p *polling) settleLocked() {
	if p.get != nil {
		return
	}
	arrival := make(chan struct{})
	p.arrival = arrival
	waitSettled(&p.s.mu, arrival)
	p.arrival = nil
}

// waitSettled waits for done, but no longer than settle, without the lock.
func waitSettled(mu *sync.Mutex, done <-chan struct{}) {
	mu.Unlock()
	timer := time.NewTimer(settle)
	select {
	case <-done:
	case <-timer.C:
	}
	timer.Stop()
	mu.Lock()
}
