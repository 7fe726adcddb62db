package engineio

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		memoryChild()
	}
	goleak.VerifyTestMain(m)
}

const wait = 30 * time.Second

// closing is what a receiver heard at the end.
type closing struct {
	reason Reason
	err    error
}

// probeReceiver records what a session receives.
type probeReceiver struct {
	s      *Session
	msgs   chan string // "t:..." and "b:..."
	closed chan closing
	onText func(s *Session, data []byte)
}

func (p *probeReceiver) Text(data []byte) {
	if p.onText != nil {
		p.onText(p.s, data)
	}
	select {
	case p.msgs <- "t:" + string(data):
	default: // nobody reads: an echo test
	}
}

func (p *probeReceiver) Binary(data []byte) {
	select {
	case p.msgs <- "b:" + string(data):
	default:
	}
}

func (p *probeReceiver) Closed(r Reason, err error) { p.closed <- closing{r, err} }

// rig is a server on loopback.
type rig struct {
	t    *testing.T
	srv  *Server
	http *httptest.Server
	recv chan *probeReceiver
	logs *syncBuffer

	onText func(s *Session, data []byte)
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func echo(s *Session, data []byte) {
	_ = s.Send(NewMessage(append(Reserve(len(data)), data...), nil))
}

// newRig starts a server, behind a node that does not have its sessions where the
// tests run through one. Each session answers its texts through onText.
func newRig(t *testing.T, opts Options, onText func(s *Session, data []byte)) *rig {
	t.Helper()
	if !through || opts.Foreign != nil || opts.GenerateID != nil {
		r := newBareRig(t, opts, onText)
		r.serve(httptest.NewServer(r.srv))
		return r
	}
	sign(t, &opts)
	r := newBareRig(t, opts, onText)
	r.serve(httptest.NewServer(r.misroute(opts)))
	return r
}

func newBareRig(t *testing.T, opts Options, onText func(s *Session, data []byte)) *rig {
	t.Helper()
	r := &rig{t: t, recv: make(chan *probeReceiver, 4096), logs: new(syncBuffer), onText: onText}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.NewTextHandler(r.logs, nil))
	}
	srv, err := NewServer(opts, r.handle)
	if err != nil {
		t.Fatal(err)
	}
	r.srv = srv
	return r
}

func (r *rig) handle(s *Session) Receiver {
	p := &probeReceiver{s: s, msgs: make(chan string, 4096), closed: make(chan closing, 2), onText: r.onText}
	r.recv <- p
	return p
}

func (r *rig) serve(h *httptest.Server) {
	r.http = h
	r.t.Cleanup(func() {
		if err := r.srv.Close(); err != nil {
			r.t.Errorf("Close: %v", err)
		}
		if n := r.srv.Stats().QueuedBytes; n != 0 {
			r.t.Errorf("%d bytes counted as queued after the end", n)
		}
		h.Client().CloseIdleConnections()
		h.Close()
	})
}

func (r *rig) url(query string) string { return r.http.URL + "/socket.io/?" + query }

func (r *rig) wsURL(query string) string {
	return "ws" + strings.TrimPrefix(r.url(query), "http")
}

type response struct {
	status int
	header http.Header
	body   string
}

// do sends a request and returns what came back.
func (r *rig) do(method, query, body string, header ...string) response {
	r.t.Helper()
	resp, err := r.try(method, query, body, header...)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, query, err)
	}
	return resp
}

func (r *rig) try(method, query, body string, header ...string) (response, error) {
	var in io.Reader
	if body != "" || method == http.MethodPost {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, r.url(query), in)
	if err != nil {
		return response{}, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := r.http.Client().Do(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, string(data)}, err
}

// later does a request in the background.
func (r *rig) later(method, query, body string, header ...string) <-chan response {
	ch := make(chan response, 1)
	go func() {
		resp, err := r.try(method, query, body, header...)
		if err != nil {
			resp.body = "error: " + err.Error()
		}
		ch <- resp
	}()
	return ch
}

func recvFrom[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(wait):
		t.Fatalf("timed out waiting for %s", what)
		panic("unreachable")
	}
}

// peer is the client side of a session and the server's receiver of it.
type peer struct {
	*rig
	sid   string
	query string // of its polling requests
	recv  *probeReceiver
	conn  *websocket.Conn
}

const v4Polling = "EIO=4&transport=polling"

func (r *rig) poll(extra ...string) *peer {
	r.t.Helper()
	resp := r.do(http.MethodGet, v4Polling+strings.Join(extra, ""), "")
	if resp.status != http.StatusOK {
		r.t.Fatalf("handshake: %d %s", resp.status, resp.body)
	}
	p := &peer{rig: r, sid: openSID(r.t, resp.body), recv: recvFrom(r.t, "session", r.recv)}
	p.query = v4Polling + "&sid=" + p.sid
	return p
}

func openSID(t *testing.T, text string) string {
	t.Helper()
	var open struct{ SID string }
	if !strings.HasPrefix(text, "0{") {
		t.Fatalf("open packet = %q", text)
	}
	if err := json.Unmarshal([]byte(text[1:]), &open); err != nil {
		t.Fatal(err)
	}
	return open.SID
}

