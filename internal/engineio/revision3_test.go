package engineio

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

const v3Polling = "EIO=3&transport=polling"

// poll3 opens a polling session of revision 3.
func (r *rig) poll3(extra string) *peer {
	r.t.Helper()
	resp := r.do(http.MethodGet, v3Polling+extra, "")
	_, open, ok := strings.Cut(resp.body, ":")
	if resp.status != http.StatusOK || !ok {
		r.t.Fatalf("handshake: %d %s", resp.status, resp.body)
	}
	p := &peer{rig: r, sid: openSID(r.t, open), recv: recvFrom(r.t, "session", r.recv)}
	p.query = v3Polling + extra + "&sid=" + p.sid
	return p
}

func (p *peer) wantPoll(body, mime string) {
	p.t.Helper()
	resp := p.do(http.MethodGet, p.query, "")
	if resp.status != http.StatusOK || resp.body != body || resp.header.Get("Content-Type") != mime {
		p.t.Fatalf("poll: %d %q %s, want %q %s", resp.status, resp.body, resp.header.Get("Content-Type"), body, mime)
	}
}

func (p *peer) post(body, mime string) response {
	p.t.Helper()
	return p.do(http.MethodPost, p.query, body, "Content-Type", mime)
}

func TestRevision3IsRefusedUnlessAllowed(t *testing.T) {
	t.Parallel()
	for _, query := range []string{v3Polling, "transport=polling", "EIO=5&transport=polling"} {
		if resp := newRig(t, Options{}, nil).do(http.MethodGet, query, ""); resp.body != `{"code":5,"message":"Unsupported protocol version"}` {
			t.Errorf("%s: %d %s", query, resp.status, resp.body)
		}
		if resp := newRig(t, Options{AllowEIO3: true}, nil).do(http.MethodGet, query, ""); !strings.Contains(resp.body, `:0{"sid":"`) {
			t.Errorf("%s: %d %s", query, resp.status, resp.body)
		}
	}
}

func TestRevision3OverPolling(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{AllowEIO3: true}, echo)
	p := r.poll3("")
	if got := p.recv.s.Protocol(); got != 3 {
		t.Errorf("Protocol() = %d", got)
	}
	if resp := p.post("2:4€10:b4AQIDBA==", "text/plain"); resp.status != http.StatusOK || resp.body != "ok" {
		t.Fatalf("%d %s", resp.status, resp.body)
	}
	p.wantMessage("t:€")
	p.wantMessage("b:\x01\x02\x03\x04")
	p.wantPoll("2:4€", mimeText)
	p.post("\x00\x04\xff4€\x01\x03\xff\x04ab", mimeOctetStream)
	p.wantMessage("t:€")
	p.wantMessage("b:ab")
	p.wantPoll("2:4€", mimeText)
	_ = p.recv.s.Send(NewMessage(append(Reserve(0), "€"...), [][]byte{{1, 2, 3, 4}}))
	p.wantPoll("\x00\x04\xff4€\x01\x05\xff\x04\x01\x02\x03\x04", mimeOctetStream)
	p.post("1:2", "text/plain")
	p.wantPoll("1:3", mimeText)
	p.recv.s.Close(ReasonForcedClose, true)
	p.wantPoll("1:61:1", mimeText)
	p.wantClosed(ReasonForcedClose, nil)
}

func TestRevision3WithoutBinaryPayloads(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{AllowEIO3: true}, nil).poll3("&b64=1")
	_ = p.recv.s.Send(NewMessage(append(Reserve(0), "€"...), [][]byte{{1, 2, 3, 4}}))
	p.wantPoll("2:4€10:b4AQIDBA==", mimeText)
}

