package forward

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/socketfleet/socketfleet/internal/engineio"
)

// upgrade moves a session to a WebSocket through n.
func (n *node) upgrade(s *session) *websocket.Conn {
	n.t.Helper()
	conn, _, err := n.dialWS(s.id)
	if err != nil {
		n.t.Fatal(err)
	}
	say(n.t, conn, "2probe")
	hear(n.t, conn, "3probe")
	say(n.t, conn, "5")
	return conn
}

func (n *node) dialWS(id string) (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{HandshakeTimeout: wait}
	if n.http.TLS != nil {
		d.TLSClientConfig = n.http.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		d.TLSClientConfig.NextProtos = nil
	}
	conn, resp, err := d.Dial("ws"+strings.TrimPrefix(n.http.URL, "http")+"/socket.io/?EIO=4&transport=websocket&sid="+id, nil)
	if conn != nil {
		n.t.Cleanup(func() { conn.Close() })
		_ = conn.SetReadDeadline(time.Now().Add(wait))
	}
	return conn, resp, err
}

func say(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, c *websocket.Conn, want string) {
	t.Helper()
	if _, got, err := c.ReadMessage(); err != nil || string(got) != want {
		t.Fatalf("read %q, %v, want %q", got, err, want)
	}
}

// checkTunnel sends messages of several sizes through a session's WebSocket.
func checkTunnel(t *testing.T, conn *websocket.Conn) {
	t.Helper()
	for _, size := range []int{1, 100, 5_000, 100_000} {
		text := "4" + strings.Repeat("x", size)
		say(t, conn, text)
		hear(t, conn, text)
	}
}

func TestAnUpgradeReachesTheOwner(t *testing.T) {
	t.Parallel()
	owner, other, _ := pair(t)
	s := owner.session()
	conn := other.upgrade(s)
	checkTunnel(t, conn)
	if st := other.fwd.Stats(); st.Tunnels != 1 || st.Forwarded[Upgrade] != 1 || st.InFlight != 0 {
		t.Errorf("%+v", st)
	}
	_ = conn.Close()
	if why := receive(t, "end of the session", s.closed); why != engineio.ReasonTransportClose {
		t.Errorf("closed: %s", why)
	}
	eventually(t, "end of the tunnel", func() bool { return other.fwd.Stats().Tunnels == 0 })
}

func TestTheOwnersCloseFrameReachesTheClient(t *testing.T) {
	t.Parallel()
	owner, other, _ := pair(t)
	s := owner.session()
	conn := other.upgrade(s)
	checkTunnel(t, conn)
	s.s.Close(engineio.ReasonForcedClose, true)
	if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNoStatusReceived) {
		t.Errorf("the client saw %v", err)
	}
	_ = conn.Close()
	eventually(t, "end of the tunnel", func() bool { return other.fwd.Stats().Tunnels == 0 })
}

// Closed tunnels end as if the client had gone: the owner learns it, and its close
// frame still reaches the client.
func TestATunnelIsClosedGently(t *testing.T) {
	t.Parallel()
	owner, other, _ := pair(t)
	s := owner.session()
	conn := other.upgrade(s)
	checkTunnel(t, conn)
	for _, tunnel := range other.fwd.Tunnels() {
		if err := tunnel.Close(); err != nil {
			t.Error(err)
		}
	}
	if why := receive(t, "end of the session", s.closed); why != engineio.ReasonTransportClose {
		t.Errorf("closed: %s", why)
	}
	if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNoStatusReceived) {
		t.Errorf("the client saw %v", err)
	}
	_ = conn.Close()
	eventually(t, "end of the tunnel", func() bool { return len(other.fwd.Tunnels()) == 0 })
}

