package core_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/socketfleet/socketfleet/core"
)

// The threat tests hold one test per line of the threat model in SECURITY.md that
// concerns a single node, at the level a client sees. Their names start with the
// threat's number.

const (
	pollingQuery   = "EIO=4&transport=polling"
	webSocketQuery = "EIO=4&transport=websocket"
)

// reply is the answer to one HTTP request.
type reply struct {
	status int
	header http.Header
	body   string
}

// request sends one HTTP request; header holds names and values in turn.
func (r *rig) request(t testing.TB, method, query, body string, header ...string) reply {
	t.Helper()
	req, err := http.NewRequest(method, r.url+"/socket.io/?"+query, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: wait}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(text)}
}

// openPolling opens a polling session, which the test's end closes, and returns the
// query of its requests.
func (r *rig) openPolling(t testing.TB) (query string) {
	t.Helper()
	res := r.request(t, "GET", pollingQuery, "")
	if res.status != http.StatusOK {
		t.Fatalf("handshake: %+v", res)
	}
	query = pollingQuery + "&sid=" + sidOf(t, res.body)
	t.Cleanup(func() { r.request(t, "POST", query, "1") }) // Shutdown would wait for its next poll
	return query
}

// sidOf returns the session id in an open packet.
func sidOf(t testing.TB, open string) string {
	t.Helper()
	_, rest, found := strings.Cut(open, `"sid":"`)
	id, _, _ := strings.Cut(rest, `"`)
	if !found || id == "" {
		t.Fatalf("no session id in %q", open)
	}
	return id
}

// rawConn is a connection for what no HTTP or WebSocket library would send.
type rawConn struct {
	net.Conn
	in *bufio.Reader
}

func (r *rig) rawDial(t testing.TB) *rawConn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(wait))
	return &rawConn{c, bufio.NewReader(c)}
}

// rawUpgrade opens a WebSocket and sends bytes right behind the request.
func (r *rig) rawUpgrade(t testing.TB, query, after string) *rawConn {
	t.Helper()
	c := r.rawDial(t)
	c.upgrade(t, query, after)
	return c
}

func (c *rawConn) upgrade(t testing.TB, query, after string, header ...string) {
	t.Helper()
	lines := strings.Join(header, "\r\n")
	if lines != "" {
		lines += "\r\n"
	}
	c.write(t, "GET /socket.io/?"+query+" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"+lines+"\r\n"+after)
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: status %d", res.StatusCode)
	}
}

func (c *rawConn) write(t testing.TB, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

// frame returns a client's frame with a mask of zeros; first is its first byte.
func frame(first byte, payload string) string {
	n := len(payload)
	switch {
	case n < 126:
		return string([]byte{first, 0x80 | byte(n), 0, 0, 0, 0}) + payload
	case n < 1<<16:
		return string([]byte{first, 0xfe, byte(n >> 8), byte(n), 0, 0, 0, 0}) + payload
	}
	return string([]byte{first, 0xff, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), 0, 0, 0, 0}) + payload
}

// textFrames returns one unfragmented text frame per packet.
func textFrames(packets ...string) string {
	var b strings.Builder
	for _, p := range packets {
		b.WriteString(frame(0x81, p))
	}
	return b.String()
}

// next returns the opcode and the payload of the server's next frame.
func (c *rawConn) next() (op byte, payload string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return 0, "", err
	}
	n := int(head[1] & 0x7f)
	if n >= 126 {
		ext := make([]byte, map[int]int{126: 2, 127: 8}[n])
		if _, err := io.ReadFull(c.in, ext); err != nil {
			return 0, "", err
		}
		n = 0
		for _, b := range ext {
			n = n<<8 | int(b)
		}
	}
	body := make([]byte, n)
	_, err = io.ReadFull(c.in, body)
	return head[0] & 0x0f, string(body), err
}

// closeCode reads up to the server's close frame and returns its code: 0 for one
// without, -1 where the connection just ended.
func (c *rawConn) closeCode() int {
	for {
		op, payload, err := c.next()
		switch {
		case err != nil:
			return -1
		case op == 8 && len(payload) < 2:
			return 0
		case op == 8:
			return int(payload[0])<<8 | int(payload[1])
		}
	}
}

// answerPings reads and answers pings until the server hangs up, and then hangs up.
func (c *rawConn) answerPings() {
	defer c.Close()
	for {
		op, payload, err := c.next()
		if err != nil || op == 8 {
			return
		}
		if payload == "2" {
			_, _ = io.WriteString(c, textFrames("3"))
		}
	}
}

// healthy fails the test when the server does not serve a new client at once.
func (r *rig) healthy(t testing.TB) {
	t.Helper()
	e := r.engine(t)
	send(t, e, "1")
	_ = e.Close()
	st := r.Stats()
	equal(t, "panics in the engine", st.Engine.Panics, 0)
	equal(t, "panics of handlers", st.HandlerPanics, 0)
}

// gone waits until no session is left.
func (r *rig) gone(t testing.TB) {
	t.Helper()
	eventually(t, "no session is left", func() bool { return r.Stats().Engine.Sessions == 0 })
}

// pipes is a listener whose connections are made in memory, for virtual time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return pipeAddr{} }

func (p *pipes) dial() *rawConn {
	client, server := net.Pipe()
	p.conns <- server
	return &rawConn{client, bufio.NewReader(client)}
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// inVirtualTime runs a test against a server with all its default timeouts.
func inVirtualTime(t *testing.T, opts *core.Options, test func(t *testing.T, r *rig, p *pipes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, opts)
		p := &pipes{make(chan net.Conn), make(chan struct{})}
		h := &http.Server{Handler: r.Server, ReadHeaderTimeout: 5 * time.Second}
		go func() { _ = h.Serve(p) }()
		test(t, r, p)
		r.stop(t)
		_ = h.Close()
	})
}

// pollOverPipe opens a polling session and returns its connection and query.
func pollOverPipe(t *testing.T, p *pipes) (*rawConn, string) {
	t.Helper()
	c := p.dial()
	c.write(t, "GET /socket.io/?"+pollingQuery+" HTTP/1.1\r\nHost: x\r\n\r\n")
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return c, pollingQuery + "&sid=" + sidOf(t, string(body))
}

// about checks that d is what is expected, give or take a second.
func about(t testing.TB, what string, d, want time.Duration) {
	t.Helper()
	if d < want-time.Second || d > want+time.Second {
		t.Errorf("%s after %v, want %v", what, d, want)
	}
}

// startLimited is start behind an http.Server that bounds headers.
func startLimited(t *testing.T, maxHeader int) *rig {
	t.Helper()
	r := newRig(t, nil)
	h := httptest.NewUnstartedServer(r.Server)
	h.Config.MaxHeaderBytes = maxHeader
	h.Start()
	r.url = h.URL
	t.Cleanup(h.Close)
	t.Cleanup(func() { r.stop(t) })
	return r
}

// headers returns n header lines.
func headers(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf("X-Flood-%d: %s", i, strings.Repeat("v", 20))
	}
	return lines
}

// drip writes head at once, then rest at one byte a second until the server hangs
// up.
func (c *rawConn) drip(head, rest string) {
	if _, err := io.WriteString(c, head); err != nil {
		return
	}
	for i := range len(rest) {
		if _, err := io.WriteString(c, rest[i:i+1]); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}
