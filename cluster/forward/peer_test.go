package forward

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/internal/sid"
)

// Owners that do not behave. What is at the address of an owner is whatever the
// registry says, and need not be a node.

// fakeOwner listens, and gives serve every connection with the request that came on
// it. It returns a node and the id of a session that the node takes it to own.
func fakeOwner(t *testing.T, c config, serve func(conn net.Conn, in *bufio.Reader)) (other *node, id string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				if _, err := http.ReadRequest(in); err == nil {
					serve(conn, in)
				}
			}()
		}
	}()
	signer, err := sid.NewSigner(secret, "fake")
	if err != nil {
		t.Fatal(err)
	}
	g := newRegistry()
	g.put(signer.Owner(), "http://"+ln.Addr().String())
	other = startNode(t, g, c)
	t.Cleanup(func() { ln.Close(); <-done })
	return other, signer.New()
}

// hang serves until the other side ends the connection, and says so.
func hang(ended chan<- struct{}) func(net.Conn, *bufio.Reader) {
	return func(_ net.Conn, in *bufio.Reader) {
		_, _ = io.Copy(io.Discard, in)
		ended <- struct{}{}
	}
}

// raw opens a connection to a node and writes text.
func (n *node) raw(text string) net.Conn {
	n.t.Helper()
	conn, err := net.Dial("tcp", n.http.Listener.Addr().String())
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(wait))
	if _, err := io.WriteString(conn, text); err != nil {
		n.t.Fatal(err)
	}
	return conn
}

// answer reads a response and its body.
func answer(t *testing.T, conn net.Conn) response {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{resp.StatusCode, resp.Header, string(body)}
}

const upgradeHeader = " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

func upgradeRequest(id string) string {
	return "GET /socket.io/?EIO=4&transport=websocket&sid=" + id + upgradeHeader
}

func TestAnOwnerThatNeverAnswersIsGivenUp(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{}, 2)
	c := config{}
	c.engine.PingInterval, c.engine.PingTimeout = 10*time.Millisecond, 10*time.Millisecond // PollTimeout adds 5 s
	other, id := fakeOwner(t, c, hang(ended))
	other.fwd.upgradeTimeout = 100 * time.Millisecond
	if resp := other.do(http.MethodGet, polling+"&sid="+id, ""); !resp.isUnknown() {
		t.Errorf("poll: %+v", resp)
	}
	if _, resp, err := other.dialWS(id); err == nil || resp == nil || resp.StatusCode != 400 {
		t.Errorf("upgrade: %v", err)
	}
	if n := other.failed(Broken); n != 2 {
		t.Errorf("%d broken, want 2", n)
	}
	receive(t, "end of the poll", ended)
	receive(t, "end of the upgrade", ended)
}

func TestAnOwnerThatNeverShakesHandsIsGivenUp(t *testing.T) {
	t.Parallel()
	mute, err := net.Listen("tcp", "127.0.0.1:0") // the kernel takes connections, nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	owner, other, g := pair(t)
	id := owner.signer.New()
	g.put(owner.signer.Owner(), "https://"+mute.Addr().String())
	other.fwd.upgradeTimeout = 100 * time.Millisecond
	if _, resp, err := other.dialWS(id); err == nil || resp == nil || resp.StatusCode != 400 || other.failed(Broken) != 1 {
		t.Errorf("upgrade: %v, %+v", err, other.fwd.Stats().Failed)
	}
}

func TestAClientThatLeavesTakesItsUpgradeAlong(t *testing.T) {
	t.Parallel()
	asked, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	other, id := fakeOwner(t, config{}, func(conn net.Conn, in *bufio.Reader) {
		asked <- struct{}{}
		hang(ended)(conn, in)
	})
	other.fwd.upgradeTimeout = time.Hour
	conn := other.raw(upgradeRequest(id))
	receive(t, "the request", asked)
	conn.Close()
	receive(t, "end at the owner", ended)
	eventually(t, "count", func() bool { return other.failed(ClientGone) == 1 })
}

// The first frames may come in one segment with the head before them, on either side.
func TestWhatIsReadTooMuchIsPassedOn(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	other, id := fakeOwner(t, config{}, func(conn net.Conn, in *bufio.Reader) {
		_, _ = io.WriteString(conn, switching+"from the owner")
		early := make([]byte, len("from the client"))
		_, _ = io.ReadFull(in, early)
		got <- string(early)
	})
	conn := other.raw(upgradeRequest(id) + "from the client")
	if text := receive(t, "early bytes", got); text != "from the client" {
		t.Errorf("the owner got %q", text)
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v, %v", resp, err)
	}
	if text, err := io.ReadAll(in); string(text) != "from the owner" || err != nil {
		t.Errorf("the client got %q, %v", text, err)
	}
}

