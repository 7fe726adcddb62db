package engineio

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/socketfleet/socketfleet/internal/outq"
)

// Stream is a reliable byte stream in both directions, such as the one of a
// WebTransport session. Read and Write are called by one goroutine each, the other
// methods by any.
type Stream interface {
	io.Reader
	io.Writer
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	// CloseWrite ends the writing; what has been written is still delivered.
	CloseWrite() error
	// Close ends the stream and all that carries it, and frees who is blocked in
	// Read or Write. It returns soon, even when the peer takes nothing more, and may
	// be called more than once.
	Close(reason string) error
}

// AcceptFunc answers a request with success and returns the first stream that its
// sender opens, within ctx. When it fails, it has answered and cleaned up.
type AcceptFunc func(ctx context.Context) (Stream, error)

const (
	// streamBuffer is what an idle stream holds for reading.
	streamBuffer = 1 << 10
	// maxFirstFrame bounds the first packet, which holds a session id at most.
	maxFirstFrame = 4 << 10
)

// acceptKey finds the *pendingAccept in the context of a request, behind the
// program's middleware.
type acceptKey struct{}

type pendingAccept struct{ accept AcceptFunc }

// take returns the function once, because the context lives as long as the session.
func (p *pendingAccept) take() AcceptFunc {
	accept := p.accept
	p.accept = nil
	return accept
}

// ServeStream serves a CONNECT request that asks for a stream. Middleware, origins,
// limits and AllowRequest apply as to any handshake. It returns when the session
// has begun or the client has been refused, after UpgradeTimeout at the latest.
func (srv *Server) ServeStream(w http.ResponseWriter, r *http.Request, accept AcceptFunc) {
	ctx := context.WithValue(r.Context(), acceptKey{}, &pendingAccept{accept})
	srv.ServeHTTP(w, r.WithContext(ctx))
}

// AttachStreams tells that ServeStream is reachable, so that clients are told of
// WebTransport, until the returned function is called.
func (srv *Server) AttachStreams() (detach func()) {
	srv.streams.Add(1)
	return sync.OnceFunc(func() { srv.streams.Add(-1) })
}

// streamRequest returns what accepts the stream that the request asks for, or nil.
func streamRequest(r *http.Request) AcceptFunc {
	if r.Method != http.MethodConnect {
		return nil
	}
	p, ok := r.Context().Value(acceptKey{}).(*pendingAccept)
	if !ok {
		return nil
	}
	return p.take()
}

func (srv *Server) serveStream(w http.ResponseWriter, r *http.Request, accept AcceptFunc) {
	began := time.Now()
	leave, no := srv.expectStream(r)
	if no != nil {
		srv.refuse(w, r, no)
		return
	}
	c := newStreamConn()
	first, err := srv.greet(w, r, c, accept)
	leave() // a new session counts itself
	if err == nil {
		err = srv.openStream(r, c, first, began)
	}
	if err != nil {
		srv.opts.Logger.DebugContext(r.Context(), "socketio: stream refused", "error", err)
		if c.st != nil {
			_ = c.st.Close("")
		}
	}
}

// expectStream checks the request and counts it, as the session it may become, for
// the limits. leave takes that back.
func (srv *Server) expectStream(r *http.Request) (leave func(), no *refusal) {
	if !srv.opts.allows(WebTransport) {
		return nil, refuse(CodeTransportUnknown, "")
	}
	if !validOrigin(r) {
		return nil, refuse(CodeBadRequest, "INVALID_ORIGIN")
	}
	if no := srv.verifyHandshake(r, revision4); no != nil {
		return nil, no
	}
	e, ok := srv.addresses.enter(srv.clientAddr(r))
	if !ok {
		return nil, tooMany(limitAddressConnections, http.StatusTooManyRequests, 0)
	}
	srv.count.expected.Add(1)
	return func() {
		srv.count.expected.Add(-1)
		srv.addresses.leave(e)
	}, nil
}

