package forward

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/internal/sid"
)

// made returns the header of a hop that change has been at before it was signed.
func made(s *signer, method, uri string, change func(*hop)) string {
	h := hop{At: time.Now().UnixMilli(), Nonce: sid.New(), From: "tester", To: s.own, Peer: "192.0.2.1:1", Host: "x", Body: digest(nil)}
	change(&h)
	text, _ := json.Marshal(h)
	packed := base64.RawURLEncoding.EncodeToString(text)
	return packed + "." + s.code(method, uri, packed)
}

func TestBadHopsAreRefusedAndTouchNoSession(t *testing.T) {
	t.Parallel()
	owner, _, _ := pair(t)
	s := owner.session()
	uri := "/socket.io/?" + s.query
	good := owner.fwd.signer
	bad := newSigner("another secret than theirs", good.own)
	none := func(*hop) {}
	for _, tt := range []struct {
		name   string
		want   Refusal
		header []string
	}{
		{"another secret", Forged, []string{made(bad, "GET", uri, none)}},
		{"another method", Forged, []string{made(good, "POST", uri, none)}},
		{"another session", Forged, []string{made(good, "GET", uri+"x", none)}},
		{"without a code", Forged, []string{strings.Split(made(good, "GET", uri, none), ".")[0]}},
		{"empty", Forged, []string{""}},
		{"two", Malformed, []string{made(good, "GET", uri, none), made(good, "GET", uri, none)}},
		{"long", Malformed, []string{made(good, "GET", uri, func(h *hop) { h.Host = strings.Repeat("h", maxHop) })}},
		{"no hop", Malformed, []string{"x." + good.code("GET", uri, "x")}},
		{"old", Expired, []string{made(good, "GET", uri, func(h *hop) { h.At -= (window + time.Second).Milliseconds() })}},
		{"from the future", Expired, []string{made(good, "GET", uri, func(h *hop) { h.At += 2 * window.Milliseconds() })}},
		{"for another node", WrongNode, []string{made(good, "GET", uri, func(h *hop) { h.To = "node.other" })}},
		{"another body", WrongBody, []string{made(good, "GET", uri, func(h *hop) { h.Body = digest([]byte("4x")) })}},
	} {
		before := owner.refused(tt.want)
		var header []string
		for _, v := range tt.header {
			header = append(header, hopHeader, v)
		}
		resp := owner.do(http.MethodGet, s.query, "", header...)
		if !resp.isUnknown() || owner.refused(tt.want) != before+1 {
			t.Errorf("%s: %d %q, counted %+v", tt.name, resp.status, resp.body, owner.fwd.Stats().Refused)
		}
	}
	if n := owner.fwd.Stats().Accepted; n != 0 {
		t.Errorf("%d hops accepted", n)
	}
	if resp := owner.do(http.MethodPost, s.query, "4still here"); resp.body != "ok" {
		t.Errorf("the session suffered: %+v", resp)
	}
}

func TestARepeatedHopIsTakenOnce(t *testing.T) {
	t.Parallel()
	owner, _, _ := pair(t)
	s := owner.session()
	hop := made(owner.fwd.signer, "POST", "/socket.io/?"+s.query, func(h *hop) { h.Body = digest([]byte("4x")) })
	if resp := owner.do(http.MethodPost, s.query, "4x", hopHeader, hop); resp.body != "ok" {
		t.Fatalf("first: %+v", resp)
	}
	if resp := owner.do(http.MethodPost, s.query, "4x", hopHeader, hop); !resp.isUnknown() || owner.refused(Replayed) != 1 {
		t.Errorf("again: %+v", resp)
	}
	receive(t, "message", s.got)
	if len(s.got) != 0 {
		t.Error("the message arrived twice")
	}
}

func TestARefusedHopOfAnUpgradeIsText(t *testing.T) {
	t.Parallel()
	owner, _, _ := pair(t)
	resp := owner.do(http.MethodGet, "EIO=4&transport=websocket", "", hopHeader, "forged", "Upgrade", "websocket")
	if resp.status != 400 || resp.body != "Session ID unknown" {
		t.Errorf("%+v", resp)
	}
}

func TestAForwardedRequestIsNeverForwarded(t *testing.T) {
	t.Parallel()
	owner, other, g := pair(t)
	s := owner.session()
	hop := made(other.fwd.signer, "GET", "/socket.io/?"+s.query, func(*hop) {})
	if resp := other.do(http.MethodGet, s.query, "", hopHeader, hop); !resp.isUnknown() {
		t.Errorf("%+v", resp)
	}
	if other.failed(Looped) != 1 || owner.fwd.Stats().Accepted != 0 || g.count() != 0 {
		t.Errorf("%+v", other.fwd.Stats())
	}
}

