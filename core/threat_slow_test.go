package core_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever is slow on purpose is cut off by a deadline of its own at every stage:
// headers, body, message, upgrade, first packet, heartbeat. The times are the
// defaults, and virtual.
func TestT17_SlowClientsAreCutAtEveryStage(t *testing.T) {
	t.Parallel()
	const second = time.Second
	stages := map[string]struct {
		want time.Duration
		run  func(t *testing.T, r *rig, p *pipes)
	}{
		"headers, one byte a second": {5 * second, func(t *testing.T, _ *rig, p *pipes) {
			c := p.dial()
			go func() { _, _ = io.Copy(io.Discard, c) }()
			c.drip("", "GET /socket.io/?"+pollingQuery+" HTTP/1.1\r\nHost: x\r\n\r\n")
		}},
		"a POST body, one byte a second": {30 * second, func(t *testing.T, r *rig, p *pipes) {
			_, query := pollOverPipe(t, p)
			started := time.Now()
			c := p.dial()
			dripped := make(chan struct{})
			defer func() { c.Close(); <-dripped }()
			go func() {
				defer close(dripped)
				c.drip("POST /socket.io/?"+query+" HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", strings.Repeat("x", 100))
			}()
			if res, err := http.ReadResponse(c.in, nil); err == nil && res.StatusCode != http.StatusBadRequest {
				t.Errorf("status %d", res.StatusCode)
			}
			about(t, "answered", time.Since(started), 30*second)
			synctest.Wait()
			equal(t, "sessions", r.Stats().Engine.Sessions, 0)
		}},
		"a WebSocket message, one byte a second": {30 * second, func(t *testing.T, _ *rig, p *pipes) {
			c := p.dial()
			c.upgrade(t, webSocketQuery, "")
			go c.answerPings()
			head, body := "\x81\xe4\x00\x00\x00\x00", strings.Repeat("x", 100)
			c.drip(head+"4", body)
		}},
		"attachments that never come": {30 * second, func(t *testing.T, r *rig, p *pipes) {
			c := p.dial()
			c.upgrade(t, webSocketQuery, textFrames("40"))
			go func() { _, _ = io.WriteString(c, textFrames(`451-["e",{"_placeholder":true,"num":0}]`)) }()
			c.answerPings()
			equal(t, "ProtocolErrors", r.Stats().ProtocolErrors, 1)
		}},
		"an upgrade without a probe": {10 * second, func(t *testing.T, r *rig, p *pipes) {
			_, query := pollOverPipe(t, p)
			c := p.dial()
			c.upgrade(t, "EIO=4&transport=websocket&"+query[len(pollingQuery)+1:], "")
			c.answerPings()
		}},
		"a connection that joins nothing": {45 * second, func(t *testing.T, r *rig, p *pipes) {
			c := p.dial()
			c.upgrade(t, webSocketQuery, "")
			c.answerPings()
			equal(t, "ConnectTimeouts", r.Stats().ConnectTimeouts, 1)
		}},
	}
	for name, stage := range stages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inVirtualTime(t, nil, func(t *testing.T, r *rig, p *pipes) {
				started := time.Now()
				stage.run(t, r, p)
				about(t, "cut", time.Since(started), stage.want)
			})
		})
	}
}

// Sessions that are opened and left alone do not stay: polling ones that never poll,
// and WebSockets that answer no ping.
func TestT17_AbandonedSessionsEnd(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, nil, func(t *testing.T, r *rig, p *pipes) {
		for range 50 {
			c, _ := pollOverPipe(t, p)
			c.Close()
			w := p.dial()
			w.upgrade(t, webSocketQuery, textFrames("40"))
			go func() { _, _ = io.Copy(io.Discard, w) }()
		}
		synctest.Wait()
		equal(t, "sessions", r.Stats().Engine.Sessions, 100)
		time.Sleep(46 * time.Second)
		synctest.Wait()
		equal(t, "sessions after ping interval and timeout", r.Stats().Engine.Sessions, 0)
		equal(t, "sockets", r.Stats().Sockets, 0)
	})
}