func TestRevision3EndsOf(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, body, mime string
		status           int
		reason           Reason
	}{
		{"a bad text payload", "9:4a", "text/plain", 400, ReasonParseError},
		{"an empty payload", "", "text/plain", 400, ReasonParseError},
		{"a bad binary payload", "\x00\x09\xff4", mimeOctetStream, 400, ReasonParseError},
		{"a pong", "1:3", "text/plain", 400, ReasonTransportError},
		{"a close packet", "1:1", "text/plain", 200, ReasonTransportClose},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newRig(t, Options{AllowEIO3: true}, nil).poll3("")
			if resp := p.post(tc.body, tc.mime); resp.status != tc.status {
				t.Errorf("status %d, want %d", resp.status, tc.status)
			}
			p.wantClosed(tc.reason, nil)
		})
	}
}

func TestAPollThatOverlapsInRevision3(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{AllowEIO3: true}, nil).poll3("")
	first := p.later(http.MethodGet, p.query, "")
	p.waitPolling()
	if resp := p.do(http.MethodGet, p.query, ""); resp.status != http.StatusBadRequest || resp.body != "" {
		t.Errorf("second poll: %d %q", resp.status, resp.body)
	}
	if resp := recvFrom(t, "first poll", first); resp.status != http.StatusOK || resp.body != "1:1" {
		t.Errorf("first poll: %d %q", resp.status, resp.body)
	}
}

func TestRevision3OverWebSocket(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{AllowEIO3: true}, echo)
	for _, tc := range []struct{ extra, binary string }{
		{"", "b:\x04\x01\x02\x03\x04"},
		{"&b64=1", "b4AQIDBA=="},
	} {
		p := &peer{rig: r, conn: r.mustDial("EIO=3&transport=websocket" + tc.extra)}
		openSID(t, p.read())
		p.recv = recvFrom(t, "session", r.recv)
		p.write("4hello")
		if got := p.read(); got != "4hello" {
			t.Errorf("echo %q", got)
		}
		p.wantMessage("t:hello")
		_ = p.conn.WriteMessage(websocket.BinaryMessage, []byte{4, 1, 2})
		p.wantMessage("b:\x01\x02")
		p.write("b4AQI=")
		p.wantMessage("b:\x01\x02")
		_ = p.recv.s.Send(NewMessage(append(Reserve(0), "x"...), [][]byte{{1, 2, 3, 4}}))
		if got := p.read(); got != "4x" {
			t.Errorf("text %q", got)
		}
		if got := p.read(); got != tc.binary {
			t.Errorf("binary %q, want %q", got, tc.binary)
		}
		p.write("2")
		if got := p.read(); got != "3" {
			t.Errorf("pong %q", got)
		}
		_ = p.conn.WriteMessage(websocket.BinaryMessage, []byte{2})
		p.wantClosed(ReasonParseError, errParser)
	}
}

func TestAnUpgradeKeepsTheRevision(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{AllowEIO3: true}, echo)
	p := r.poll3("")
	for _, query := range []string{"EIO=4", "EIO=4&EIO=3&EIO=4"} {
		if _, resp, err := r.dial(query+"&transport=websocket&sid="+p.sid, nil); err == nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %v", query, err)
		}
	}
	if _, resp, err := r.dial("EIO=3&transport=websocket&sid="+r.poll().sid, nil); err == nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("revision 3 on a session of revision 4: %v", err)
	}
	p.conn = r.mustDial("EIO=3&transport=websocket&sid=" + p.sid)
	p.write("2probe")
	if got := p.read(); got != "3probe" {
		t.Fatalf("probe answered by %q", got)
	}
	poll := p.later(http.MethodGet, p.query, "")
	if resp := recvFrom(t, "poll", poll); resp.body != "1:6" {
		t.Errorf("poll while probing: %q", resp.body)
	}
	p.write("5")
	p.write("4hello")
	if got := p.read(); got != "4hello" {
		t.Errorf("echo %q", got)
	}
}

// session3 is a session of revision 3 without a connection.
func (r *rig) session3(t *testing.T) *Session {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "/socket.io/?"+v3Polling, nil)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := r.srv.newID(req)
	s := r.srv.newSession(req, id)
	s.transport = &polling{s: s, format: newFormat(s.rev, req.URL.RawQuery)}
	if !s.start() {
		t.Fatal("not started")
	}
	return s
}

