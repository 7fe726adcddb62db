package engineio

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxied is a rig whose clients say what their address is.
func proxied(t *testing.T, o Options) *rig {
	o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	return newRig(t, o, nil)
}

func (r *rig) from(addr string) response {
	r.t.Helper()
	return r.do(http.MethodGet, v4Polling, "", "X-Forwarded-For", addr)
}

func (r *rig) hits(l limit) uint64 { return r.srv.Stats().LimitsHit[l.String()] }

func wantRefused(t *testing.T, resp response, status int, after string) {
	t.Helper()
	body := fmt.Sprintf(`{"code":4,"message":%q}`, http.StatusText(status))
	if resp.status != status || resp.body != body || resp.header.Get("Retry-After") != after {
		t.Errorf("%d %q, Retry-After %q; want %d %q, %q", resp.status, resp.body, resp.header.Get("Retry-After"), status, body, after)
	}
}

func TestHandshakeRate(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{HandshakeRate: 1, HandshakeBurst: 3}, nil)
	for range 3 {
		r.poll()
	}
	wantRefused(t, r.do(http.MethodGet, v4Polling, ""), 503, "1")
	if _, resp, err := r.dial("EIO=4&transport=websocket", nil); err == nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("WebSocket: %v %v", resp, err)
	}
	if got := r.hits(limitHandshakeRate); got != 2 {
		t.Errorf("counted %d", got)
	}
}

func TestHandshakeRatePerAddress(t *testing.T) {
	t.Parallel()
	r := proxied(t, Options{AddressHandshakeRate: 1, AddressHandshakeBurst: 2})
	for range 2 {
		if resp := r.from("192.0.2.1"); resp.status != 200 {
			t.Fatalf("%+v", resp)
		}
	}
	wantRefused(t, r.from("192.0.2.1"), 429, "1")
	if resp := r.from("192.0.2.2"); resp.status != 200 {
		t.Errorf("another address: %+v", resp)
	}
	if got := r.hits(limitAddressHandshakeRate); got != 1 {
		t.Errorf("counted %d", got)
	}
}

func TestConnectionsPerAddress(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, first, second, third, other string }{
		{"of IPv4 the address counts", "192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"},
		{"of IPv6 the network counts", "2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff::", "2001:db8:0:2::1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := proxied(t, Options{MaxConnectionsPerAddress: 2})
			if resp := r.from(tc.first); resp.status != 200 {
				t.Fatalf("%+v", resp)
			}
			gone := recvFrom(t, "session", r.recv)
			if resp := r.from(tc.second); resp.status != 200 {
				t.Fatalf("%+v", resp)
			}
			wantRefused(t, r.from(tc.third), 429, retryAfter)
			if resp := r.from(tc.other); resp.status != 200 {
				t.Errorf("another address: %+v", resp)
			}
			gone.s.Close(ReasonForcedClose, false)
			if resp := r.from(tc.third); resp.status != 200 {
				t.Errorf("after one has gone: %+v", resp)
			}
			if got := r.hits(limitAddressConnections); got != 1 {
				t.Errorf("counted %d", got)
			}
		})
	}
}

func TestConnectionsPerAddressHoldForHandshakesAtOnce(t *testing.T) {
	t.Parallel()
	const limit, clients = 5, 40
	started := make(chan struct{})
	var inside sync.WaitGroup
	inside.Add(clients)
	r := proxied(t, Options{MaxConnectionsPerAddress: limit, AllowRequest: func(*http.Request) error {
		inside.Done()
		<-started // all have passed the first look
		return nil
	}})
	answers := make([]<-chan response, clients)
	for i := range answers {
		answers[i] = r.later(http.MethodGet, v4Polling, "", "X-Forwarded-For", "192.0.2.1")
	}
	inside.Wait()
	close(started)
	served := 0
	for _, a := range answers {
		if resp := recvFrom(t, "answer", a); resp.status == 200 {
			served++
		} else {
			wantRefused(t, resp, 429, retryAfter)
		}
	}
	if served != limit {
		t.Errorf("%d sessions, want %d", served, limit)
	}
}

// What is no IP address is shared by all clients of a Unix socket, say.
func TestOtherAddressesAreNotLimited(t *testing.T) {
	t.Parallel()
	a := addresses{opts: &Options{MaxConnectionsPerAddress: 1, AddressHandshakeRate: 1, UnknownSessionRate: 1}}
	for range 20 {
		if _, ok := a.enter("@"); !ok || a.handshake("@") != nil || a.stranger("@", true) != nil {
			t.Fatal("limited")
		}
	}
}

