package engineio

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func TestOpenPacketIsByteExact(t *testing.T) {
	t.Parallel()
	opts := Options{PingInterval: 300 * time.Millisecond, PingTimeout: 200 * time.Millisecond, GenerateID: func(*http.Request) (string, error) { return "S", nil }}
	r := newRig(t, opts, nil)
	resp := r.do(http.MethodGet, v4Polling, "")
	if want := `0{"sid":"S","upgrades":["websocket"],"pingInterval":300,"pingTimeout":200,"maxPayload":1000000}`; resp.body != want {
		t.Errorf("polling: %s", resp.body)
	}
	if cookies := resp.header["Set-Cookie"]; cookies != nil {
		t.Errorf("cookies %v", cookies)
	}
	r = newRig(t, opts, nil)
	if got, want := (&peer{rig: r, conn: r.mustDial("EIO=4&transport=websocket")}).read(),
		`0{"sid":"S","upgrades":[],"pingInterval":300,"pingTimeout":200,"maxPayload":1000000}`; got != want {
		t.Errorf("websocket: %s", got)
	}
	r = newRig(t, Options{DisableUpgrades: true, PingInterval: -1, PingTimeout: -1, MaxPayload: -1}, nil)
	resp = r.do(http.MethodGet, v4Polling, "")
	want := `^0{"sid":"[A-Za-z0-9_-]{20}","upgrades":\[\],"pingInterval":1073741823,"pingTimeout":1073741823,"maxPayload":0}$`
	if !regexp.MustCompile(want).MatchString(resp.body) {
		t.Errorf("disabled: %s", resp.body)
	}
}

func TestSessionIDsCarryTheNode(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{NodeID: "node-a"}, nil).poll()
	if !regexp.MustCompile(`^node-a\.[A-Za-z0-9_-]{20}$`).MatchString(p.sid) {
		t.Errorf("sid %q", p.sid)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	forbid := errors.New(`no "entry"`)
	var seen []*ConnectionError
	opts := Options{
		AllowRequest: func(r *http.Request) error {
			if r.Header.Get("X-Forbid") != "" {
				return forbid
			}
			return nil
		},
		GenerateID: func(r *http.Request) (string, error) {
			if r.Header.Get("X-No-Id") != "" {
				return "", errors.New("no id")
			}
			return "known", nil
		},
		OnConnectionError: func(e *ConnectionError) { seen = append(seen, e) },
	}
	r := newRig(t, opts, nil)
	p := r.poll()
	known := "&sid=" + p.sid
	for _, tc := range []struct {
		name, method, query string
		header              []string
		status              int
		code                Code
		text, context       string
	}{
		{"no transport", "GET", "EIO=4", nil, 400, 0, "Transport unknown", ""},
		{"unknown transport", "GET", "EIO=4&transport=tobi", nil, 400, 0, "Transport unknown", ""},
		{"name of a prototype member", "GET", "EIO=4&transport=constructor", nil, 400, 0, "Transport unknown", ""},
		{"webtransport over HTTP", "GET", "EIO=4&transport=webtransport", nil, 400, 0, "Transport unknown", ""},
		{"upper case", "GET", "EIO=4&transport=Polling", nil, 400, 0, "Transport unknown", ""},
		{"transport before protocol", "GET", "transport=tobi", nil, 400, 0, "Transport unknown", ""},
		{"last value wins", "GET", "EIO=4&transport=polling&transport=x", nil, 400, 0, "Transport unknown", ""},
		{"unknown sid", "GET", v4Polling + "&sid=test", nil, 400, 1, "Session ID unknown", ""},
		{"prototype sid", "GET", v4Polling + "&sid=__proto__", nil, 400, 1, "Session ID unknown", ""},
		{"transport mismatch", "GET", "EIO=4&transport=websocket" + known, nil, 400, 3, "Bad request", "TRANSPORT_MISMATCH"},
		{"handshake by POST", "POST", v4Polling, nil, 400, 2, "Bad handshake method", ""},
		{"handshake by OPTIONS", "OPTIONS", v4Polling, nil, 400, 2, "Bad handshake method", ""},
		{"websocket without upgrade", "GET", "EIO=4&transport=websocket", nil, 400, 3, "Bad request", "TRANSPORT_HANDSHAKE_ERROR"},
		{"empty sid is none", "POST", v4Polling + "&sid=", nil, 400, 2, "Bad handshake method", ""},
		{"not allowed", "GET", v4Polling, []string{"X-Forbid", "1"}, 403, 4, `no \"entry\"`, ""},
		{"not allowed before protocol", "GET", "transport=polling", []string{"X-Forbid", "1"}, 403, 4, `no \"entry\"`, ""},
		{"no protocol", "GET", "transport=polling", nil, 400, 5, "Unsupported protocol version", ""},
		{"protocol 3", "GET", "EIO=3&transport=polling", nil, 400, 5, "Unsupported protocol version", ""},
		{"protocol 04", "GET", "EIO=04&transport=polling", nil, 400, 5, "Unsupported protocol version", ""},
		{"id generation", "GET", v4Polling, []string{"X-No-Id", "1"}, 400, 3, "Bad request", "ID_GENERATION_ERROR"},
		{"id taken", "GET", v4Polling, nil, 400, 3, "Bad request", "TRANSPORT_HANDSHAKE_ERROR"},
	} {
		seen = nil
		resp := r.do(tc.method, tc.query, "", tc.header...)
		want := fmt.Sprintf(`{"code":%d,"message":"%s"}`, tc.code, tc.text)
		if resp.status != tc.status || resp.body != want || resp.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s %v", tc.name, resp.status, resp.body, resp.header)
		}
		if len(seen) != 1 || seen[0].Code != tc.code || seen[0].Context != tc.context {
			t.Errorf("%s: hook heard %v", tc.name, seen)
		}
	}
	if n := r.srv.Stats().HandshakeErrors[CodeTransportUnknown]; n != 7 {
		t.Errorf("counted %d unknown transports", n)
	}
	for _, method := range []string{"PUT", "HEAD", "OPTIONS", "DELETE"} {
		if resp := r.do(method, p.query, ""); resp.status != 500 || resp.body != "" {
			t.Errorf("%s of a session: %d %q", method, resp.status, resp.body)
		}
	}
}

