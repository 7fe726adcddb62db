package forward

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/engineio"
	"github.com/socketfleet/socketfleet/internal/sid"
)

// loseAnswers runs a handler and, while on, cuts the connection instead of answering.
func loseAnswers(on *atomic.Bool, requests *atomic.Int64) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			if !on.Load() {
				next.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(httptest.NewRecorder(), r)
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = conn.Close()
			}
		})
	}
}

// net/http repeats a GET whose pooled connection broke before the answer. The owner
// has answered the first one, so that the second must not get a second answer: the
// client has to learn that something is lost.
func TestALostPollIsNotRepeated(t *testing.T) {
	t.Parallel()
	g := newRegistry()
	var losing atomic.Bool
	var requests atomic.Int64
	owner := startNode(t, g, config{wrap: loseAnswers(&losing, &requests)})
	other := startNode(t, g, config{})
	s := owner.session()
	for _, text := range []string{"4one", "4two"} {
		if resp := other.do(http.MethodPost, s.query, text); resp.body != "ok" { // leaves a pooled connection
			t.Fatalf("post: %+v", resp)
		}
	}
	losing.Store(true)
	before := requests.Load()
	if resp := other.do(http.MethodGet, s.query, ""); !resp.isUnknown() {
		t.Errorf("the client got %+v", resp)
	}
	// The transport did repeat it, or this test shows nothing.
	if n := requests.Load() - before; n != 2 || owner.refused(Replayed) != 1 {
		t.Errorf("%d requests, %d refused", n, owner.refused(Replayed))
	}
}

// A connection that the owner closes while it is idle is no reason to lose a request.
func TestConnectionsThatDiedIdleLoseNothing(t *testing.T) {
	t.Parallel()
	owner, other, _ := pair(t)
	s := owner.session()
	for i := range 30 {
		text := fmt.Sprintf("4%d", i)
		if resp := other.do(http.MethodPost, s.query, text); resp.body != "ok" {
			t.Fatalf("post %d: %+v", i, resp)
		}
		owner.http.CloseClientConnections()
		if resp := other.do(http.MethodGet, s.query, ""); resp.body != text {
			t.Fatalf("poll %d: %+v", i, resp)
		}
		owner.http.CloseClientConnections()
	}
}

func TestAnOwnerThatDiesEndsThePollAtOnce(t *testing.T) {
	t.Parallel()
	owner, other, _ := pair(t)
	s := owner.session()
	answer := other.later(http.MethodGet, s.query, "")
	eventually(t, "forwarded poll", func() bool { return owner.fwd.Stats().Accepted == 1 })
	_ = owner.http.Listener.Close()
	owner.http.CloseClientConnections()
	if resp := receive(t, "answer", answer); !resp.isUnknown() {
		t.Errorf("waiting poll: %+v", resp)
	}
	if resp := other.do(http.MethodPost, s.query, "4x"); !resp.isUnknown() || other.failed(Unreachable) != 1 {
		t.Errorf("post: %+v, %+v", resp, other.fwd.Stats().Failed)
	}
	if _, resp, err := other.dialWS(s.id); err == nil || resp.StatusCode != 400 {
		t.Errorf("upgrade: %v", err)
	}
}

func TestAnOwnerThatDiesEndsTheTunnel(t *testing.T) {
	t.Parallel()
	owner, other, _ := pair(t)
	s := owner.session()
	conn := other.upgrade(s)
	checkTunnel(t, conn)
	_ = owner.engine.Close()
	if _, _, err := conn.ReadMessage(); err == nil {
		t.Error("the client heard nothing")
	}
	eventually(t, "end of the tunnel", func() bool { return other.fwd.Stats().Tunnels == 0 })
}

// A client that breaks off in the middle of a body ends its session, as it would at
// the owner.
func TestAPostThatBreaksOffEndsTheSession(t *testing.T) {
	t.Parallel()
	owner, other, _ := pair(t)
	s := owner.session()
	conn, err := net.Dial("tcp", other.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "POST /socket.io/?"+s.query+" HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n4half")
	if err != nil {
		t.Fatal(err)
	}
	if n := owner.fwd.Stats().Accepted; n != 0 {
		t.Errorf("the owner heard of half a body: %d hops", n)
	}
	conn.Close()
	if why := receive(t, "end of the session", s.closed); why != engineio.ReasonTransportError {
		t.Errorf("closed: %s", why)
	}
	if len(s.got) != 0 {
		t.Errorf("half a message arrived: %q", <-s.got)
	}
}

