package core_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// Browsers send cookies with a WebSocket handshake from any page, and CORS does not
// apply to it: the origin is judged on every path into a session.
func TestT01_PagesOfForeignOriginsGetNoSession(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{Origins: []string{"https://app.example.com", "https://xn--bcher-kva.example"}})
	sid := strings.TrimPrefix(r.openPolling(t), pollingQuery)
	for origin, allowed := range map[string]bool{
		"":                                     true,
		r.url:                                  true,
		strings.ToUpper(r.url):                 true,
		"https://app.example.com":              true,
		"https://APP.example.com":              true,
		"https://app.example.com:443":          true,
		"https://xn--bcher-kva.example":        true,
		"null":                                 false,
		"http://app.example.com":               false,
		"https://app.example.com:8443":         false,
		"https://app.example.com/":             false,
		"https://app.example.com.evil.example": false,
		"https://app.example.com@evil.example": false,
		"https://evil-app.example.com":         false,
		"https://evilapp.example.com":          false,
		"https://sub.app.example.com":          false,
		"https://b\u00fccher.example":          false,
		"https://xn--bcher-kvb.example":        false,
		"http://127.0.0.1":                     false,
		"http://127.0.0.1:1":                   false,
		"file://":                              false,
		"https://":                             false,
	} {
		header := []string{"Origin", origin}
		if origin == "" {
			header = nil
		}
		upgrade := append([]string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13",
			"Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="}, header...)
		for what, got := range map[string]int{
			"polling handshake":   r.request(t, "GET", pollingQuery, "", header...).status,
			"POST":                r.request(t, "POST", pollingQuery+sid, "3", header...).status,
			"WebSocket handshake": r.upgradeStatus(t, webSocketQuery, upgrade),
			"upgrade":             r.upgradeStatus(t, webSocketQuery+sid, upgrade),
		} {
			if ok := got == http.StatusOK || got == http.StatusSwitchingProtocols; ok != allowed {
				t.Errorf("%s from %q: status %d, want allowed %v", what, origin, got, allowed)
			}
		}
	}
	both := r.request(t, "GET", pollingQuery, "", "Origin", "https://app.example.com", "Origin", "https://evil.example")
	equal(t, "status for two origins", both.status, http.StatusForbidden)
}

// upgradeStatus asks for a WebSocket and hangs up.
func (r *rig) upgradeStatus(t testing.TB, query string, header []string) int {
	t.Helper()
	c := r.rawDial(t)
	defer c.Close()
	var b strings.Builder
	for i := 0; i < len(header); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", header[i], header[i+1])
	}
	c.write(t, "GET /socket.io/?"+query+" HTTP/1.1\r\nHost: "+strings.TrimPrefix(r.url, "http://")+"\r\n"+b.String()+"\r\n")
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode
}

// Who has a session id has the session: it stays out of logs, caches and the ids
// that other clients see.
func TestT02_SessionIDsDoNotLeak(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{ConnectTimeout: time.Second})
	core.On(r, "panic", func(context.Context, *core.Socket, none) error { panic("boom") })
	core.On(r, "fail", func(context.Context, *core.Socket, none) error { return fmt.Errorf("failed") })
	core.On(r, "number", func(context.Context, *core.Socket, int) error { return nil })
	var ids []string
	for _, last := range []string{`2["panic"]`, `2["fail"]`, `2["number","x"]`, "9", `51-["e"]`, `39[1]`} {
		e := r.engine(t)
		for s := range r.Sockets() {
			if strings.Contains(e.Handshake.SID, s.ID()) {
				t.Error("the public socket id is part of the session id")
			}
		}
		send(t, e, last)
		_ = e.Send(t.Context(), testutil.Message("not a packet")) // the first may have ended it
		ended(t, e)
		ids = append(ids, e.Handshake.SID)
	}
	query := r.openPolling(t)
	ids = append(ids, strings.TrimPrefix(query, pollingQuery+"&sid="))
	res := r.request(t, "POST", query, "40")
	equal(t, "Cache-Control", res.header.Get("Cache-Control"), "no-store")
	res = r.request(t, "GET", query, "")
	equal(t, "Cache-Control", res.header.Get("Cache-Control"), "no-store")
	r.request(t, "POST", query, "\x00", "Origin", "http://evil.example")
	r.request(t, "POST", query, "garbage")
	ids = append(ids, strings.TrimPrefix(r.openPolling(t), pollingQuery+"&sid=")) // ends by its connect timeout
	eventually(t, "the connect timeout", func() bool { return r.Stats().ConnectTimeouts == 1 })
	if len(r.logs.find(-4, "msg", "")) == 0 {
		t.Error("nothing was logged at all")
	}
	for _, id := range ids {
		random := id[len(id)-20:]
		for key := range logKeys(r.logs) {
			if found := r.logs.find(-8, key, random); len(found) > 0 {
				t.Errorf("logged a session id: %v", found)
			}
		}
	}
}

