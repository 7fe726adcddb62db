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

// Types of the packets in responses that carry no message.
const (
	tailClose     = "1"
	tailNoop      = "6"
	tailNoopClose = "61" // answers the first poll after a close
)

const (
	mimeText        = "text/plain; charset=UTF-8"
	mimeOctetStream = "application/octet-stream"
)

// polling is HTTP long-polling, as in engine.io transports/polling.ts and, with
// JSONP, polling-jsonp.ts.
type polling struct {
	// Immutable.
	s      *Session
	format format

	// Guarded by the session's lock.
	get  *pollGet  // the waiting GET; nil: none
	post *pollPost // the POST being read or handled; nil: none

	arrival chan struct{} // closed when a GET arrives; nil: nobody waits for one
}

// pollGet is one GET from its arrival until it has taken what it answers with.
type pollGet struct {
	ready chan struct{} // closed by wake
	woken bool
	final string // the packet types that are the whole answer; empty: what is queued
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

// answer ends the waiting GET with packets of its own. What is queued stays.
func (p *polling) answer(tail string) {
	if p.get != nil && p.get.final == "" {
		p.get.final = tail
		p.wake()
	}
}

func (p *polling) finish() bool {
	s := p.s
	if p.ready() || s.srv.leaving.Load() && p.get == nil && s.out.Len() == 0 {
		return true
	}
	s.armLocked(max(s.srv.opts.CloseTimeout, 0))
	return false
}

func (p *polling) end() { p.answer(tailClose) }

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
	s.srv.count.polls.Add(1)
	defer s.srv.count.polls.Add(-1)
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
	b := batches.Get().(*batch)
	defer b.release()
	s.mu.Lock()
	if !g.woken {
		p.get = nil
		s.failLocked(p, errPollAborted)
		s.mu.Unlock()
		return
	}
	tail := p.takeLocked(g, b)
	s.mu.Unlock()

	err := s.srv.writePayload(w, r, p.encode(b, tail))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.Done(b.taken)
	if err != nil {
		s.failLocked(p, err)
	}
}

// takeLocked frees the GET's slot and moves what it answers with to b. It returns
// the types of the packets that follow.
func (p *polling) takeLocked(g *pollGet, b *batch) (tail string) {
	s := p.s
	p.get = nil
	if g.final != "" {
		return g.final
	}
	limit := int(s.srv.opts.MaxPayload)
	size := 0
	for s.out.Len() > 0 {
		next := s.out.Peek()
		if size += 1 + p.format.sizeOf(next); len(b.msgs) > 0 && limit > 0 && size > 1+limit {
			break
		}
		var n int
		b.msgs, n = s.out.Take(b.msgs, 0)
		b.taken += n
	}
	// Messages and a close packet never share a response, as in the reference: the
	// JavaScript client acts on the close packet before the messages, so that they
	// come after its reconnection, and again by recovery.
	if s.state == stateClosing && s.out.Len() == 0 && (len(b.msgs) == 0 || s.srv.leaving.Load()) {
		if len(b.msgs) == 0 {
			tail = tailNoopClose
		}
		s.endLocked(s.reason, nil)
	}
	return tail
}

// payload is a poll response.
type payload struct {
	body     []byte
	mime     string
	compress bool // if the client accepts it
}

// encode makes the response of what has been taken.
func (p *polling) encode(b *batch, tail string) payload {
	var out payload
	var t tally
	for _, m := range b.msgs {
		t.add(m)
		out.compress = out.compress || !m.plain
	}
	b.buf, out.mime = p.format.append(b.buf, b.msgs, tail)
	out.body = b.buf
	for i := range len(tail) {
		t[tail[i]-'0']++
	}
	p.s.countOut(onPolling, &t, len(out.body))
	return out
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
	case s.rev == revision4 && r.Header.Get("Content-Type") == mimeOctetStream:
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
	s.srv.count.posts.Add(1)
	defer s.srv.count.posts.Add(-1)

	status, err := s.takePost(w, r, p, post)
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
func (s *Session) takePost(w http.ResponseWriter, r *http.Request, p *polling, post *pollPost) (int, error) {
	body := buffers.get()
	defer buffers.put(body)
	status := s.readBody(w, r, post, body)
	s.mu.Lock()
	post.reading = false
	closed := s.state == stateClosed
	s.mu.Unlock()
	switch {
	case status == http.StatusRequestEntityTooLarge:
		s.srv.count.hit(limitPayloadBytes)
		return status, nil
	case status != http.StatusOK:
		return status, errPostAborted
	case closed:
		return http.StatusBadRequest, nil
	}
	if err := p.receiveBody(*body, r.Header.Get("Content-Type") == mimeOctetStream); err != nil {
		return http.StatusBadRequest, err
	}
	return http.StatusOK, nil
}

// cutter cuts the first packet off a payload; more tells whether another follows.
type cutter func(payload []byte) (p packet, rest []byte, more bool)

// receiveBody handles a POST body. A form without a payload is nothing, as in the
// reference.
func (p *polling) receiveBody(body []byte, binary bool) error {
	next := cutter(nextPacket)
	if p.format.rev == revision3 {
		next = nextText3
	}
	switch {
	case p.format.jsonp:
		var ok bool
		if body, ok = formPayload(body); !ok {
			return nil
		}
	case binary:
		return p.s.receivePayload(body, nextBinary3)
	}
	if !utf8.Valid(body) {
		body = bytes.ToValidUTF8(body, []byte("\uFFFD"))
	}
	return p.s.receivePayload(body, next)
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
func (s *Session) receivePayload(payload []byte, next cutter) error {
	limit := s.srv.opts.MaxPacketsPerPayload
	for n := 0; ; n++ {
		if limit > 0 && n == limit {
			return errTooManyPackets
		}
		p, rest, more := next(payload)
		s.countIn(onPolling, p)
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
		p.answer(tailNoop)
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