// greet accepts the stream and reads its first packet.
func (srv *Server) greet(w http.ResponseWriter, r *http.Request, c *streamConn, accept AcceptFunc) (first []byte, err error) {
	ctx := r.Context()
	if d := srv.opts.UpgradeTimeout; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	if srv.opts.Headers != nil {
		srv.opts.Headers(w.Header(), r)
	}
	st, err := accept(ctx)
	if err != nil {
		return nil, err
	}
	c.st, c.in = st, bufio.NewReaderSize(st, streamBuffer)
	deadline, _ := ctx.Deadline()
	if err := st.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	binary, err := c.readFrame(maxFirstFrame, &first)
	if err != nil {
		return nil, err
	}
	if binary || first[0] != '0' {
		return nil, errFirstPacket
	}
	return first[1:], st.SetReadDeadline(time.Time{})
}

// openStream opens the session that the first packet asks for: a new one, or
// another transport for an old one.
func (srv *Server) openStream(r *http.Request, c *streamConn, first []byte, began time.Time) error {
	if len(first) == 0 {
		return srv.startStream(r, c, began)
	}
	var open struct{ SID string }
	if json.Unmarshal(first, &open) != nil || open.SID == "" {
		return errFirstPacket
	}
	s := srv.lookup(open.SID)
	if s == nil {
		if no := srv.addresses.stranger(srv.clientAddr(r), true); no != nil {
			srv.count.hit(no.limit)
		}
		srv.countRefusal(r, refuse(CodeSessionUnknown, ""), 0)
		return errUnknownSession
	}
	if !s.attachStream(c) {
		return errNoUpgrade
	}
	return nil
}

func (srv *Server) startStream(r *http.Request, c *streamConn, began time.Time) error {
	id, no := srv.newID(r)
	if no != nil {
		srv.countRefusal(r, no, 0)
		return no.err
	}
	s := srv.newSession(r, id)
	s.rev = revision4
	s.transport = c
	c.s, c.active = s, true
	s.out.Push(control('0', string(s.openPacket([]string{}))), outq.Bound{})
	s.refs++ // the reader's
	if !s.start() {
		s.release()
		return ErrServerClosed
	}
	srv.shookHands(WebTransport, began)
	s.mu.Lock()
	c.wake()
	s.mu.Unlock()
	go c.run()
	return nil
}

// attachStream lets c probe. It returns false when the session cannot be upgraded
// now.
func (s *Session) attachStream(c *streamConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, isPolling := s.transport.(*polling)
	if s.state != stateOpen || !isPolling || s.probe != nil || s.rev != revision4 {
		return false
	}
	c.s = s
	s.newProbeLocked(c)
	s.retainLocked()
	go c.run()
	return true
}

// streamConn is a byte stream with frames, as in engine.io transports/webtransport.ts.
// Like a WebSocket it has one goroutine that reads, and one that writes while there
// is something to write.
type streamConn struct {
	// Immutable once the reader runs.
	s       *Session
	st      Stream
	flusher func() // flush, bound once

	// Owned by the reader.
	in     *bufio.Reader
	active bool // is the session's transport; false: probing, or refused

	// Guarded by the session's lock.
	ctl      []byte // probe answers that wait
	flushing bool
	ending   bool      // the stream ends as soon as all else is written
	finished bool      // nothing is written any more, and the reader's deadline stands
	wrote    time.Time // when the last write ended
	idle     chan struct{}
}

func newStreamConn() *streamConn {
	c := new(streamConn)
	c.flusher = c.flush
	return c
}

func (c *streamConn) name() string { return WebTransport }

func (c *streamConn) wake() {
	if c.flushing || c.finished {
		return
	}
	c.flushing = true
	c.s.retainLocked()
	go c.flusher()
}

func (c *streamConn) ready() bool {
	limit := c.s.srv.opts.HighWaterBytes
	return limit <= 0 || c.s.out.Bytes() <= limit
}

func (c *streamConn) finish() bool {
	if c.s.out.Len() == 0 && !c.flushing {
		return true
	}
	if d := c.s.srv.opts.WriteTimeout; d > 0 {
		c.s.armLocked(d)
	}
	return false
}

func (c *streamConn) end() {
	c.ending = true
	c.wake()
}