// The bounds of the handshake are not those of the tunnel.
func TestATunnelOutlivesItsHandshake(t *testing.T) {
	t.Parallel()
	const bound = 5 * time.Second
	g := newRegistry()
	opts := config{}
	opts.engine.WriteTimeout = bound
	owner, other := startNode(t, g, opts), startNode(t, g, opts)
	other.fwd.upgradeTimeout = bound
	s := owner.session()
	conn := other.upgrade(s)
	checkTunnel(t, conn)
	<-time.After(bound + bound/10) // for the deadlines to pass
	checkTunnel(t, conn)
}

// An owner that is told of the client's end and stays.
func TestHalfATunnelDoesNotStay(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	other, id := fakeOwner(t, config{}, func(conn net.Conn, in *bufio.Reader) {
		_, _ = io.WriteString(conn, switching)
		_, _ = io.Copy(io.Discard, in) // the client has ended
		_, _ = io.WriteString(conn, "last words")
		<-ended
	})
	conn := other.raw(upgradeRequest(id))
	in := bufio.NewReader(conn)
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v, %v", resp, err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(in); string(text) != "last words" {
		t.Errorf("the client got %q, %v", text, err)
	}
	eventually(t, "end of the tunnel", func() bool { return other.fwd.Stats().Tunnels == 0 })
	close(ended)
}

func TestAResponseWithoutALengthIsBounded(t *testing.T) {
	t.Parallel()
	other, id := fakeOwner(t, config{}, func(conn net.Conn, in *bufio.Reader) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
		_, _ = conn.Write(make([]byte, 2000)) // it may not be read
	})
	other.fwd.maxUnsized = 1999
	if resp := other.do(http.MethodGet, polling+"&sid="+id, ""); !resp.isUnknown() || other.failed(Broken) != 1 {
		t.Errorf("%d, %d bytes, %+v", resp.status, len(resp.body), other.fwd.Stats().Failed)
	}
}

// A client that does not take its answer.
func TestAClientThatDoesNotReadHoldsNoRequest(t *testing.T) {
	t.Parallel()
	c := config{}
	c.engine.WriteTimeout = 100 * time.Millisecond
	const size = 64 << 20 // more than the kernel takes
	other, id := fakeOwner(t, c, func(conn net.Conn, in *bufio.Reader) {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
		chunk := make([]byte, 1<<20)
		for range size / len(chunk) {
			if _, err := conn.Write(chunk); err != nil {
				return
			}
		}
	})
	other.raw("GET /socket.io/?" + polling + "&sid=" + id + " HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, "the request", func() bool { return other.fwd.Stats().InFlight == 1 })
	eventually(t, "the end of the request", func() bool { return other.fwd.Stats().InFlight == 0 })
}

// The deadlines of http.Server end no poll that is forwarded.
func TestServerDeadlinesEndNoPoll(t *testing.T) {
	t.Parallel()
	const bound = 3 * time.Second
	g := newRegistry()
	owner := startNode(t, g, config{})
	other := startNode(t, g, config{wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w) // as ReadTimeout and WriteTimeout do
			_ = rc.SetReadDeadline(time.Now().Add(bound))
			_ = rc.SetWriteDeadline(time.Now().Add(bound))
			next.ServeHTTP(w, r)
		})
	}})
	s := owner.session()
	answer := other.later(http.MethodGet, s.query, "")
	eventually(t, "forwarded poll", func() bool { return owner.fwd.Stats().Accepted == 1 })
	<-time.After(bound + bound/10) // for the deadlines to pass
	if resp := owner.do(http.MethodPost, s.query, "4late"); resp.body != "ok" {
		t.Fatalf("post: %+v", resp)
	}
	if resp := receive(t, "answer", answer); resp.body != "4late" {
		t.Errorf("poll: %+v", resp)
	}
}

// A client that sends its body drop by drop costs the node it is connected to, and
// that only for a while. The owner hears of it when it is over.
func TestASlowBodyCostsTheOwnerNothing(t *testing.T) {
	t.Parallel()
	g := newRegistry()
	owner := startNode(t, g, config{})
	c := config{}
	c.engine.BodyTimeout = 3 * time.Second
	other := startNode(t, g, c)
	s := owner.session()
	other.raw("POST /socket.io/?" + s.query + " HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n4")
	eventually(t, "the request", func() bool { return other.fwd.Stats().InFlight == 1 })
	if n := owner.fwd.Stats().Accepted; n != 0 {
		t.Errorf("the owner heard of %d requests", n)
	}
	receive(t, "end of the session", s.closed)
}

