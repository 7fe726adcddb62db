package engineio

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// One test per published advisory about an Engine.IO or WebSocket server, in any
// language, that concerns this layer.

// Pages of any site could read responses, because CORS allowed all by default.
func TestCVE_2020_28481_NoCORSByDefault(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	for _, origin := range []string{"http://evil.example", r.http.URL} {
		for name := range r.do("GET", v4Polling, "", "Origin", origin).header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("origin %s: header %s", origin, name)
			}
		}
	}
	_, resp, err := r.dial("EIO=4&transport=websocket", http.Header{"Origin": {"http://evil.example"}})
	if err == nil || resp.StatusCode != 400 {
		t.Error("WebSocket of a foreign page accepted")
	}
}

// A payload of very many tiny packets cost far more than its bytes.
func TestCVE_2020_36048_PacketsPerPayloadAreLimited(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, nil).poll()
	start := time.Now()
	if resp := p.do("POST", p.query, strings.Repeat("4\x1e", 499_999)); resp.status != 400 {
		t.Errorf("%+v", resp)
	}
	if d := time.Since(start); d > wait {
		t.Errorf("took %v", d)
	}
	p.wantClosed(ReasonParseError, errTooManyPackets)
	if n := len(p.recv.msgs); n != 1000 {
		t.Errorf("%d packets handled", n)
	}
}

// A malformed frame during an upgrade ended the process.
func TestCVE_2022_21676_MalformedFramesWhileUpgrading(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	for _, bad := range []string{
		"\x81\x00", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", clientFrame(0x8f, ""), clientFrame(0x81, "\xff"),
		clientFrame(0x88, "\x00"), clientFrame(0x88, "\x00\x01"), clientFrame(0x80, "x"), clientFrame(0x82, "2probe"),
	} {
		p := r.poll()
		c := r.upgradeRaw("EIO=4&transport=websocket&sid="+p.sid, bad)
		p.eventually("free probe slot", func() bool {
			p.recv.s.mu.Lock()
			defer p.recv.s.mu.Unlock()
			return p.recv.s.probe == nil
		})
		c.Close()
		if resp := p.do("POST", p.query, "4alive"); resp.status != 200 {
			t.Errorf("%q: session gone: %+v", bad, resp)
		}
	}
}

// A reset during an upgrade ended the process.
func TestCVE_2022_41940_ResetWhileUpgrading(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	for _, after := range []string{"", clientFrame(0x81, "2probe"), clientFrame(0x81, "2probe")[:4]} {
		p := r.poll()
		c := r.upgradeRaw("EIO=4&transport=websocket&sid="+p.sid, after)
		reset(t, c)
		p.eventually("free probe slot", func() bool {
			p.recv.s.mu.Lock()
			defer p.recv.s.mu.Unlock()
			return p.recv.s.probe == nil
		})
		if resp := p.do("POST", p.query, "4alive"); resp.status != 200 {
			t.Errorf("session gone: %+v", resp)
		}
	}
}

// A transport named like a built-in property got through to code that expected one
// of three.
func TestCVE_2023_31125_TransportIsAClosedSet(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	p := r.poll()
	for _, name := range []string{"", "__proto__", "constructor", "toString", "webtransport", "polling%00", "websocket,polling"} {
		for _, query := range []string{"EIO=4&transport=" + name, "EIO=4&transport=" + name + "&sid=" + p.sid} {
			if resp := r.do("GET", query, ""); resp.body != `{"code":0,"message":"Transport unknown"}` {
				t.Errorf("%s: %+v", query, resp)
			}
		}
	}
}

// A session id named like a built-in property was found in the table of sessions.
func TestCVE_2026_59724_SessionIDSyntax(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Foreign: func(http.ResponseWriter, *http.Request, string) bool {
		panic("a malformed id got this far")
	}}, nil)
	for _, id := range []string{"__proto__", "constructor", "hasOwnProperty", strings.Repeat("a", 1000), "a%2F..%2Fb", "%00"} {
		if resp := r.do("GET", v4Polling+"&sid="+id, ""); resp.body != `{"code":1,"message":"Session ID unknown"}` {
			t.Errorf("%s: %+v", id, resp)
		}
	}
}

// A binary POST was never answered, so that requests piled up.
func TestCVE_2026_59725_BinaryPostIsAnswered(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, nil).poll()
	get := p.later("GET", p.query, "")
	p.waitPolling()
	if resp := p.do("POST", p.query, "\x00\x01\x02", "Content-Type", "application/octet-stream"); resp.status != 400 || resp.body != "" {
		t.Errorf("POST: %+v", resp)
	}
	if resp := recvFrom(t, "GET", get); resp.body != "1" {
		t.Errorf("GET: %+v", resp)
	}
	p.wantClosed(ReasonTransportError, errInvalidContent)
}

// An upgrade that named another revision, or none, changed the session's parser
// and its heartbeat.
func TestCVE_2026_102599_RevisionBelongsToTheSession(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, nil).poll()
	for _, eio := range []string{"", "EIO=3&", "EIO=&", "EIO=5&", "EIO=4&EIO=3&"} {
		_, resp, err := p.dial(eio+"transport=websocket&sid="+p.sid, nil)
		if err == nil || resp.StatusCode != 400 {
			t.Errorf("%q: upgrade accepted", eio)
		}
	}
	p.probe()
	p.write("5")
	p.write("4x")
	p.wantMessage("t:x")
}