func TestUpgradeRefusalsAreRaw400(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{AllowRequest: func(r *http.Request) error {
		if r.Header.Get("X-Forbid") != "" {
			return errors.New("no entry")
		}
		return nil
	}}, nil)
	p := r.poll()
	for _, tc := range []struct {
		name, query, header, want string
	}{
		{"unknown transport", "EIO=4&transport=x", "", "Transport unknown"},
		{"unknown sid", "EIO=4&transport=websocket&sid=x", "", "Session ID unknown"},
		{"forbidden", "EIO=4&transport=websocket", "X-Forbid: 1\r\n", "no entry"},
		{"foreign origin", "EIO=4&transport=websocket", "Origin: http://evil.example\r\n", "Forbidden"},
		{"foreign origin of a session", "EIO=4&transport=websocket&sid=" + p.sid, "Origin: http://evil.example\r\n", "Forbidden"},
		{"protocol 3", "EIO=3&transport=websocket", "", "Unsupported protocol version"},
		{"no protocol", "transport=websocket", "", "Unsupported protocol version"},
		{"bad key", "EIO=4&transport=websocket", "Sec-WebSocket-Key: x\r\n", ""},
		{"bad subprotocol", "EIO=4&transport=websocket", "Sec-WebSocket-Protocol: a b\r\n", "Invalid Sec-WebSocket-Protocol header"},
	} {
		c := r.raw()
		key := "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
		if strings.Contains(tc.header, "Key") {
			key = ""
		}
		fmt.Fprintf(c, "GET /socket.io/?%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n%s%s\r\n", tc.query, key, tc.header)
		resp, err := http.ReadResponse(c.Reader, nil)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 400 || tc.want != "" && string(body) != tc.want || !resp.Close || resp.Header.Get("Content-Type") != "text/html" {
			t.Errorf("%s: %s %q close=%v %v", tc.name, resp.Status, body, resp.Close, resp.Header)
		}
		if _, err := c.ReadByte(); err != io.EOF {
			t.Errorf("%s: connection stays open", tc.name)
		}
	}
}