// The same of a node, or of what can sign as one.
func TestASlowBodyOfAHopIsRefused(t *testing.T) {
	t.Parallel()
	c := config{}
	c.engine.BodyTimeout = 100 * time.Millisecond
	owner := startNode(t, newRegistry(), c)
	s := owner.session()
	uri := "/socket.io/?" + s.query
	conn := owner.raw("POST " + uri + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n" +
		hopHeader + ": " + made(owner.fwd.signer, "POST", uri, func(h *hop) { h.Body = digest([]byte("4x")) }) + "\r\n\r\n4")
	if resp := answer(t, conn); !resp.isUnknown() || owner.refused(WrongBody) != 1 {
		t.Errorf("%+v, %+v", resp, owner.fwd.Stats().Refused)
	}
	if resp := owner.do(http.MethodPost, s.query, "4x"); resp.body != "ok" {
		t.Errorf("the session suffered: %+v", resp)
	}
}

// A node whose MaxPayload is larger hands on what is too large here.
func TestOversizedHopsAreRefused(t *testing.T) {
	t.Parallel()
	c := config{}
	c.engine.MaxPayload = 1000
	owner := startNode(t, newRegistry(), c)
	s := owner.session()
	uri := "/socket.io/?" + s.query
	body := "4" + strings.Repeat("x", 1<<20)
	signed := func() string {
		return hopHeader + ": " + made(owner.fwd.signer, "POST", uri, func(h *hop) { h.Body = digest([]byte(body)) }) + "\r\n\r\n"
	}
	// With its length in the head nothing of it is read.
	conn := owner.raw(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s", uri, len(body), signed()))
	if resp := answer(t, conn); resp.status != http.StatusRequestEntityTooLarge {
		t.Errorf("with a length: %+v", resp)
	}
	// Without, no more than fits.
	conn = owner.raw("POST " + uri + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + signed())
	_, _ = fmt.Fprintf(conn, "%x\r\n%s\r\n", 2000, body[:2000]) // the answer comes before the rest
	if resp := answer(t, conn); !resp.isUnknown() || owner.refused(WrongBody) != 1 {
		t.Errorf("without a length: %+v, %+v", resp, owner.fwd.Stats().Refused)
	}
	if resp := owner.do(http.MethodPost, s.query, "4x"); resp.body != "ok" {
		t.Errorf("the session suffered: %+v", resp)
	}
}

// The node a client is connected to reads no more than it takes, whatever is still to
// come, and tells the owner nothing but that.
func TestOversizedBodiesAreNotReadToTheirEnd(t *testing.T) {
	t.Parallel()
	g := newRegistry()
	c := config{}
	c.engine.MaxPayload = 1000
	owner, other := startNode(t, g, c), startNode(t, g, c)
	for name, text := range map[string]string{
		"with a length": "Content-Length: 1000000\r\n\r\n",
		"without":       "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n4%s\r\n", 2000, strings.Repeat("x", 1999)),
	} {
		s := owner.session()
		conn := other.raw("POST /socket.io/?" + s.query + " HTTP/1.1\r\nHost: x\r\n" + text)
		if resp := answer(t, conn); resp.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %+v", name, resp)
		}
		if resp := other.do(http.MethodPost, s.query, "4x"); resp.body != "ok" {
			t.Errorf("%s: the session suffered: %+v", name, resp)
		}
	}
}

func TestARegistryThatLiesHarmsNoUpgrade(t *testing.T) {
	t.Parallel()
	owner, other, g := pair(t)
	third := startNode(t, g, config{})
	s := owner.session()
	g.put(owner.signer.Owner(), third.http.URL)
	_, resp, err := other.dialWS(s.id)
	if err == nil || resp == nil {
		t.Fatalf("upgrade: %v", err)
	}
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 400 || string(body) != "Session ID unknown" || resp.Header.Get(hopHeader) != "" {
		t.Errorf("%d %q %v", resp.StatusCode, body, resp.Header)
	}
	if third.refused(WrongNode) != 1 || other.failed(HopRefused) != 1 {
		t.Errorf("third %+v, other %+v", third.fwd.Stats().Refused, other.fwd.Stats().Failed)
	}
	if resp := owner.do(http.MethodPost, s.query, "4x"); resp.body != "ok" {
		t.Errorf("the session suffered: %+v", resp)
	}
}