// logKeys returns the names of all attributes that were logged.
func logKeys(l *recorder) map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	keys := make(map[string]bool)
	for _, e := range l.entries {
		for k := range e.attrs {
			keys[k] = true
		}
	}
	return keys
}

// A session id cannot be guessed, nor made from another one or from the public id.
func TestT03_ForgedSessionIDsAreUnknown(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.dial(t)
	id := strings.TrimPrefix(r.openPolling(t), pollingQuery+"&sid=")
	node, secret, _ := strings.Cut(id, ".")
	equal(t, "node", node, r.NodeID())
	equal(t, "random characters", len(secret), 20)
	forged := []string{c.ID(), node + "." + c.ID(), secret, node, node + ".", "." + secret, id + "A", id[1:], "x" + id,
		strings.ToUpper(id), id + "%00", strings.Repeat("A", 20), node + "." + strings.Repeat("A", 20), id + "." + secret}
	for i := range secret {
		other := byte('A')
		if secret[i] == other {
			other = 'B'
		}
		forged = append(forged, node+"."+secret[:i]+string(other)+secret[i+1:])
	}
	for _, f := range forged {
		if res := r.request(t, "POST", pollingQuery+"&sid="+f, "40"); res.body != `{"code":1,"message":"Session ID unknown"}` {
			t.Errorf("%q: %+v", f, res)
		}
	}
	equal(t, "the session itself", r.request(t, "POST", pollingQuery+"&sid="+id, "40").status, 200)
}

// No request or message takes more memory than MaxPayload says, whatever length it
// claims to have.
func TestT04_PayloadsAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	core.OnAck(r, "size", func(_ context.Context, _ *core.Socket, s string) (int, error) { return len(s), nil })
	body := func(n int) string {
		const open, end = `420["size","`, `"]`
		return open + strings.Repeat("x", n-len(open)-len(end)) + end
	}
	for name, tc := range map[string]struct {
		size   int
		length string // Content-Length; "" is chunked
		status int
	}{
		"at the limit":              {1_000_000, "1000000", 200},
		"above it":                  {1_000_001, "1000001", 413},
		"far above, unsent":         {0, "1099511627776", 413},
		"negative length":           {10, "-1", 400},
		"two lengths":               {10, "10\r\nContent-Length: 11", 400},
		"chunked, at the limit":     {1_000_000, "", 200},
		"chunked, above it":         {1_000_001, "", 413},
		"chunked and with a length": {1_000_001, "5\r\nTransfer-Encoding: chunked", 413},
	} {
		query := r.openPolling(t)
		r.request(t, "POST", query, "40")
		c := r.rawDial(t)
		head := "POST /socket.io/?" + query + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
		chunked := tc.length == "" || strings.HasSuffix(tc.length, "chunked")
		switch {
		case tc.length == "":
			head += "Transfer-Encoding: chunked\r\n\r\n"
		default:
			head += "Content-Length: " + tc.length + "\r\n\r\n"
		}
		go func() { // the server may answer before it has read all
			_, _ = io.WriteString(c, head)
			switch {
			case tc.size == 0:
			case chunked:
				_, _ = fmt.Fprintf(c, "%x\r\n%s\r\n0\r\n\r\n", tc.size, body(tc.size))
			default:
				_, _ = io.WriteString(c, body(max(tc.size, 20)))
			}
		}()
		res, err := http.ReadResponse(c.in, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		equal(t, name, res.StatusCode, tc.status)
	}
	c := r.rawUpgrade(t, webSocketQuery, textFrames("40", body(1_000_000)))
	for payload := ""; payload != "430[999986]"; {
		var err error
		if _, payload, err = c.next(); err != nil {
			t.Fatal(err)
		}
	}
	c.write(t, textFrames(body(1_000_001)))
	equal(t, "close code", c.closeCode(), 1009)
	r.healthy(t)
}