func TestUpgradeToPollingIsClosed(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	wantCloseCode(t, r.mustDial(v4Polling), websocket.CloseNoStatusReceived)
}

func TestFirstSubprotocolIsEchoed(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	_, resp, err := r.dial("EIO=4&transport=websocket", http.Header{"Sec-Websocket-Protocol": {"mine, other"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Sec-Websocket-Protocol"); got != "mine" {
		t.Errorf("subprotocol %q", got)
	}
}

func TestCookieOnPollingHandshakeOnly(t *testing.T) {
	t.Parallel()
	opts := Options{Cookie: &http.Cookie{}, GenerateID: func(*http.Request) (string, error) { return "S", nil }}
	r := newRig(t, opts, nil)
	resp := r.do(http.MethodGet, v4Polling, "")
	if got := resp.header.Get("Set-Cookie"); got != "io=S; Path=/; HttpOnly; SameSite=Lax" {
		t.Errorf("cookie %q", got)
	}
	if resp := r.do(http.MethodPost, v4Polling+"&sid=S", "4x"); resp.header.Get("Set-Cookie") != "" {
		t.Error("cookie on a POST")
	}
	r = newRig(t, opts, nil)
	_, up, err := r.dial("EIO=4&transport=websocket", nil)
	if err != nil || up.Header.Get("Set-Cookie") != "" {
		t.Errorf("cookie on a WebSocket handshake: %v %v", up.Header, err)
	}
}

func TestHeaderHooks(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{
		InitialHeaders: func(h http.Header, _ *http.Request) { h.Set("X-First", "1") },
		Headers:        func(h http.Header, _ *http.Request) { h.Set("X-All", "1") },
	}, nil)
	check := func(what string, h http.Header, first, all string) {
		t.Helper()
		if h.Get("X-First") != first || h.Get("X-All") != all {
			t.Errorf("%s: %v", what, h)
		}
	}
	resp := r.do(http.MethodGet, v4Polling, "")
	check("handshake", resp.header, "1", "1")
	id := openSID(t, resp.body)
	check("POST", r.do(http.MethodPost, v4Polling+"&sid="+id, "4x").header, "", "1")
	check("error", r.do(http.MethodGet, v4Polling+"&sid=x", "").header, "", "")
	_, up, err := r.dial("EIO=4&transport=websocket&sid="+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	check("upgrade", up.Header, "", "1")
	_, up, err = r.dial("EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	check("websocket handshake", up.Header, "1", "1")
}

func TestOldInternetExplorerGetsNoXSSFilter(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	for ua, want := range map[string]string{
		"Mozilla/5.0 (compatible;MSIE 9.0)": "0", "Mozilla/5.0 Trident/7.0": "0", "Mozilla/5.0 Firefox": "",
	} {
		if got := r.do(http.MethodGet, v4Polling, "", "User-Agent", ua).header.Get("X-XSS-Protection"); got != want {
			t.Errorf("%s: %q", ua, got)
		}
	}
}

func TestMaxConnections(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{MaxConnections: 1}, nil)
	p := r.poll()
	if resp := r.do(http.MethodGet, v4Polling, ""); resp.status != 503 || resp.header.Get("Retry-After") == "" {
		t.Errorf("second handshake: %+v", resp)
	}
	if _, resp, err := r.dial("EIO=4&transport=websocket", nil); err == nil || resp.StatusCode != 503 {
		t.Errorf("second WebSocket: %v", err)
	}
	p.recv.s.Close(ReasonForcedClose, false)
	p.wantClosed(ReasonForcedClose, nil)
	r.poll()
	if n := r.srv.Stats().Overloaded; n != 2 {
		t.Errorf("counted %d", n)
	}
}

func TestForeignHookAnswersUnknownSessions(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Origins: []string{"*"}, Foreign: func(w http.ResponseWriter, r *http.Request, id string) bool {
		if w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Error("headers that the owner will set are set")
		}
		if !strings.HasPrefix(id, "other.") {
			return false
		}
		_, _ = io.WriteString(w, "forwarded "+id)
		return true
	}}, nil)
	id := "other.aaaaaaaaaaaaaaaaaaaa"
	if resp := r.do(http.MethodGet, v4Polling+"&sid="+id, ""); resp.body != "forwarded "+id {
		t.Errorf("%+v", resp)
	}
	if resp := r.do(http.MethodGet, v4Polling+"&sid=other.malformed", ""); resp.status != 400 {
		t.Errorf("malformed id was forwarded: %+v", resp)
	}
	resp := r.do(http.MethodGet, v4Polling+"&sid=gone.aaaaaaaaaaaaaaaaaaaa", "")
	if resp.status != 400 || resp.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("refused by the hook: %+v", resp)
	}
}