func TestHeartbeatOfRevision3(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newBareRig(t, Options{AllowEIO3: true}, nil)
		s := r.session3(t)
		p := recvFrom(t, "session", r.recv)
		for range 3 {
			time.Sleep(44 * time.Second)
			if err := s.receive(packet{kind: kindPing}); err != nil {
				t.Fatal(err)
			}
		}
		s.mu.Lock()
		if n := s.out.Len(); n != 3 {
			t.Errorf("%d packets queued, want 3 pongs and no ping", n)
		}
		s.mu.Unlock()
		start := time.Now()
		got := <-p.closed
		if got.reason != ReasonPingTimeout || time.Since(start) != 45*time.Second {
			t.Errorf("closed with %q after %v, want %q after 45s", got.reason, time.Since(start), ReasonPingTimeout)
		}
		if err := r.srv.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestJSONP(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, base, open, post, echo, second string
	}{
		{"revision 3", "EIO=3&b64=1", `___eio[7]("`, "3:4hi", `___eio[7]("3:4hi");`, `___eio[7]("10:b4AQIDBA==");`},
		{"revision 4", "EIO=4&b64=1", `___eio[7]("0{`, "4hi", `___eio[7]("4hi");`, `___eio[7]("bAQIDBA==");`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Options{AllowEIO3: true, Origins: []string{"*"}}, echo)
			query := tc.base + "&transport=polling&j=7"
			resp := r.do(http.MethodGet, query, "")
			if !strings.HasPrefix(resp.body, tc.open) || !strings.HasSuffix(resp.body, `");`) || resp.header.Get("Content-Type") != mimeText {
				t.Fatalf("%q %s", resp.body, resp.header.Get("Content-Type"))
			}
			p := &peer{rig: r, recv: recvFrom(t, "session", r.recv)}
			p.query = query + "&sid=" + p.recv.s.ID()
			if resp := p.post("d="+url.QueryEscape(tc.post), "application/x-www-form-urlencoded"); resp.body != "ok" {
				t.Fatalf("%d %q", resp.status, resp.body)
			}
			p.wantMessage("t:hi")
			p.wantPoll(tc.echo, mimeText)
			_ = p.recv.s.Send(NewBinary([]byte{1, 2, 3, 4}))
			p.wantPoll(tc.second, mimeText)
			if resp := p.post("x=1", "application/x-www-form-urlencoded"); resp.status != http.StatusOK || resp.body != "ok" {
				t.Errorf("form without data: %d %q", resp.status, resp.body)
			}
			p.post("d=x", "application/x-www-form-urlencoded")
			p.wantClosed(ReasonParseError, nil)
		})
	}
}

// A page elsewhere can load JSONP as a script, without an Origin header.
func TestJSONPIsNotForPagesElsewhere(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Origins: []string{"https://listed.example"}}, nil)
	for _, tc := range []struct {
		site, referer string
		status        int
	}{
		{"same-origin", "", 200},
		{"none", "", 200},
		{"cross-site", "", 403},
		{"cross-site", r.http.URL + "/page", 403},
		{"same-site", "https://evil.example/", 403},
		{"cross-site", "https://listed.example/page", 200},
		{"", r.http.URL + "/page", 200},
		{"", "https://listed.example/page", 200},
		{"", "https://evil.example/", 403},
		{"", "", 403},
		{"", "://", 403},
	} {
		var header []string
		if tc.site != "" {
			header = append(header, "Sec-Fetch-Site", tc.site)
		}
		if tc.referer != "" {
			header = append(header, "Referer", tc.referer)
		}
		if resp := r.do(http.MethodGet, v4Polling+"&j=0", "", header...); resp.status != tc.status {
			t.Errorf("%q %q: %d, want %d", tc.site, tc.referer, resp.status, tc.status)
		}
	}
}