// Very many tiny fragments cost far more than their bytes.
func TestT11_FragmentsOfAMessageAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	for name, frames := range map[string]string{
		"one byte each":    frame(0x01, "4") + strings.Repeat(frame(0x00, "x"), 3000),
		"binary":           frame(0x02, "4") + strings.Repeat(frame(0x00, "x"), 3000),
		"pings in between": frame(0x01, "4") + strings.Repeat(frame(0x00, "x")+frame(0x89, "p"), 3000),
	} {
		c := r.rawUpgrade(t, webSocketQuery, textFrames("40")+frames)
		equal(t, name, c.closeCode(), 1008)
		c.Close()
	}
	r.gone(t)
	r.healthy(t)
}

// Lengths near the limits of integers are refused, not added to.
func TestT12_FrameLengthsDoNotOverflow(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	const mask = "\x00\x00\x00\x00"
	for _, head := range []string{
		"\x89\xff\x00\x00\x00\x00\x00\x00\x00\x01", "\x89\xfe\x00\x7e",
		"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff", "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		"\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00", "\x81\xff\x00\x00\x00\x01\x00\x00\x00\x00",
		"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xfe",
	} {
		for name, frames := range map[string]string{
			"alone":        textFrames("40") + head + mask + "4",
			"continuation": frame(0x01, "4x") + "\x80" + head[1:] + mask,
		} {
			if name == "continuation" && head[0] == 0x89 {
				continue
			}
			c := r.rawUpgrade(t, webSocketQuery, frames)
			started := time.Now()
			c.closeCode()
			if d := time.Since(started); d > wait/2 {
				t.Errorf("%x %s: open for %v", head, name, d)
			}
			c.Close()
		}
	}
	r.gone(t)
	r.healthy(t)
}

// Nothing a client sends is inflated, so nothing small becomes large.
func TestT13_CompressedInputIsNotInflated(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.rawDial(t)
	c.write(t, "GET /socket.io/?"+webSocketQuery+" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"+
		"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n")
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "Sec-WebSocket-Extensions", res.Header.Get("Sec-WebSocket-Extensions"), "")
	c.write(t, frame(0xc1, "\x32\x31\x00\x00")) // RSV1: a deflated message
	equal(t, "close code", c.closeCode(), 1002)

	query := r.openPolling(t)
	r.request(t, "POST", query, "40")
	const gzipOf40 = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x33\x31\x00\x00\x3a\x1c\x9a\x2a\x02\x00\x00\x00"
	for _, coding := range []string{"gzip", "deflate", "br"} {
		q := r.openPolling(t)
		res := r.request(t, "POST", q, gzipOf40, "Content-Encoding", coding)
		equal(t, coding, res.status, http.StatusBadRequest)
	}
	r.healthy(t)
}

// A close frame's reason is neither believed nor sent back, and one that is too long
// or no text is refused.
func TestT14_CloseReasonsAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	for name, tc := range map[string]struct {
		payload string
		code    int
	}{
		"longest reason": {"\x03\xe8" + strings.Repeat("s", 123), 1000},
		"too long":       {"\x03\xe8" + strings.Repeat("s", 124), 1002},
		"half a code":    {"\x03", 0},
		"unknown code":   {"\x00\x01", 1002},
		"no UTF-8":       {"\x03\xe8\xff\xfe", 1007},
		"no code":        {"", 0},
	} {
		c := r.rawUpgrade(t, webSocketQuery, textFrames("40")+frame(0x88, tc.payload))
		for {
			op, payload, err := c.next()
			if err != nil {
				t.Errorf("%s: no close frame: %v", name, err)
				break
			}
			if op != 8 {
				continue
			}
			code := 0
			if len(payload) >= 2 {
				code = int(payload[0])<<8 | int(payload[1])
			}
			if strings.Contains(payload, "sss") || tc.code != code && !(code == 1002 && tc.code == 1007) {
				t.Errorf("%s: answered with %q, want code %d", name, payload, tc.code)
			}
			break
		}
	}
	r.gone(t)
	r.healthy(t)
}

