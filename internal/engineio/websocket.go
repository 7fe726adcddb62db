package engineio

import (
	"errors"
	"io"
	"net"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/socketfleet/socketfleet/internal/wsframe"
)

const (
	// maxFragments bounds the fragments of one message: gorilla does not show them,
	// but every fragment takes a read of its own. maxFragmentSlack more reads are
	// allowed per byte, for networks that cut big frames into small pieces.
	maxFragments     = 1024
	maxFragmentSlack = 256
	// maxControlBytes bounds the control frames that wait for a client, so that one
	// that only pings cannot fill memory.
	maxControlBytes = 4 << 10
	// shortLinger is how long a connection that failed waits for the peer to end it.
	shortLinger = time.Second
)

// wsConn is a WebSocket, as in engine.io transports/websocket.ts. One goroutine
// reads it, through gorilla's Conn; another one writes to the connection below,
// while there is something to write.
type wsConn struct {
	// Immutable once the reader runs.
	s    *Session
	conn *websocket.Conn
	nc   net.Conn
	b64  bool // the client wants binary messages as base64
	// deafToClose: OkHttp, the client's WebSocket, stops reading at a close frame and
	// waits for its user to answer, which the Java client never does. It sees neither
	// the frame nor the end of the connection behind it, and stays until its ping
	// times out. The end alone it sees.
	deafToClose bool

	deflate *compression // nil: not negotiated

	flusher func() // flush, bound once: a go statement with a method allocates

	// Owned by the reader.
	wire   wire
	active bool // is the session's transport; false: probing, or refused

	// Guarded by the session's lock.
	ctl       []byte // control frames and probe answers that wait
	flushing  bool
	ending    bool // a close frame is due as soon as all else is written
	closeSent bool
	gone      bool // nothing can be written any more
	closeCode int
	idle      chan struct{} // closed when the flusher ends; nil: nobody waits
}

func newWSConn() *wsConn {
	w := new(wsConn)
	w.flusher = w.flush
	return w
}

func (w *wsConn) name() string { return WebSocket }

func (w *wsConn) wake() {
	if w.flushing || w.gone {
		return
	}
	w.flushing = true
	w.s.retainLocked()
	go w.flusher()
}

func (w *wsConn) ready() bool {
	limit := w.s.srv.opts.HighWaterBytes
	return limit <= 0 || w.s.out.Bytes() <= limit
}

func (w *wsConn) finish() bool {
	if w.s.out.Len() == 0 && !w.flushing {
		return true
	}
	if d := w.s.srv.opts.WriteTimeout; d > 0 {
		w.s.armLocked(d)
	}
	return false
}

func (w *wsConn) end() {
	w.ending = true
	w.wake()
}

func (w *wsConn) kill(abrupt bool) {
	if abrupt {
		_ = w.nc.Close()
	}
}

// control queues a control frame, or drops it when too many wait.
func (w *wsConn) control(op byte, payload []byte) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if len(w.ctl) < maxControlBytes && !w.ending {
		w.ctl = wsframe.Append(w.ctl, op, payload)
		w.wake()
	}
}

// answerProbe implements candidate.
func (w *wsConn) answerProbe() {
	if len(w.ctl) < maxControlBytes {
		w.ctl = append(w.ctl, probeAnswer...)
		w.s.srv.count.out[onWebSocket].packets[typePong].Add(1)
		w.wake()
	}
}

// farewell queues a close frame; code 0 is none.
func (w *wsConn) farewell(code int) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if !w.ending {
		w.closeCode = code
		w.end()
	}
}

// run is the reader goroutine. It owns the connection: when it ends, so does the
// connection.
func (w *wsConn) run() {
	s := w.s
	defer s.release()
	err := w.readAll()
	reason, err := w.classify(err)
	s.mu.Lock()
	if w.active {
		s.closeLocked(reason, err, false)
	} else if s.probe != nil && s.probe.w == candidate(w) {
		s.dropProbeLocked()
	}
	w.ending = true // a close frame is no use after a lost connection, but harmless
	w.waitIdleLocked()
	w.gone = true
	s.mu.Unlock()
	if reason == ReasonTransportError && !timedOut(err) {
		w.discard()
	}
	_ = w.nc.Close()
}