func TestTooMuchUnderWayIsRefused(t *testing.T) {
	t.Parallel()
	g := newRegistry()
	owner := startNode(t, g, config{})
	other := startNode(t, g, config{opts: Options{MaxInFlight: 1}})
	s := owner.session()
	answer := other.later(http.MethodGet, s.query, "")
	eventually(t, "forwarded poll", func() bool { return owner.fwd.Stats().Accepted == 1 })
	resp := other.do(http.MethodPost, s.query, "4x")
	if resp.status != 503 || resp.header.Get("Retry-After") == "" || other.failed(Busy) != 1 {
		t.Errorf("%+v", resp)
	}
	if resp := owner.do(http.MethodPost, s.query, "4x"); resp.body != "ok" {
		t.Errorf("%+v", resp)
	}
	receive(t, "answer", answer)
	eventually(t, "room", func() bool { return other.fwd.Stats().InFlight == 0 })
	if resp := other.do(http.MethodPost, s.query, "4x"); resp.body != "ok" {
		t.Errorf("afterwards: %+v", resp)
	}
}

func TestOnMisroutedMayAnswer(t *testing.T) {
	t.Parallel()
	g := newRegistry()
	owner := startNode(t, g, config{})
	other := startNode(t, g, config{opts: Options{OnMisrouted: func(w http.ResponseWriter, r *http.Request, node string) bool {
		if r.Method != http.MethodGet {
			return false
		}
		w.Header().Set("Replay", node)
		return true
	}}})
	s := owner.session()
	if resp := other.do(http.MethodGet, s.query, ""); resp.header.Get("Replay") != "node" || owner.fwd.Stats().Accepted != 0 {
		t.Errorf("%+v", resp)
	}
	if resp := other.do(http.MethodPost, s.query, "4x"); resp.body != "ok" {
		t.Errorf("%+v", resp)
	}
}

func TestCloseCutsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	owner, other, g := pair(t)
	polls, upgraded := owner.session(), owner.session()
	conn := other.upgrade(upgraded)
	checkTunnel(t, conn)
	answer := other.later(http.MethodGet, polls.query, "")
	eventually(t, "forwarded poll", func() bool { return other.fwd.Stats().InFlight == 1 && owner.fwd.Stats().Accepted == 2 })
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	if err := other.fwd.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if resp := receive(t, "answer", answer); !resp.isUnknown() {
		t.Errorf("waiting poll: %+v", resp)
	}
	if _, _, err := conn.ReadMessage(); err == nil {
		t.Error("the tunnel is still there")
	}
	if _, err := g.Lookup(ctx, other.signer.Owner()); err != cluster.ErrNodeUnknown {
		t.Errorf("the registry still has the node: %v", err)
	}
	if resp := other.do(http.MethodPost, polls.query, "4x"); !resp.isUnknown() {
		t.Errorf("after Close: %+v", resp)
	}
	if err := other.fwd.Close(ctx); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestAStaticListIsARegistry(t *testing.T) {
	t.Parallel()
	urls := make(map[string]string)
	g := newRegistry()
	owner := startNode(t, g, config{})
	urls["node"] = owner.http.URL
	list := cluster.StaticRegistry(urls)
	if err := list.Announce(t.Context(), cluster.Node{ID: owner.signer.Owner(), URL: owner.http.URL + "/"}, 0); err != nil {
		t.Error(err)
	}
	for _, n := range []cluster.Node{{ID: "x.y", URL: owner.http.URL}, {ID: "node.y", URL: "http://elsewhere"}} {
		if list.Announce(t.Context(), n, 0) == nil {
			t.Errorf("announced %+v", n)
		}
	}
	other := startNode(t, g, config{opts: Options{Registry: lookupOnly{list}}})
	s := owner.session()
	if resp := other.do(http.MethodPost, s.query, "4x"); resp.body != "ok" {
		t.Errorf("%+v", resp)
	}
	// A process that has gone: its successor under the name refuses.
	earlier, err := sid.NewSigner(secret, "node")
	if err != nil {
		t.Fatal(err)
	}
	if resp := other.do(http.MethodGet, polling+"&sid="+earlier.New(), ""); !resp.isUnknown() || owner.refused(WrongNode) != 1 {
		t.Errorf("%+v", resp)
	}
}

// lookupOnly lets a node announce itself that is not in the list.
type lookupOnly struct{ cluster.Registry }

func (lookupOnly) Announce(context.Context, cluster.Node, time.Duration) error { return nil }
