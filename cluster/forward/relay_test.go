package forward

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/socketfleet/socketfleet/internal/engineio"
)

func TestPollsAndPostsReachTheOwnerThroughAnyNode(t *testing.T) {
	t.Parallel()
	owner, other, _ := pair(t)
	s := owner.session()
	if resp := other.do(http.MethodPost, s.query, "4hello"); resp.status != 200 || resp.body != "ok" {
		t.Fatalf("post: %+v", resp)
	}
	if got := receive(t, "message", s.got); got != "hello" {
		t.Errorf("the owner got %q", got)
	}
	if resp := other.do(http.MethodGet, s.query, ""); resp.status != 200 || resp.body != "4hello" {
		t.Errorf("poll: %+v", resp)
	}
	eventually(t, "count", func() bool { // of what the client has already
		return owner.fwd.Stats().Accepted == 2 && other.forwarded(Poll) == 1 && other.forwarded(Post) == 1
	})
}

// Polls of one client follow each other through both nodes as fast as they can. A
// poll whose slot were free only after its last byte would overlap with the next.
func TestPollsInQuickSuccessionNeverOverlap(t *testing.T) {
	t.Parallel()
	owner, other, _ := pair(t)
	s := owner.session()
	for i := range 150 {
		via, back := owner, other
		if i%2 == 0 {
			via, back = other, owner
		}
		text := fmt.Sprintf("4%d", i)
		if resp := via.do(http.MethodPost, s.query, text); resp.body != "ok" {
			t.Fatalf("post %d: %+v", i, resp)
		}
		if resp := back.do(http.MethodGet, s.query, ""); resp.body != text {
			t.Fatalf("poll %d: %+v", i, resp)
		}
	}
}

func TestTheResponseIsTheOwners(t *testing.T) {
	t.Parallel()
	g := newRegistry()
	headers := func(name string) func(http.Header, *http.Request) {
		return func(h http.Header, _ *http.Request) { h.Set("X-Node", name) }
	}
	origins := []string{"https://a.example"}
	owner := startNode(t, g, config{engine: engineio.Options{Headers: headers("owner"), Origins: origins, AllowCredentials: true}})
	other := startNode(t, g, config{engine: engineio.Options{Headers: headers("other"), Origins: []string{"*"}}})
	s := owner.session()
	resp := other.do(http.MethodPost, s.query, "4x", "Origin", "https://a.example")
	for name, want := range map[string]string{
		"X-Node": "owner", "Access-Control-Allow-Origin": "https://a.example", "Access-Control-Allow-Credentials": "true",
	} {
		if got := resp.header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if resp := other.do(http.MethodGet, s.query, "", "Origin", "https://b.example"); resp.status != 403 {
		t.Errorf("the owner's refusal became %+v", resp)
	}
	gone := other.do(http.MethodGet, polling+"&sid="+owner.signer.New(), "", "Origin", "https://a.example")
	if !gone.isUnknown() || owner.failed(Looped) != 0 {
		t.Errorf("a session that the owner does not have: %+v, %+v", gone, owner.fwd.Stats().Failed)
	}
}

func TestTheOwnerSeesTheClientsRequest(t *testing.T) {
	t.Parallel()
	g := newRegistry()
	var seen atomic.Pointer[http.Request]
	look := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen.Store(r.Clone(r.Context()))
			next.ServeHTTP(w, r)
		})
	}
	owner := startNode(t, g, config{engine: engineio.Options{Use: []func(http.Handler) http.Handler{look}}})
	var peer atomic.Value
	other := startNode(t, g, config{wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.RemoteAddr, r.Host = "203.0.113.7:4711", "chat.example"
			peer.Store(r.RemoteAddr)
			next.ServeHTTP(w, r)
		})
	}})
	s := owner.session()
	resp := other.do(http.MethodPost, s.query+"&extra=%2F+x", "4x", "X-Forwarded-For", "198.51.100.1", "Cookie", "a=b",
		"Connection", "X-Hop", "X-Hop", "1", hopHeader+"x", "kept")
	if resp.status != 200 {
		t.Fatalf("%+v", resp)
	}
	r := seen.Load()
	if r.RemoteAddr != "203.0.113.7:4711" || r.Host != "chat.example" || r.TLS != nil {
		t.Errorf("client %s, host %s, TLS %v", r.RemoteAddr, r.Host, r.TLS)
	}
	if r.URL.RawQuery != s.query+"&extra=%2F+x" {
		t.Error("the query was changed")
	}
	for name, want := range map[string]string{"X-Forwarded-For": "198.51.100.1", "Cookie": "a=b", "X-Hop": "", hopHeader: "", "Idempotency-Key": ""} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestAClientThatLeavesTakesItsPollAlong(t *testing.T) {
	t.Parallel()
	owner, other, _ := pair(t)
	s := owner.session()
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := other.try(ctx, http.MethodGet, s.query, "")
		left <- err
	}()
	eventually(t, "forwarded poll", func() bool { return owner.fwd.Stats().Accepted == 1 })
	cancel()
	if receive(t, "client", left) == nil {
		t.Error("the poll was answered")
	}
	if why := receive(t, "end of the session", s.closed); why != engineio.ReasonTransportError {
		t.Errorf("closed: %s", why)
	}
	eventually(t, "count", func() bool { return other.failed(ClientGone) == 1 && other.fwd.Stats().InFlight == 0 })
}

func TestBodiesAreBoundedBeforeTheyAreSent(t *testing.T) {
	t.Parallel()
	g := newRegistry()
	owner := startNode(t, g, config{engine: engineio.Options{MaxPayload: 1000}})
	other := startNode(t, g, config{engine: engineio.Options{MaxPayload: 2000}})
	s := owner.session()
	for _, size := range []int{1001, 2000, 2001, 1 << 20} {
		body := "4" + strings.Repeat("x", size-1)
		if resp := other.do(http.MethodPost, s.query, body); resp.status != 413 {
			t.Errorf("%d bytes: %+v", size, resp)
		}
	}
	if resp := other.do(http.MethodPost, s.query, "4"+strings.Repeat("x", 999)); resp.status != 200 {
		t.Errorf("the session did not survive, or 1000 bytes are too much: %+v", resp)
	}
	if n := len(receive(t, "message", s.got)); n != 999 {
		t.Errorf("%d bytes arrived", n)
	}
}