func (c *streamConn) kill(abrupt bool) {
	if abrupt {
		_ = c.st.Close("")
	}
}

func (c *streamConn) answerProbe() {
	if len(c.ctl) < maxControlBytes && !c.ending {
		c.ctl = append(c.ctl, streamFrame(probeAnswer)...)
		c.s.srv.count.out[onStream].packets[typePong].Add(1)
		c.wake()
	}
}

// run is the reader goroutine. It owns the stream: when it ends, so does the stream.
func (c *streamConn) run() {
	s := c.s
	defer s.release()
	reason, err := c.classify(c.readAll())
	s.mu.Lock()
	if c.active {
		s.closeLocked(reason, err, false)
	} else if s.probe != nil && s.probe.w == candidate(c) {
		s.dropProbeLocked()
	}
	c.ending = true
	c.waitIdleLocked()
	c.finished = true
	farewell := ""
	if c.active {
		farewell = string(s.reason)
	}
	s.mu.Unlock()
	_ = c.st.Close(farewell)
}

// readAll reads and handles packets until the stream fails.
func (c *streamConn) readAll() error {
	for {
		c0, err := c.in.ReadByte() // without a buffer, where an idle stream waits
		if err != nil {
			return err
		}
		if err := c.readPacket(c0); err != nil {
			return err
		}
	}
}

// readPacket reads and handles the packet whose first byte is c0.
func (c *streamConn) readPacket(c0 byte) error {
	body := buffers.get()
	defer buffers.put(body)
	whole := c.buffered(c0)
	if !whole {
		c.setReadDeadline(c.s.srv.opts.BodyTimeout)
	}
	binary, err := c.readRest(c0, c.s.srv.opts.MaxPayload, body)
	if err != nil {
		return err
	}
	if !whole {
		c.setReadDeadline(0)
	}
	p := packet{kind: kindBinary, data: *body}
	if !binary {
		p = decodePacket(*body)
	}
	return c.handle(p)
}

// readFrame reads one frame into body.
func (c *streamConn) readFrame(limit int64, body *[]byte) (binary bool, err error) {
	c0, err := c.in.ReadByte()
	if err != nil {
		return false, err
	}
	return c.readRest(c0, limit, body)
}

func (c *streamConn) readRest(c0 byte, limit int64, body *[]byte) (binary bool, err error) {
	h, err := readFrameHeader(c.in, c0, limit)
	if err != nil {
		return false, err
	}
	if err := readFrameBody(c.in, h.length, body); err != nil {
		return false, err
	}
	if !h.binary && !utf8.Valid(*body) {
		return false, errInvalidText
	}
	return h.binary, nil
}

// handle acts on one packet. The stream of a session that has ended is read on, so
// that the client is not cut off in the middle of what it still gets.
func (c *streamConn) handle(p packet) error {
	c.s.countIn(onStream, p)
	if !c.active {
		c.active = c.s.receiveProbe(c, p)
		return nil
	}
	if p.kind == kindClose {
		return io.EOF // nothing that is on its way to the client matters to it
	}
	if err := c.s.receive(p); err != nil {
		c.s.fail(reasonOf(err), err)
	}
	return nil
}

// buffered reports whether the rest of the small packet whose first byte is c0 has
// arrived, as it mostly has.
func (c *streamConn) buffered(c0 byte) bool {
	n := int(c0 &^ binaryFrame)
	return n < 126 && n <= c.in.Buffered()
}

// setReadDeadline bounds a packet that has begun; zero is no bound. Where the end of
// the stream is awaited it does nothing.
func (c *streamConn) setReadDeadline(d time.Duration) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.finished {
		return
	}
	var t time.Time
	if d > 0 {
		t = time.Now().Add(d)
	}
	_ = c.st.SetReadDeadline(t)
}

// classify tells a stream that ended from one that failed, and from one that is not
// to be understood.
func (c *streamConn) classify(err error) (Reason, error) {
	switch {
	case errors.Is(err, errEmptyFrame), errors.Is(err, errTooBig), errors.Is(err, errInvalidText):
		return ReasonParseError, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ReasonTransportError, err
	}
	return ReasonTransportClose, nil
}