// Headers are bounded by the http.Server in front, read in linear time, and kept
// only in part.
func TestT16_HeaderFloodsAreCheap(t *testing.T) {
	t.Parallel()
	r := startLimited(t, 32<<10)
	handshakes := make(chan http.Header, 1)
	r.OnConnect(func(_ context.Context, s *core.Socket) error { handshakes <- s.Handshake().Header(); return nil })
	c := r.rawDial(t)
	_, _ = io.WriteString(c, "GET /socket.io/?"+pollingQuery+" HTTP/1.1\r\nHost: x\r\n"+strings.Join(headers(10_000), "\r\n")+"\r\n\r\n")
	if res, err := http.ReadResponse(c.in, nil); err == nil && res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("10,000 headers: status %d", res.StatusCode)
	}
	c = r.rawDial(t)
	c.upgrade(t, webSocketQuery, textFrames("40"), headers(600)...)
	size := 0
	for name, values := range recv(t, "the handshake", handshakes) {
		size += len(name) + len(strings.Join(values, ""))
	}
	if size > 8<<10 {
		t.Errorf("%d bytes of headers kept", size)
	}
	started := time.Now()
	for _, name := range []string{"Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol", "Connection", "Accept-Encoding", "X-Forwarded-For"} {
		for _, unit := range []string{", ", "a,", " \t", `a;b="`, "a=b; "} {
			r.request(t, "GET", pollingQuery, "", name, "x"+strings.Repeat(unit, 28<<10/len(unit))+"x")
			c := r.rawDial(t)
			_, _ = io.WriteString(c, "GET /socket.io/?"+webSocketQuery+" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"+
				name+": x"+strings.Repeat(unit, 28<<10/len(unit))+"x\r\n\r\n")
			if _, err := http.ReadResponse(c.in, nil); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			c.Close()
		}
	}
	if d := time.Since(started); d > wait {
		t.Errorf("50 requests took %v", d)
	}
}

// A second poll, or a second POST, while one is under way ends the session; a
// payload holds no more than a thousand packets.
func TestT18_PollsDoNotOverlapAndPayloadsAreShort(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	query := r.openPolling(t)
	r.request(t, "POST", query, "40")
	r.request(t, "GET", query, "") // the CONNECT reply
	first := make(chan reply, 1)
	go func() { first <- r.request(t, "GET", query, "") }()
	c := r.rawDial(t)
	c.write(t, "POST /socket.io/?"+query+" HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n4")
	eventually(t, "overlapping requests are refused", func() bool {
		return r.request(t, "GET", query, "").status == http.StatusBadRequest
	})
	recv(t, "the end of the first poll", first)
	r.gone(t)
	equal(t, "a further poll", r.request(t, "GET", query, "").body, `{"code":1,"message":"Session ID unknown"}`)

	for packets, status := range map[int]int{1000: 200, 1001: 400} {
		query := r.openPolling(t)
		r.request(t, "POST", query, "40")
		body := strings.TrimSuffix(strings.Repeat("42[\"e\"]\x1e", packets), "\x1e")
		equal(t, fmt.Sprint(packets), r.request(t, "POST", query, body).status, status)
	}
	r.healthy(t)
}

// A flood of handshakes meets the bound on connections, and costs no Socket.IO state
// before a namespace is asked for.
func TestT19_HandshakesAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{MaxConnections: 20})
	var open []*testutil.Engine
	for range 19 {
		open = append(open, r.bare(t))
	}
	r.openPolling(t)
	for range 50 {
		for _, query := range []string{pollingQuery, webSocketQuery} {
			header := []string{}
			if query == webSocketQuery {
				header = []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="}
			}
			res := r.request(t, "GET", query, "", header...)
			equal(t, "status", res.status, http.StatusServiceUnavailable)
			if res.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		}
	}
	st := r.Stats()
	equal(t, "sessions", st.Engine.Sessions, 20)
	equal(t, "refused", st.Engine.Overloaded, 100)
	equal(t, "sockets", st.Sockets, 0)
	equal(t, "namespaces", st.Namespaces, 1)
	_ = open[0].Close()
	eventually(t, "there is room again", func() bool { return r.Stats().Engine.Sessions < 20 })
	r.healthy(t)
}