// readAll reads and handles messages until the connection fails.
func (w *wsConn) readAll() error {
	for {
		binary, body, err := w.readMessage()
		if err != nil {
			return err
		}
		w.handle(binary, *body)
		buffers.put(body)
	}
}

func (w *wsConn) handle(binary bool, data []byte) {
	p := w.decode(binary, data)
	w.s.countIn(onWebSocket, p)
	if !w.active {
		w.active = w.s.receiveProbe(w, p)
		return
	}
	if p.kind == kindClose {
		w.s.fail(ReasonTransportClose, nil)
		return
	}
	if err := w.s.receive(p); err != nil {
		w.s.fail(reasonOf(err), err)
	}
}

func (w *wsConn) decode(binary bool, data []byte) packet {
	v3 := w.s.rev == revision3
	switch {
	case binary && v3:
		return decodeBinary3(data)
	case binary:
		return packet{kind: kindBinary, data: data}
	case v3:
		return decodePacket3(data)
	}
	return decodePacket(data)
}

// readMessage reads one message into a borrowed buffer. The buffer is borrowed
// only when a message begins, so an idle connection has none.
func (w *wsConn) readMessage() (binary bool, body *[]byte, err error) {
	kind, r, err := w.conn.NextReader()
	if err != nil {
		return false, nil, err
	}
	body = buffers.get()
	w.wire.inMessage = true
	err = w.readBody(r, body)
	w.wire.inMessage = false
	w.disarm()
	if err == nil && kind == websocket.TextMessage && !utf8.Valid(*body) {
		w.farewell(wsframe.CodeInvalidText)
		err = errInvalidText
	}
	if err != nil {
		buffers.put(body)
		return false, nil, err
	}
	return kind == websocket.BinaryMessage, body, nil
}

func (w *wsConn) readBody(r io.Reader, body *[]byte) error {
	limit := w.s.srv.opts.MaxPayload
	for reads := 0; ; reads++ {
		n, err := r.Read(room(body))
		*body = (*body)[:len(*body)+n]
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if limit > 0 && int64(len(*body)) > limit {
			w.farewell(wsframe.CodeTooBig)
			return errTooBig
		}
		if reads > maxFragments+len(*body)/maxFragmentSlack {
			w.farewell(wsframe.CodePolicy)
			return errFragments
		}
	}
}

// classify tells a connection that ended from one that failed.
func (w *wsConn) classify(err error) (Reason, error) {
	var closed *websocket.CloseError
	var lost net.Error // gorilla hides what is behind it
	switch {
	case errors.As(err, &closed), errors.Is(err, io.EOF):
		return ReasonTransportClose, nil
	case errors.As(err, &lost) && !lost.Timeout():
		return ReasonTransportClose, nil
	}
	return ReasonTransportError, err
}

func timedOut(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// discard reads what the peer may still be sending for a moment, because closing a
// connection with unread data would take the close frame back.
func (w *wsConn) discard() {
	_ = w.nc.SetReadDeadline(time.Now().Add(shortLinger))
	_, _ = io.Copy(io.Discard, io.LimitReader(w.nc, 8<<20))
}

// arm bounds the time that the rest of the current message may take.
func (w *wsConn) arm() {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if d := w.s.srv.opts.BodyTimeout; d > 0 && !w.closeSent {
		_ = w.nc.SetReadDeadline(time.Now().Add(d))
	}
}

func (w *wsConn) disarm() {
	if !w.wire.armed {
		return
	}
	w.wire.armed = false
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if !w.closeSent {
		_ = w.nc.SetReadDeadline(time.Time{})
	}
}

// hangUp sends the end of the connection in place of a close frame, where that can be
// done with the client still being read.
func (w *wsConn) hangUp() bool {
	half, ok := w.nc.(interface{ CloseWrite() error })
	return ok && w.deafToClose && half.CloseWrite() == nil
}

// linger is how long the peer may take to answer a close frame.
func (w *wsConn) linger() time.Duration {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	d := w.s.srv.opts.CloseTimeout
	if d > 0 && w.s.transport == transport(w) && w.s.reason == ReasonForcedClose {
		return d
	}
	return shortLinger
}