func TestUnknownSessionRate(t *testing.T) {
	t.Parallel()
	forwarded := 0
	r := proxied(t, Options{UnknownSessionRate: 1, Foreign: func(http.ResponseWriter, *http.Request, string) bool {
		forwarded++
		return false
	}})
	p := r.poll()
	query := v4Polling + "&sid=AAAAAAAAAAAAAAAAAAAA"
	for range 5 {
		if resp := r.do(http.MethodGet, query, ""); resp.status != 400 || resp.body != `{"code":1,"message":"Session ID unknown"}` {
			t.Fatalf("%+v", resp)
		}
	}
	wantRefused(t, r.do(http.MethodGet, query, ""), 429, "1")
	if forwarded != 5 {
		t.Errorf("%d requests offered to other nodes, want 5", forwarded)
	}
	if resp := r.do(http.MethodGet, query, "", "X-Forwarded-For", "192.0.2.2"); resp.status != 400 {
		t.Errorf("another address: %+v", resp)
	}
	if resp := p.do(http.MethodPost, p.query, "4x"); resp.status != 200 {
		t.Errorf("a session of the same address: %+v", resp)
	}
	if got := r.hits(limitUnknownSessionRate); got != 1 {
		t.Errorf("counted %d", got)
	}
}

func TestSessionRequestRate(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{SessionRequestRate: 1}, nil)
	p := r.poll()
	for range 2 {
		if resp := p.do(http.MethodPost, p.query, "4x"); resp.status != 200 {
			t.Fatalf("%+v", resp)
		}
	}
	wantRefused(t, p.do(http.MethodPost, p.query, "4x"), 429, "1")
	p.wantClosed(ReasonTransportError, errRequestRate)
	if got := r.hits(limitSessionRequestRate); got != 1 {
		t.Errorf("counted %d", got)
	}
}

func TestRequestURI(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	room := maxURIBytes - len("/socket.io/") - len(v4Polling+"&x=")
	if resp := r.do(http.MethodGet, v4Polling+"&x="+strings.Repeat("x", room), ""); resp.status != 200 {
		t.Errorf("at the limit: %+v", resp)
	}
	if resp := r.do(http.MethodGet, v4Polling+"&x="+strings.Repeat("x", room+1), ""); resp.status != 400 || resp.body != `{"code":3,"message":"Bad request"}` {
		t.Errorf("above: %+v", resp)
	}
	if got := r.hits(limitRequestURI); got != 1 {
		t.Errorf("counted %d", got)
	}
}

func TestAddressesAreForgotten(t *testing.T) {
	t.Parallel()
	a := addresses{opts: &Options{AddressHandshakeRate: 1, AddressHandshakeBurst: 1}}
	now := time.Now()
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	a.sweepLocked(now)
	for i := range maxAddresses + 10 {
		e := a.getLocked(addr(i), now)
		if (e == nil) != (i >= maxAddresses) {
			t.Fatalf("address %d: %v", i, e)
		}
		if e != nil {
			e.handshakes.take(now, 1, 1)
		}
	}
	now = now.Add(2 * time.Second)
	if e := a.getLocked(addr(maxAddresses), now); e == nil || len(a.m) != 1 {
		t.Errorf("%d addresses after all have been quiet", len(a.m))
	}
	a.opts.MaxConnectionsPerAddress = 1
	e, _ := a.enter("192.0.2.1")
	a.getLocked(addr(1), now.Add(time.Hour))
	if again := a.getLocked(netip.MustParseAddr("192.0.2.1"), now); again != e {
		t.Error("an address with a session is forgotten")
	}
}

func TestEveryLimitHasAName(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for l := range limits {
		if l.String() == "" || seen[l.String()] {
			t.Errorf("limit %d is called %q", l, l)
		}
		seen[l.String()] = true
	}
}

func TestLimitsOfMessagesAreCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{MaxPayload: 1000, MaxPacketsPerPayload: 3}, nil)
	for _, tc := range []struct {
		limit limit
		at    string
		above string
	}{
		{limitPayloadBytes, "4" + strings.Repeat("x", 999), "4" + strings.Repeat("x", 1000)},
		{limitPayloadPackets, "4a\x1e4b\x1e4c", "4a\x1e4b\x1e4c\x1e4d"},
	} {
		p := r.poll()
		if resp := p.do(http.MethodPost, p.query, tc.at); resp.status != 200 {
			t.Errorf("%v, at the limit: %+v", tc.limit, resp)
		}
		if resp := p.do(http.MethodPost, p.query, tc.above); resp.status < 400 {
			t.Errorf("%v, above: %+v", tc.limit, resp)
		}
		if got := r.hits(tc.limit); got != 1 {
			t.Errorf("%v counted %d times", tc.limit, got)
		}
	}
	w := r.ws()
	w.write("4" + strings.Repeat("x", 999))
	w.write("4" + strings.Repeat("x", 1000))
	w.wantClosed(ReasonTransportError, nil)
	if got := r.hits(limitPayloadBytes); got != 2 {
		t.Errorf("WebSocket: payload_bytes counted %d times", got)
	}
}

func TestConnectionsOfAllAreCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{MaxConnections: 2}, nil)
	r.poll()
	r.poll()
	if resp := r.do(http.MethodGet, v4Polling, ""); resp.status != 503 {
		t.Errorf("%+v", resp)
	}
	if got := r.hits(limitConnections); got != 1 {
		t.Errorf("counted %d", got)
	}
}