func (r *rig) dial(query string, h http.Header) (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{HandshakeTimeout: wait}
	conn, resp, err := d.Dial(r.wsURL(query), h)
	if conn != nil {
		r.t.Cleanup(func() { conn.Close() })
		_ = conn.SetReadDeadline(time.Now().Add(wait))
	}
	return conn, resp, err
}

func (r *rig) mustDial(query string) *websocket.Conn {
	r.t.Helper()
	conn, _, err := r.dial(query, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return conn
}

func (r *rig) ws(extra ...string) *peer {
	r.t.Helper()
	conn := r.mustDial("EIO=4&transport=websocket" + strings.Join(extra, ""))
	p := &peer{rig: r, conn: conn, recv: recvFrom(r.t, "session", r.recv)}
	p.sid = openSID(r.t, p.read())
	p.query = v4Polling + "&sid=" + p.sid
	return p
}

// read returns the next WebSocket message; a binary one with "b:" in front.
func (p *peer) read() string {
	p.t.Helper()
	s, err := readWS(p.conn)
	if err != nil {
		p.t.Fatalf("read: %v", err)
	}
	return s
}

func readWS(c *websocket.Conn) (string, error) {
	kind, data, err := c.ReadMessage()
	if err != nil {
		return "", err
	}
	if kind == websocket.BinaryMessage {
		return "b:" + string(data), nil
	}
	return string(data), nil
}

func (p *peer) write(text string) {
	p.t.Helper()
	if err := p.conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

func (p *peer) wantMessage(want string) {
	p.t.Helper()
	if got := recvFrom(p.t, "message "+want, p.recv.msgs); got != want {
		p.t.Fatalf("received %q, want %q", got, want)
	}
}

func (p *peer) wantClosed(reason Reason, err error) {
	p.t.Helper()
	got := recvFrom(p.t, "Closed", p.recv.closed)
	if got.reason != reason || err != nil && !errors.Is(got.err, err) {
		p.t.Fatalf("closed with %q, %v; want %q, %v", got.reason, got.err, reason, err)
	}
}

// wantCloseCode reads until the server's close frame.
func wantCloseCode(t *testing.T, c *websocket.Conn, code int) {
	t.Helper()
	for {
		_, _, err := c.ReadMessage()
		if err == nil {
			continue
		}
		if !websocket.IsCloseError(err, code) {
			t.Fatalf("connection ended with %v, want close code %d", err, code)
		}
		return
	}
}

// waitPolling waits until a GET of the session hangs.
func (p *peer) waitPolling() {
	p.t.Helper()
	p.eventually("a waiting GET", func() bool {
		p.recv.s.mu.Lock()
		defer p.recv.s.mu.Unlock()
		t, ok := p.recv.s.transport.(*polling)
		return ok && t.ready()
	})
}

// eventually polls cond with a deadline.
func (r *rig) eventually(what string, cond func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(wait)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			r.t.Fatalf("no %s after %v", what, wait)
		}
		<-tick.C
	}
}

func text(s string) *Message { return NewMessage(append(Reserve(len(s)), s...), nil) }

// raw is a TCP connection for requests that http.Client would not send.
type raw struct {
	net.Conn
	*bufio.Reader
}

func (r *rig) raw() *raw {
	r.t.Helper()
	c, err := net.Dial("tcp", r.http.Listener.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(wait))
	return &raw{c, bufio.NewReader(c)}
}

func (c *raw) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// upgradeRaw does a WebSocket handshake by hand; extra is sent right behind it.
func (r *rig) upgradeRaw(query, extra string) *raw {
	r.t.Helper()
	c := r.raw()
	_, err := io.WriteString(c, "GET /socket.io/?"+query+" HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"+extra)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		r.t.Fatalf("upgrade: %s", resp.Status)
	}
	return c
}

// clientFrame is a masked frame with mask key zero.
func clientFrame(first byte, payload string) string {
	n := len(payload)
	switch {
	case n < 126:
		return string([]byte{first, 0x80 | byte(n), 0, 0, 0, 0}) + payload
	case n < 1<<16:
		return string([]byte{first, 0x80 | 126, byte(n >> 8), byte(n), 0, 0, 0, 0}) + payload
	}
	return string([]byte{first, 0x80 | 127, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), 0, 0, 0, 0}) + payload
}

var discardLogger = slog.New(slog.DiscardHandler)

// reset closes a connection so that the peer gets an RST.
func reset(t *testing.T, c *raw) {
	t.Helper()
	if err := c.Conn.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// wantFarewell reads until the server's close frame, which carries code unless it
// is zero, and hangs up.
func (c *raw) wantFarewell(t *testing.T, code int) {
	t.Helper()
	want := []byte{0x88, 0}
	if code != 0 {
		want = []byte{0x88, 2, byte(code >> 8), byte(code)}
	}
	var got []byte
	buf := make([]byte, 4096)
	for !bytes.HasSuffix(got, want) {
		n, err := c.Read(buf)
		if err != nil {
			t.Fatalf("stream ends with %q, want %q", got[max(0, len(got)-8):], want)
		}
		got = append(got, buf[:n]...)
	}
	c.Close()
}