// Frame lengths near the integer limits got around the read limit.
func TestCVE_2020_27813_FrameLengthOverflow(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	for _, length := range []string{"\x7f\xff\xff\xff\xff\xff\xff\xff", "\xff\xff\xff\xff\xff\xff\xff\xff", "\x80\x00\x00\x00\x00\x00\x00\x00"} {
		for _, first := range []string{"", clientFrame(0x01, "4x")} {
			op := "\x81"
			if first != "" {
				op = "\x80"
			}
			c := r.upgradeRaw("EIO=4&transport=websocket", first+op+"\xff"+length+"\x00\x00\x00\x004")
			p := recvFrom(t, "session", r.recv)
			if got := recvFrom(t, "Closed", p.closed); got.reason != ReasonTransportError {
				t.Errorf("%x: closed with %+v", length, got)
			}
			c.Close()
		}
	}
}

// Messages in very many tiny fragments, or never finished ones, took memory and
// time out of proportion.
func TestCVE_2026_48779_FragmentsAreLimited(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	frames := clientFrame(0x01, "4") + strings.Repeat(clientFrame(0x00, "x"), 3000) + clientFrame(0x80, "x")
	c := r.upgradeRaw("EIO=4&transport=websocket", frames)
	p := recvFrom(t, "session", r.recv)
	got := recvFrom(t, "Closed", p.closed)
	if got.reason != ReasonTransportError || got.err != errFragments {
		t.Errorf("closed with %+v", got)
	}
	c.wantFarewell(t, 1008)

	// Large messages in frames that the network cuts small are no attack.
	w := r.ws()
	big := "4" + strings.Repeat("y", 900_000)
	wr, _ := w.conn.NextWriter(websocket.TextMessage)
	for i := 0; i < len(big); i += 1000 {
		_, _ = io.WriteString(wr, big[i:min(i+1000, len(big))])
	}
	_ = wr.Close()
	w.wantMessage("t:" + big[1:])
}

func TestCVE_2026_62389_UnfinishedMessagesHaveADeadline(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{BodyTimeout: 100 * time.Millisecond}, nil)
	c := r.upgradeRaw("EIO=4&transport=websocket", clientFrame(0x01, "4"))
	p := recvFrom(t, "session", r.recv)
	stop := make(chan struct{})
	go func() { // empty fragments: no bytes that a limit could count
		defer close(stop)
		for {
			if _, err := io.WriteString(c, clientFrame(0x00, "")); err != nil {
				return
			}
		}
	}()
	if got := recvFrom(t, "Closed", p.closed); got.reason != ReasonTransportError {
		t.Errorf("closed with %+v", got)
	}
	c.Close()
	<-stop
}

// Pongs nobody asked for started work each.
func TestCVE_2026_48802_UnsolicitedPongsDoNothing(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, echo).ws()
	before := p.recv.s.due
	for range 1000 {
		p.write("3")
	}
	p.write("4x")
	if got := p.read(); got != "4x" {
		t.Errorf("read %q", got)
	}
	p.recv.s.mu.Lock()
	defer p.recv.s.mu.Unlock()
	if !p.recv.s.due.Equal(before) || p.recv.s.pinging {
		t.Error("pongs moved the heartbeat")
	}
	if n := p.srv.Stats().UnsolicitedPongs; n != 1000 {
		t.Errorf("counted %d", n)
	}
}

// A close frame may not say more than fits, and the peer's reason text is not sent
// back.
func TestCVE_2026_45736_CloseReasonsAreNotEchoed(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	c := r.upgradeRaw("EIO=4&transport=websocket", clientFrame(0x88, "\x03\xe8"+strings.Repeat("s", 123)))
	c.wantFarewell(t, 1000)
}

// A message larger than the limit was read before it was refused.
func TestCVE_2016_10542_BigMessagesAreRefusedUnread(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	head := "\x81\xff" + "\x00\x00\x00\x00\x40\x00\x00\x00" + "\x00\x00\x00\x00" // announces 1 GiB
	c := r.upgradeRaw("EIO=4&transport=websocket", head)
	p := recvFrom(t, "session", r.recv)
	if got := recvFrom(t, "Closed", p.closed); got.reason != ReasonTransportError {
		t.Errorf("closed with %+v", got)
	}
	c.wantFarewell(t, 1009)
}

// Clients may neither be answered nothing nor wait for ever, whatever they send.
func TestEveryPathAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{BodyTimeout: 100 * time.Millisecond, PingInterval: 50 * time.Millisecond}, nil)
	for _, method := range []string{"GET", "POST", "PUT", "HEAD", "OPTIONS", "PATCH"} {
		for _, transport := range []string{"", "polling", "websocket"} {
			for _, kind := range []string{"", "text/plain", "application/octet-stream"} {
				for _, body := range []string{"", "4x", "2", "1", "\x1e", "bAQ"} {
					p := r.poll()
					for _, id := range []string{"", "&sid=" + p.sid, "&sid=x"} {
						c := r.raw()
						fmt.Fprintf(c, "%s /socket.io/?EIO=4&transport=%s%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
							method, transport, id, kind, len(body), body)
						if _, err := http.ReadResponse(c.Reader, nil); err != nil {
							t.Fatalf("%s %q %q %q %q: %v", method, transport, kind, body, id, err)
						}
						c.Close()
					}
				}
			}
		}
	}
}
