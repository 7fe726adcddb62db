package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/cluster/forward"
	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func anybody(*http.Request) error { return nil }

// explained asks a server for an explanation.
func explained(t *testing.T, h http.Handler, form url.Values, headers ...string) *core.Explanation {
	t.Helper()
	w := asked(h, "POST", form, headers...)
	e := new(core.Explanation)
	if err := json.Unmarshal(w.Body.Bytes(), e); err != nil || w.Code != http.StatusOK {
		t.Fatalf("status %d, %v: %s", w.Code, err, w.Body)
	}
	return e
}

func asked(h http.Handler, method string, form url.Values, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://example.com/explain", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = "10.0.0.1:1234"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func refuseAtTheDoor(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Door") != "" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func passOn(next http.Handler) http.Handler { return next }

func refuseByName(_ context.Context, s *core.Socket) error {
	if s.Handshake().Query()["user"] == "eve" {
		return &core.ConnectError{Message: "not you", Data: "secret-in-data"}
	}
	return nil
}

// Every kind of refusal is made by a real request, and has to be explained.
func TestEveryRefusalIsExplained(t *testing.T) {
	t.Parallel()
	const polling = "EIO=4&transport=polling"
	cases := []struct {
		name          string
		opts          core.Options
		method, query string
		headers       []string
		check, by     string
		reason        string // a part of it
		code          int
	}{
		{name: "unknown transport", query: "EIO=4&transport=tobi", check: "transport", reason: "Options.Transports"},
		{name: "transport off", opts: core.Options{Transports: []string{"websocket"}}, query: polling, check: "transport", reason: "Options.Transports"},
		{name: "origin", query: polling, headers: []string{"Origin", "https://evil.example"}, check: "origin", reason: "not in Options.Origins and not that of the host", code: 4},
		{name: "host of a proxy nobody trusts", query: polling, headers: []string{"Origin", "https://app.example", "X-Forwarded-Host", "app.example"}, check: "origin", reason: "X-Forwarded-Host was ignored", code: 4},
		{name: "CORS list", opts: core.Options{Origins: []string{"https://good.example"}}, query: polling, headers: []string{"Origin", "https://evil.example"}, check: "origin", reason: "Options.Origins", code: 4},
		{name: "JSONP", query: polling + "&j=0", check: "origin", reason: "JSONP", code: 4},
		{name: "method", method: "PUT", query: polling, check: "method", reason: "GET", code: 2},
		{name: "revision 3", query: "EIO=3&transport=polling", check: "protocol", reason: "AllowEIO3", code: 5},
		{name: "session", query: polling + "&sid=SECRETSECRETSECRET12", check: "session", reason: "load balancer", code: 1},
		{name: "upgrade lost", query: "EIO=4&transport=websocket", check: "upgrade", reason: "proxy", code: 3},
		{name: "no WebSocket handshake", query: "EIO=4&transport=websocket", headers: []string{"Upgrade", "websocket", "Connection", "Upgrade"}, check: "upgrade", reason: "WebSocket", code: 3},
		{name: "AllowRequest", opts: core.Options{AllowRequest: func(*http.Request) error { return errors.New("banned") }}, query: polling, check: "allow_request", reason: "AllowRequest", code: 4},
		{name: "id", opts: core.Options{GenerateID: func(*http.Request) (string, error) { return "", errors.New("none left") }}, query: polling, check: "generate_id", reason: "GenerateID", code: 3},
		{name: "rate", opts: core.Options{HandshakeRate: 1, HandshakeBurst: 1}, query: polling, check: "limit", by: "handshake_rate", reason: "limit", code: 4},
		{name: "rate of an address", opts: core.Options{AddressHandshakeRate: 1, AddressHandshakeBurst: 1}, query: polling, check: "limit", by: "handshake_rate_per_address", reason: "limit", code: 4},
		{name: "connections", opts: core.Options{MaxConnections: 1}, query: polling, check: "busy", reason: "MaxConnections", code: -1},
		{name: "URI", query: polling + "&x=" + strings.Repeat("SECRET", 2000), check: "uri", reason: "too long", code: 3},
		{name: "HTTP middleware", opts: core.Options{Use: []func(http.Handler) http.Handler{passOn, refuseAtTheDoor, passOn}}, query: polling, headers: []string{"X-Door", "1"}, check: "use", by: "core_test.refuseAtTheDoor", reason: "Options.Use", code: -1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, &c.opts)
			if strings.HasPrefix(c.name, "rate") || c.name == "connections" {
				get(t, r.url, "GET", polling) // takes what there is
			}
			h := r.ExplainHandler(anybody)
			if n := len(explained(t, h, nil).Recent); n != 0 {
				t.Fatalf("%d refusals before the handler was made", n)
			}
			headers := append([]string{"Cookie", "session=SECRET", "Authorization", "Bearer SECRET"}, c.headers...)
			status := get(t, r.url, c.method, c.query+"&token=SECRET", headers...)
			w := asked(h, "GET", nil)
			e := explained(t, h, nil)
			if len(e.Recent) != 1 || e.Refused[c.check] != 1 {
				t.Fatalf("explained %+v", e)
			}
			got := e.Recent[0]
			if got.Check != c.check || got.Code != c.code || !strings.HasSuffix(got.By, c.by) || !strings.Contains(got.Reason, c.reason) || got.Client != "127.0.0.1" {
				t.Errorf("explained %+v", got)
			}
			if c.check != "use" && got.Status != status {
				t.Errorf("status %d, the client got %d", got.Status, status)
			}
			text := asked(h, "GET", nil, "Accept", "text/plain").Body.String()
			if !strings.Contains(text, c.check+": "+got.Reason) {
				t.Errorf("as text:\n%s", text)
			}
			if strings.Contains(text+w.Body.String(), "SECRET") {
				t.Errorf("a secret is told:\n%s", text)
			}
		})
	}
}