func TestARefusedUpgradeIsTheOwnersAnswer(t *testing.T) {
	t.Parallel()
	owner, other, _ := pair(t)
	_, resp, err := other.dialWS(owner.signer.New())
	if err == nil || resp == nil {
		t.Fatalf("upgrade of an unknown session: %v", err)
	}
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 400 || string(body) != "Session ID unknown" || owner.fwd.Stats().Accepted != 1 {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	if st := other.fwd.Stats(); st.Tunnels != 0 {
		t.Errorf("%+v", st)
	}
}

// A client that does not read blocks the tunnel. The owner cuts it in time, and that
// must not leave the tunnel behind.
func TestAClientThatStopsReadingHoldsNoTunnel(t *testing.T) {
	t.Parallel()
	g := newRegistry()
	opts := engineio.Options{WriteTimeout: time.Second}
	owner, other := startNode(t, g, config{engine: opts}), startNode(t, g, config{engine: opts})
	s := owner.session()
	conn := other.upgrade(s)
	say(t, conn, "4x")
	hear(t, conn, "4x")
	big := make([]byte, 64<<10)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(wait)
	for closed := false; !closed; {
		_ = s.s.Send(engineio.NewBinary(big)) // its end is what we wait for
		select {
		case <-s.closed:
			closed = true
		case <-tick.C:
		case <-deadline:
			t.Fatal("the owner did not cut the client")
		}
	}
	eventually(t, "end of the tunnel", func() bool { return other.fwd.Stats().Tunnels == 0 })
}

// The same where the kernel cannot time writes out.
func TestCarryTimesWritesOut(t *testing.T) {
	t.Parallel()
	src, feed := net.Pipe()
	dst, stuck := net.Pipe() // nobody reads it
	defer stuck.Close()
	defer dst.Close()
	done := make(chan error, 1)
	go func() { done <- carry(dst, src, 10*time.Millisecond) }()
	if _, err := feed.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	err := receive(t, "end", done)
	if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() {
		t.Errorf("carry: %v", err)
	}
	feed.Close()
}

func TestNodesKnowEachOtherByCertificate(t *testing.T) {
	t.Parallel()
	g := newRegistry()
	other := startNode(t, g, config{})
	owner := startNode(t, g, config{})
	inner := httptest.NewUnstartedServer(owner.http.Config.Handler)
	inner.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	inner.StartTLS()
	defer inner.Close()
	g.put(owner.signer.Owner(), inner.URL)

	s := owner.session()
	if resp := other.do(http.MethodPost, s.query, "4x"); !resp.isUnknown() {
		t.Errorf("without a certificate: %+v", resp)
	}
	roots := x509.NewCertPool()
	roots.AddCert(inner.Certificate())
	known := startNode(t, g, config{opts: Options{TLS: &tls.Config{RootCAs: roots, Certificates: inner.TLS.Certificates}}})
	if resp := known.do(http.MethodPost, s.query, "4x"); resp.status != 200 {
		t.Errorf("with a certificate: %+v", resp)
	}
	if resp := known.do(http.MethodGet, s.query, ""); resp.body != "4x" {
		t.Errorf("poll: %+v", resp)
	}
	checkTunnel(t, known.upgrade(s))
	if s.s.Request().Secure() {
		t.Error("the owner takes the client's connection for one with TLS")
	}
}

func TestHTTP2BetweenNodes(t *testing.T) {
	t.Parallel()
	g := newRegistry()
	c := config{opts: Options{HTTP2: true}, serve: func(s *httptest.Server) {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetHTTP1(true)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
	}}
	owner, other := startNode(t, g, c), startNode(t, g, c)
	s := owner.session()
	for range 3 {
		if resp := other.do(http.MethodPost, s.query, "4x"); resp.body != "ok" {
			t.Fatalf("post: %+v", resp)
		}
		if resp := other.do(http.MethodGet, s.query, ""); resp.body != "4x" {
			t.Fatalf("poll: %+v", resp)
		}
	}
	checkTunnel(t, other.upgrade(s))
}

// HTTP/2 for the polls, HTTP/1.1 for the WebSockets, TLS for both; and the owner
// learns which clients came over TLS.
func TestHTTP2OverTLSBetweenNodes(t *testing.T) {
	t.Parallel()
	g := newRegistry()
	roots := x509.NewCertPool()
	c := config{opts: Options{HTTP2: true, TLS: &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}}}, serve: func(s *httptest.Server) {
		s.EnableHTTP2 = true
		s.StartTLS()
		roots.AddCert(s.Certificate())
	}}
	protos := make(chan string, 100)
	secure := make(chan bool, 100)
	c.wrap = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get(hopHeader) != "" {
				protos <- r.Proto
			}
			next.ServeHTTP(w, r)
		})
	}
	other := startNode(t, g, c)
	c.engine.Use = append(c.engine.Use, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			secure <- r.TLS != nil
			next.ServeHTTP(w, r)
		})
	})
	owner := startNode(t, g, c)
	s := owner.session()
	receive(t, "handshake", secure)
	if resp := other.do(http.MethodPost, s.query, "4x"); resp.body != "ok" {
		t.Fatalf("post: %+v", resp)
	}
	if p := receive(t, "hop", protos); p != "HTTP/2.0" {
		t.Errorf("the post came over %s", p)
	}
	if !receive(t, "post", secure) {
		t.Error("the owner takes the client's connection for one without TLS")
	}
	if resp := other.do(http.MethodGet, s.query, ""); resp.body != "4x" {
		t.Fatalf("poll: %+v", resp)
	}
	receive(t, "hop", protos)
	checkTunnel(t, other.upgrade(s))
	if p := receive(t, "hop", protos); p != "HTTP/1.1" {
		t.Errorf("the upgrade came over %s", p)
	}
}

// What fails one way, or cannot be ended alone, ends the other way at once.
func TestATunnelEndsAsAWhole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, far := net.Pipe()
		owner, ownersEnd := net.Pipe()
		start := time.Now()
		far.Close()
		(&tunnel{client: client, owner: owner}).run()
		if _, err := ownersEnd.Read(make([]byte, 1)); err != io.EOF || time.Since(start) != 0 {
			t.Errorf("the owner sees %v after %v", err, time.Since(start))
		}
	})
}

// A tunnel that is ready when the node closes is cut, not leaked.
func TestNoTunnelStartsAfterClose(t *testing.T) {
	t.Parallel()
	f := New(nil) // not open
	client, far := net.Pipe()
	owner, _ := net.Pipe()
	released := false
	if !f.start(&tunnel{client: client, owner: owner}, func() { released = true }) || !released || len(f.Tunnels()) != 0 {
		t.Errorf("released %v, %d tunnels", released, len(f.Tunnels()))
	}
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client sees %v", err)
	}
}