func TestOptionErrors(t *testing.T) {
	t.Parallel()
	for _, opts := range []Options{
		{Transports: []string{}}, {Transports: []string{"carrier pigeon"}}, {NodeID: "a.b"},
		{Origins: []string{"example.com"}}, {Origins: []string{"https://example.com/path"}},
	} {
		if _, err := NewServer(opts, nil); err == nil {
			t.Errorf("no error for %+v", opts)
		}
	}
	for in, want := range map[string]string{"": "/socket.io/", "/x": "/x/", "/x/": "/x/"} {
		if srv, err := NewServer(Options{Path: in}, nil); err != nil || srv.Path() != want {
			t.Errorf("path %q: %q %v", in, srv.Path(), err)
		}
	}
	if srv, err := NewServer(Options{Path: "/x/", NoTrailingSlash: true}, nil); err != nil || srv.Path() != "/x" {
		t.Errorf("without slash: %q %v", srv.Path(), err)
	}
}

func TestHooksThatPanicHurtNobodyElse(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{AllowRequest: func(r *http.Request) error {
		if r.Header.Get("X-Panic") != "" {
			panic("boom")
		}
		return nil
	}}, nil)
	if resp := r.do(http.MethodGet, v4Polling, "", "X-Panic", "1"); resp.status != 500 {
		t.Errorf("%+v", resp)
	}
	r.poll()
	if r.srv.Stats().Panics != 1 || !strings.Contains(r.logs.String(), "boom") {
		t.Errorf("panic not reported: %s", r.logs)
	}
}

func TestHandlerThatPanics(t *testing.T) {
	t.Parallel()
	srv, err := NewServer(Options{Logger: discardLogger}, func(*Session) Receiver { panic("boom") })
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, srv: srv}
	r.serve(httptest.NewServer(srv))
	if resp := r.do(http.MethodGet, v4Polling, ""); resp.status != 400 {
		t.Errorf("polling: %+v", resp)
	}
	// The WebSocket ends, before or after the 101.
	if conn, _, err := r.dial("EIO=4&transport=websocket", nil); err == nil {
		for err == nil {
			_, _, err = conn.ReadMessage()
		}
	}
	r.eventually("sessions gone", func() bool { return srv.Stats().Sessions == 0 })
}

func TestEarlyClientBytesAreNotLost(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, echo)
	c := r.upgradeRaw("EIO=4&transport=websocket", clientFrame(0x81, "4early")+clientFrame(0x81, "4bird"))
	p := recvFrom(t, "session", r.recv)
	for _, want := range []string{"t:early", "t:bird"} {
		if got := recvFrom(t, want, p.msgs); got != want {
			t.Errorf("received %q", got)
		}
	}
	readFrame(t, c.Reader) // open packet
	if got := readFrame(t, c.Reader); got != "4early" {
		t.Errorf("echo %q", got)
	}
}

// readFrame reads one unmasked frame and returns its payload.
func readFrame(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	n := int(head[1])
	if n == 126 {
		ext := make([]byte, 2)
		if _, err := io.ReadFull(r, ext); err != nil {
			t.Fatal(err)
		}
		n = int(ext[0])<<8 | int(ext[1])
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		t.Fatal(err)
	}
	return string(body)
}