// get makes a request and returns the status.
func get(t *testing.T, target, method, query string, headers ...string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target+"/socket.io/?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

func TestRefusalsOfNamespacesAreExplained(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.Use(func(context.Context, *core.Socket) error { return nil }, refuseByName)
	r.Of("/broken").Use(func(context.Context, *core.Socket) error { panic("SECRET") })
	h := r.ExplainHandler(anybody)
	r.refused(t, "/nowhere")
	r.refused(t, "/broken")
	c, err := testutil.Dial(t.Context(), r.url, testutil.ClientOptions{Query: url.Values{"user": {"eve"}}})
	if err == nil {
		c.Close()
		t.Fatal("eve is in")
	}
	var got []string
	e := explained(t, h, nil)
	for _, x := range e.Recent {
		got = append(got, fmt.Sprint(x.Check, " ", x.Namespace, " ", x.Message, " ", x.By[strings.LastIndex(x.By, ".")+1:]))
	}
	equal(t, "refusals", strings.Join(got, "; "), "middleware / not you refuseByName; middleware /broken internal error func2; namespace /nowhere Invalid namespace ")
	text := asked(h, "GET", nil, "Accept", "text/plain").Body.String()
	if strings.Contains(text, "secret-in-data") || strings.Contains(text, "SECRET") {
		t.Error(text)
	}
}

func TestWhatProxiesSayIsExplained(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Origins: []string{"https://good.example"}})
	direct := start(t, nil)
	h, d := r.ExplainHandler(anybody), direct.ExplainHandler(anybody)
	for _, c := range []struct {
		name    string
		h       http.Handler
		headers []string
		client  string
		trusted bool
		note    string
	}{
		{"no proxy", d, nil, "10.0.0.1", false, ""},
		{"a proxy nobody trusts", d, []string{"X-Forwarded-For", "192.0.2.7"}, "10.0.0.1", false, "not in Options.TrustedProxies"},
		{"a trusted proxy", h, []string{"X-Forwarded-For", "198.51.100.9, 192.0.2.7, 10.0.0.2"}, "192.0.2.7", true, ""},
		{"a trusted proxy that says nothing", h, nil, "10.0.0.1", true, "no X-Forwarded-For"},
		{"headers that are not used", h, []string{"X-Real-Ip", "192.0.2.7"}, "10.0.0.1", true, "not used"},
		{"a hop that is no address", h, []string{"X-Forwarded-For", "192.0.2.7, unknown"}, "10.0.0.1", true, "no address"},
		{"all hops trusted", h, []string{"X-Forwarded-For", "10.0.0.3"}, "10.0.0.3", true, "every hop"},
	} {
		got := explained(t, c.h, nil, append(c.headers, "Cookie", "SECRET")...).Request
		notes := strings.Join(got.Notes, "; ")
		if got.Client != c.client || got.Trusted != c.trusted || !strings.Contains(notes, c.note) || c.note == "" && notes != "" {
			t.Errorf("%s: %+v", c.name, got)
		}
		for i := 0; i < len(c.headers); i += 2 {
			equal(t, c.name, got.Headers[c.headers[i]], c.headers[i+1])
		}
	}
	got := explained(t, h, nil, "X-Forwarded-For", "192.0.2.7, 10.0.0.2").Request.Hops
	equal(t, "hops", fmt.Sprint(got), "[{192.0.2.7 true false} {10.0.0.2 true true}]")
	for origin, want := range map[string]string{
		"https://good.example": "true true", "https://evil.example": "false false", "https://example.com": "true true",
	} {
		o := explained(t, h, url.Values{"origin": {origin}}).Origin
		equal(t, origin, fmt.Sprint(o.Handshake, " ", o.CORS), want)
	}
}

