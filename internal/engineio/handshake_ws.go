package engineio

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/socketfleet/socketfleet/internal/outq"
)

// upgradeTimeout bounds the writing of the 101 response.
const upgradeTimeout = 10 * time.Second

func (srv *Server) serveUpgrade(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	s, no := srv.verify(w, r, true)
	if no != nil {
		srv.refuseUpgrade(w, r, no)
		return
	}
	switch {
	case queryValue(r.URL.RawQuery, "transport") != WebSocket:
		srv.refuseAfterUpgrade(w, r)
	case s == nil:
		srv.openWebSocket(w, r, began)
	default:
		srv.upgradeSession(w, r, s)
	}
}

// openWebSocket serves the handshake of a session that starts on a WebSocket. The
// reader is a goroutine of its own, so that the handler can return, which frees the
// request and net/http's buffers.
func (srv *Server) openWebSocket(w http.ResponseWriter, r *http.Request, began time.Time) {
	id, no := srv.newID(r)
	if no != nil {
		srv.refuseUpgrade(w, r, no)
		return
	}
	conn := srv.upgrade(w, r, true, nil)
	if conn == nil {
		return
	}
	s := srv.newSession(r, id)
	s.transport = conn
	conn.active = true
	conn.bind(s)
	conn.ctl, conn.wire.held = conn.wire.held, nil
	s.out.Push(control('0', string(s.openPacket([]string{}))), outq.Bound{})
	s.refs++ // the reader's
	if !s.start() {
		_ = conn.nc.Close()
		s.release()
		return
	}
	srv.shookHands(WebSocket, began)
	s.mu.Lock()
	conn.wake()
	s.mu.Unlock()
	go conn.run()
}

// upgradeSession lets a polling session probe a WebSocket. A session that cannot
// be upgraded keeps its transport, and the WebSocket is closed.
func (srv *Server) upgradeSession(w http.ResponseWriter, r *http.Request, s *Session) {
	// The session knows its probe before the client gets the 101: what the client
	// sends next may arrive on another connection.
	conn := srv.upgrade(w, r, false, s.attach)
	if conn == nil {
		return
	}
	conn.bind(s)
	if !s.adopt(conn) {
		_ = conn.nc.Close()
	}
}

// adopt starts the reader of a WebSocket that wants to become the session's
// transport. It returns false when nothing of the session is left.
func (s *Session) adopt(conn *wsConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refs == 0 {
		return false
	}
	s.retainLocked()
	if s.probe == nil || s.probe.w != candidate(conn) {
		conn.end()
	}
	go conn.run()
	return true
}

// refuseAfterUpgrade accepts a WebSocket that asks for another transport, and
// closes it.
func (srv *Server) refuseAfterUpgrade(w http.ResponseWriter, r *http.Request) {
	conn := srv.upgrade(w, r, false, nil)
	if conn == nil {
		return
	}
	_ = conn.nc.SetDeadline(time.Now().Add(shortLinger))
	_, _ = conn.nc.Write([]byte{0x88, 0})
	_ = conn.nc.Close()
}

// bind ties the connection to its session, before anything reads or writes it.
func (w *wsConn) bind(s *Session) {
	if w.s == nil { // else attach has set it, and others read it
		w.s = s
	}
	w.wire.w = w
	w.conn.SetReadLimit(s.srv.opts.MaxPayload)
}

// upgrade answers 101. It returns nil when it has answered something else. attach,
// if not nil, is called before the 101, and the function it returns after a failure.
func (srv *Server) upgrade(w http.ResponseWriter, r *http.Request, first bool, attach func(*wsConn) (undo func())) *wsConn {
	h := upgradeHeader(w.Header())
	if offered := r.Header.Get("Sec-Websocket-Protocol"); offered != "" {
		name, _, _ := strings.Cut(offered, ",")
		if name = strings.TrimSpace(name); !isToken(name) {
			srv.upgradeError(w, r, http.StatusBadRequest, errSubprotocol)
			return nil
		}
		h.Set("Sec-Websocket-Protocol", name)
	}
	if first && srv.opts.InitialHeaders != nil {
		srv.opts.InitialHeaders(h, r)
	}
	if srv.opts.Headers != nil {
		srv.opts.Headers(h, r)
	}
	conn := newWSConn()
	conn.b64 = queryValue(r.URL.RawQuery, "b64") != ""
	conn.deafToClose = strings.HasPrefix(r.Header.Get("User-Agent"), "okhttp/")
	conn.wire.hold = first
	hj := &hijacker{ResponseWriter: w, conn: conn, attach: attach}
	upgrader := &srv.upgrader
	if srv.deflate != nil && offersDeflate(r) {
		upgrader, conn.deflate = &srv.deflater, srv.deflate
	}
	ws, err := upgrader.Upgrade(hj, r, h)
	if err != nil {
		if hj.unsupported {
			srv.logNoHijack(w, r)
		}
		if hj.undo != nil {
			hj.undo()
		}
		return nil
	}
	conn.conn = ws
	return conn
}

// upgradeHeader takes over what middleware has set, for the 101 response.
func upgradeHeader(from http.Header) http.Header {
	h := from.Clone()
	if h == nil {
		h = make(http.Header)
	}
	for _, name := range []string{"Connection", "Upgrade", "Content-Type", "Content-Length", "Content-Encoding",
		"Transfer-Encoding", "Sec-Websocket-Accept", "Sec-Websocket-Extensions", "Sec-Websocket-Protocol"} {
		h.Del(name)
	}
	return h
}

// upgradeError answers what gorilla refuses.
func (srv *Server) upgradeError(w http.ResponseWriter, r *http.Request, status int, reason error) {
	text := http.StatusText(status)
	if status != http.StatusInternalServerError {
		text = strings.TrimPrefix(reason.Error(), "websocket: ")
	}
	no := &refusal{code: CodeBadRequest, context: "TRANSPORT_HANDSHAKE_ERROR", message: text, err: reason}
	srv.notify(r, no, status)
	abortUpgrade(w, status, text)
}

// logNoHijack names the middleware that is in the way.
func (srv *Server) logNoHijack(w http.ResponseWriter, r *http.Request) {
	if !srv.hijackLog.allow() {
		return
	}
	srv.opts.Logger.LogAttrs(r.Context(), slog.LevelError,
		"socketio: WebSocket upgrade impossible: the ResponseWriter hides Hijack; give its type an Unwrap method, or serve this path outside that middleware (HTTP/2 has no Hijack)",
		slog.String("event", "handshake.no_hijack"),
		slog.String("writer", fmt.Sprintf("%T", w)), slog.String("proto", r.Proto))
}

// hijacker lets gorilla take over a connection through wrapped ResponseWriters,
// and keeps what the client sent too early.
type hijacker struct {
	http.ResponseWriter
	conn        *wsConn
	unsupported bool // no writer in the chain has Hijack
	attach      func(*wsConn) (undo func())
	undo        func()
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		h.unsupported = errors.Is(err, http.ErrNotSupported)
		return nil, nil, err
	}
	if n := rw.Reader.Buffered(); n > 0 {
		early, _ := rw.Reader.Peek(n)
		h.conn.wire.early = bytes.Clone(early)
		_, _ = rw.Reader.Discard(n)
	}
	h.conn.nc = nc
	h.conn.wire.Conn = nc
	if h.attach != nil {
		h.undo = h.attach(h.conn)
	}
	return &h.conn.wire, rw, nil
}

func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