func TestAClientThatDoesNotWaitForTheRegistry(t *testing.T) {
	t.Parallel()
	owner, other, g := pair(t)
	g.mu.Lock()
	g.block = make(chan struct{})
	g.mu.Unlock()
	s := owner.session()
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		_, _ = other.try(ctx, http.MethodGet, s.query, "") // canceled
	}()
	eventually(t, "lookup", func() bool { return g.count() == 1 })
	cancel()
	receive(t, "client", left)
	eventually(t, "count", func() bool { return other.failed(ClientGone) == 1 })
	if n := other.failed(RegistryError); n != 0 {
		t.Errorf("the registry is blamed %d times", n)
	}
	close(g.block)
}

// hasRoom waits until nothing is under way to an owner: a client has its answer
// before that is counted.
func (n *node) hasRoom(owner *node) {
	n.t.Helper()
	eventually(n.t, "room for requests", func() bool {
		p, _, err := n.fwd.dir.find(n.t.Context(), owner.signer.Owner())
		return err == nil && p.inFlight.Load() == 0
	})
}

// Requests that failed take no room from those that follow.
func TestFailedUpgradesTakeNoRoom(t *testing.T) {
	t.Parallel()
	g := newRegistry()
	owner := startNode(t, g, config{})
	other := startNode(t, g, config{opts: Options{MaxInFlight: 1}})
	s := owner.session()
	url := owner.http.URL
	for range 2 {
		if _, resp, err := other.dialWS(owner.signer.New()); err == nil || resp.StatusCode != 400 {
			t.Fatalf("an unknown session: %v", err)
		}
		other.hasRoom(owner)
	}
	conn := other.upgrade(s)
	if resp := other.do(http.MethodPost, s.query, "4x"); resp.status != 503 {
		t.Errorf("a second request beside the tunnel: %+v", resp)
	}
	_ = conn.Close()
	eventually(t, "end of the tunnel", func() bool { return other.fwd.Stats().Tunnels == 0 })
	s = owner.session()
	if resp := other.do(http.MethodPost, s.query, "4x"); resp.body != "ok" {
		t.Errorf("after the tunnel: %+v", resp)
	}
	// Nobody listens there. The address is not asked for again before it is old.
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	late := startNode(t, g, config{opts: Options{MaxInFlight: 1}})
	g.put(owner.signer.Owner(), "http://"+dead.Addr().String())
	for range 2 {
		if _, resp, err := late.dialWS(s.id); err == nil || resp.StatusCode != 400 {
			t.Fatalf("nobody listens: %v", err)
		}
		late.hasRoom(owner)
	}
	g.put(owner.signer.Owner(), url)
}

func TestAHiddenHijackIsReported(t *testing.T) {
	t.Parallel()
	g := newRegistry()
	owner := startNode(t, g, config{})
	other := startNode(t, g, config{opts: Options{MaxInFlight: 1}, wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(struct{ http.ResponseWriter }{w}, r) // no Unwrap
		})
	}})
	s := owner.session()
	for want := uint64(1); want <= 2; want++ {
		if _, resp, err := other.dialWS(s.id); err == nil || resp == nil || resp.StatusCode != 500 || other.failed(NoHijack) != want {
			t.Errorf("%v, %+v", err, other.fwd.Stats().Failed)
		}
		other.hasRoom(owner)
	}
}

// The owner is sent what the client sent, and nothing of net/http's own.
func TestNothingIsAddedToARequest(t *testing.T) {
	t.Parallel()
	seen := make(chan http.Header, 1)
	g := newRegistry()
	look := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				seen <- r.Header.Clone()
			}
			next.ServeHTTP(w, r)
		})
	}
	c := config{}
	c.engine.Use = append(c.engine.Use, look)
	owner := startNode(t, g, c)
	other := startNode(t, g, config{})
	s := owner.session()
	for _, body := range []string{"Content-Length: 2\r\n\r\n4x", "Transfer-Encoding: chunked\r\n\r\n2\r\n4x\r\n0\r\n\r\n"} {
		// What is between the client and this node only: RFC 9110, section 7.6.1.
		conn := other.raw("POST /socket.io/?" + s.query + " HTTP/1.1\r\nHost: x\r\nX-Own: 1\r\n" +
			"Keep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Connection: keep-alive\r\n" + body)
		if resp := answer(t, conn); resp.body != "ok" {
			t.Fatalf("%+v", resp)
		}
		header := receive(t, "request", seen)
		if n := header.Get("Content-Length"); n != "2" {
			t.Errorf("Content-Length %q", n)
		}
		delete(header, "Content-Length")
		if len(header) != 1 || header.Get("X-Own") != "1" {
			t.Errorf("the owner saw %v", header)
		}
	}
}