func TestTheOwnerOfASessionIsExplained(t *testing.T) {
	t.Parallel()
	loop := cluster.NewLoopback()
	const secret = "a secret of the deployment"
	var rigs []*rig
	for i := range 2 {
		rigs = append(rigs, start(t, &core.Options{
			NodeID: fmt.Sprint("node-", i), ClusterSecret: secret, AdvertiseURL: fmt.Sprintf("http://127.0.0.1:%d", 1000+i),
			Adapter: cluster.NewProvider(loop.Bus(), cluster.Options{}), Forwarder: forward.New(nil),
		}))
	}
	h := rigs[0].ExplainHandler(anybody)
	here, there := rigs[0].bare(t), rigs[1].bare(t)
	s := explained(t, h, url.Values{"sid": {here.Handshake.SID}}).Session
	equal(t, "here", fmt.Sprintf("%t %t %s %s", s.Valid, s.Here, s.Node, s.URL), "true true node-0 ")
	s = explained(t, h, url.Values{"sid": {there.Handshake.SID}}).Session
	equal(t, "there", fmt.Sprintf("%t %t %s %s", s.Valid, s.Here, s.Node, s.URL), "true false node-1 http://127.0.0.1:1001")
	s = explained(t, h, url.Values{"sid": {there.Handshake.SID + "x"}}).Session
	equal(t, "forged", fmt.Sprintf("%t %t %s %s", s.Valid, s.Here, s.Node, s.URL), "false false  ")
	rigs[1].stop(t)
	s = explained(t, h, url.Values{"sid": {there.Handshake.SID}}).Session
	equal(t, "gone", fmt.Sprintf("%t %t %s %s", s.Valid, s.Here, s.Node, s.URL), "true false node-1 ")
	text := asked(h, "POST", url.Values{"sid": {there.Handshake.SID}, "format": {"text"}}).Body.String()
	if strings.Contains(text, there.Handshake.SID) {
		t.Error("the session id is told")
	}
}

func TestExplainingNeedsPermission(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	h := r.ExplainHandler(func(r *http.Request) error {
		if r.Header.Get("Authorization") != "Bearer right" {
			return errors.New("SECRET reason")
		}
		return nil
	})
	w := asked(h, "GET", nil)
	equal(t, "answer", fmt.Sprint(w.Code, " ", w.Body), "403 forbidden\n")
	equal(t, "allowed", asked(h, "GET", nil, "Authorization", "Bearer right").Code, 200)
	equal(t, "method", asked(h, "DELETE", nil, "Authorization", "Bearer right").Code, 405)
	defer func() {
		if recover() == nil {
			t.Error("a nil authorize was accepted")
		}
	}()
	r.ExplainHandler(nil)
}

func TestRefusalsThatAreRememberedAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	h := r.ExplainHandler(anybody)
	for i := range 250 {
		w := httptest.NewRecorder()
		q := httptest.NewRequest("GET", "/socket.io/?EIO=4&transport="+strings.Repeat("x", 1000), nil)
		q.Header.Set("Origin", fmt.Sprint("https://", i, "\x1b[31m"))
		r.ServeHTTP(w, q)
	}
	e := explained(t, h, nil)
	equal(t, "remembered", len(e.Recent), 200)
	equal(t, "counted", e.Refused["transport"], 250)
	equal(t, "newest", e.Recent[0].Origin, "https://249?[31m")
	equal(t, "oldest", e.Recent[199].Origin, "https://50?[31m")
	equal(t, "length of a text", len(e.Recent[0].Transport), 259)
}