func TestARegistryThatLiesHarmsNobody(t *testing.T) {
	t.Parallel()
	owner, other, g := pair(t)
	third := startNode(t, g, config{})
	s := owner.session()
	g.put(owner.signer.Owner(), third.http.URL)
	if resp := other.do(http.MethodPost, s.query, "4x"); !resp.isUnknown() {
		t.Errorf("%+v", resp)
	}
	if third.refused(WrongNode) != 1 || other.failed(HopRefused) != 1 {
		t.Errorf("third %+v, other %+v", third.fwd.Stats().Refused, other.fwd.Stats().Failed)
	}
	for _, url := range []string{"", "ftp://127.0.0.1/", "http://", "http://user:pw@127.0.0.1/"} {
		n := startNode(t, g, config{})
		g.put(owner.signer.Owner(), url)
		if resp := n.do(http.MethodPost, s.query, "4x"); !resp.isUnknown() || n.failed(RegistryError) != 1 {
			t.Errorf("%q: %+v %+v", url, resp, n.fwd.Stats().Failed)
		}
	}
	if resp := owner.do(http.MethodPost, s.query, "4x"); resp.body != "ok" {
		t.Errorf("the session suffered: %+v", resp)
	}
}

func TestForgedIdsCostNothing(t *testing.T) {
	t.Parallel()
	owner, other, g := pair(t)
	forger, err := sid.NewSigner("another secret than theirs", "node")
	if err != nil {
		t.Fatal(err)
	}
	id := owner.signer.New()
	for _, forged := range []string{forger.New(), sid.New(), sid.Engine("node"), id[:len(id)-1] + "!", "x", id + "x", "node..", strings.Repeat("a", 300)} {
		if resp := other.do(http.MethodGet, polling+"&sid="+forged, ""); !resp.isUnknown() {
			t.Errorf("%q: %+v", forged, resp)
		}
	}
	if n := g.count(); n != 0 || owner.fwd.Stats().Accepted != 0 {
		t.Errorf("%d lookups, %d hops", n, owner.fwd.Stats().Accepted)
	}
	if resp := owner.do(http.MethodGet, polling+"&sid="+owner.signer.New(), ""); !resp.isUnknown() || g.count() != 0 {
		t.Errorf("an ended session of the node itself: %+v, %d lookups", resp, g.count())
	}
}

func TestNoncesAreRememberedForTwoWindows(t *testing.T) {
	t.Parallel()
	var n nonces
	start := time.Now()
	if !n.first("a", start) || n.first("a", start) {
		t.Error("the second of two equal nonces is new")
	}
	for at := time.Duration(0); at <= 2*window; at += window / 4 {
		if n.first("a", start.Add(at)) {
			t.Errorf("forgotten after %v", at)
		}
		n.first(at.String(), start.Add(at))
	}
	if last := 2 * window; n.first(last.String(), start.Add(last+1)) {
		t.Error("forgotten when the generations turn")
	}
	n.first("b", start.Add(10*window))
	n.first("c", start.Add(20*window))
	if len(n.now)+len(n.old) != 1 {
		t.Errorf("%d nonces kept after a long time", len(n.now)+len(n.old))
	}
}

func TestClocksThatAreApartAreReportedNowAndThen(t *testing.T) {
	inBubble(t, func(t *testing.T, f *Forwarder, _ *registry, logs *strings.Builder) {
		for range 2 {
			for range 3 {
				r := httptest.NewRequest("GET", "/", nil)
				r.Header.Set(hopHeader, made(f.signer, "GET", "/", func(h *hop) { h.At -= time.Hour.Milliseconds() }))
				w := httptest.NewRecorder()
				if f.Accept(w, r) != nil || w.Code != 400 {
					t.Errorf("answered %d", w.Code)
				}
				f.complain(t.Context(), "x", "forward.owner_lost", "n.a", errAway)
			}
			time.Sleep(11 * time.Second)
		}
		for _, event := range []string{"forward.clock_skew", "forward.owner_lost"} {
			if n := strings.Count(logs.String(), event); n != 2 {
				t.Errorf("%s: %d lines for twice three in 10 s", event, n)
			}
		}
	})
}

func TestOnlyPathsOfThisHostAreForwarded(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"/socket.io/?a=%2F+b": "/socket.io/?a=%2F+b",
		"http://h/p?q":        "/p?q",
		"//elsewhere/p":       "",
		"*":                   "",
	} {
		r := httptest.NewRequest("GET", "/p?q", nil)
		r.RequestURI = target
		if target == "*" {
			r.URL.Path, r.URL.RawQuery, r.URL.Opaque = "", "", "*"
		}
		if uri, ok := originalURI(r); ok != (want != "") || ok && uri != want {
			t.Errorf("%s: %q, %v", target, uri, ok)
		}
	}
}

func FuzzCheck(f *testing.F) {
	s := newSigner(secret, "node.epoch")
	f.Add(made(s, "GET", "/", func(*hop) {}))
	f.Add("e30." + s.code("GET", "/", "e30"))
	f.Add("..")
	f.Fuzz(func(t *testing.T, value string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header[hopHeader] = []string{value}
		if h, why := s.check(r); why == "" && h.To != s.own {
			t.Errorf("accepted %+v", h)
		}
	})
}
