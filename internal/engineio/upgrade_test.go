package engineio

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// probe opens a WebSocket for the session and gets the probe answered.
func (p *peer) probe() {
	p.t.Helper()
	p.conn = p.mustDial("EIO=4&transport=websocket&sid=" + p.sid)
	p.write("2probe")
	if got := p.read(); got != "3probe" {
		p.t.Fatalf("probe answered %q", got)
	}
}

func TestUpgradeMovesTheSession(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, echo).poll()
	get := p.later(http.MethodGet, p.query, "")
	p.waitPolling()
	start := time.Now()
	p.probe()
	if resp := recvFrom(t, "noop", get); resp.body != "6" {
		t.Errorf("waiting GET answered %q", resp.body)
	}
	if d := time.Since(start); d < 90*time.Millisecond {
		t.Errorf("noop after %v", d)
	}
	get = p.later(http.MethodGet, p.query, "")
	if resp := recvFrom(t, "second noop", get); resp.body != "6" {
		t.Errorf("next GET answered %q", resp.body)
	}
	_ = p.recv.s.Send(text("queued"))
	p.write("5")
	if got := p.read(); got != "4queued" {
		t.Errorf("read %q", got)
	}
	p.write("4hi")
	if got := p.read(); got != "4hi" {
		t.Errorf("read %q", got)
	}
	if p.recv.s.Transport() != WebSocket || p.srv.Stats().Upgraded != 1 || p.srv.Stats().Polling != 0 {
		t.Errorf("transport %s, %+v", p.recv.s.Transport(), p.srv.Stats())
	}
	if resp := p.do(http.MethodGet, p.query, ""); resp.status != 400 || resp.body != `{"code":3,"message":"Bad request"}` {
		t.Errorf("poll after upgrade: %+v", resp)
	}
	wantCloseCode(t, p.mustDial("EIO=4&transport=websocket&sid="+p.sid), websocket.CloseNoStatusReceived)
	p.write("4still")
	if got := p.read(); got != "4still" {
		t.Errorf("read %q", got)
	}
}

func TestUpgradeWithoutProbe(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, echo).poll()
	get := p.later(http.MethodGet, p.query, "")
	p.waitPolling()
	p.conn = p.mustDial("EIO=4&transport=websocket&sid=" + p.sid)
	p.write("5")
	if resp := recvFrom(t, "GET", get); resp.body != "1" {
		t.Errorf("waiting GET answered %q", resp.body)
	}
	p.write("4hi")
	if got := p.read(); got != "4hi" {
		t.Errorf("read %q", got)
	}
}

func TestMessagesKeepGoingOverPollingWhileProbing(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, nil).poll()
	p.probe()
	_ = p.recv.s.Send(text("a"))
	if resp := p.do(http.MethodGet, p.query, ""); resp.body != "4a" {
		t.Errorf("GET %q", resp.body)
	}
	if resp := p.do(http.MethodPost, p.query, "4b"); resp.status != 200 {
		t.Errorf("POST %d", resp.status)
	}
	p.wantMessage("t:b")
}

func TestProbeMisuseLeavesTheSessionAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	for _, bad := range []string{"4x", "2", "2other", "9", "", "3probe"} {
		p := r.poll()
		p.conn = p.mustDial("EIO=4&transport=websocket&sid=" + p.sid)
		p.write(bad)
		wantCloseCode(t, p.conn, websocket.CloseNoStatusReceived)
		if len(p.recv.msgs) != 0 {
			t.Errorf("%q was delivered", bad)
		}
		p.eventually("free probe slot", func() bool {
			p.recv.s.mu.Lock()
			defer p.recv.s.mu.Unlock()
			return p.recv.s.probe == nil
		})
		p.probe() // may retry
		p.write("5")
		p.write("4y")
		p.wantMessage("t:y")
	}
}

func TestSecondProbeIsClosed(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, nil).poll()
	p.probe()
	wantCloseCode(t, p.mustDial("EIO=4&transport=websocket&sid="+p.sid), websocket.CloseNoStatusReceived)
	p.write("5")
	p.write("4y")
	p.wantMessage("t:y")
}

func TestUpgradeOfAWebSocketSessionIsClosed(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, echo).ws()
	wantCloseCode(t, p.mustDial("EIO=4&transport=websocket&sid="+p.sid), websocket.CloseNoStatusReceived)
	p.write("4x")
	if got := p.read(); got != "4x" {
		t.Errorf("read %q", got)
	}
}

func TestUpgradeTimeout(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{UpgradeTimeout: 50 * time.Millisecond}, nil)
	p := r.poll()
	wantCloseCode(t, p.mustDial("EIO=4&transport=websocket&sid="+p.sid), websocket.CloseNoStatusReceived)
	p.probe()
	wantCloseCode(t, p.conn, websocket.CloseNoStatusReceived)
	if resp := p.do(http.MethodPost, p.query, "4x"); resp.status != 200 {
		t.Errorf("session is gone: %+v", resp)
	}
}

func TestProbeThatHangsUp(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, nil).poll()
	p.probe()
	p.conn.NetConn().Close()
	p.eventually("free probe slot", func() bool {
		p.recv.s.mu.Lock()
		defer p.recv.s.mu.Unlock()
		return p.recv.s.probe == nil
	})
	if resp := p.do(http.MethodPost, p.query, "4x"); resp.status != 200 {
		t.Errorf("session is gone: %+v", resp)
	}
}

func TestSessionThatEndsWhileProbing(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, nil).poll()
	p.probe()
	p.recv.s.Close(ReasonForcedClose, false)
	wantCloseCode(t, p.conn, websocket.CloseNoStatusReceived)
	p.wantClosed(ReasonForcedClose, nil)
}

func TestGracefulCloseCompletesOverTheNewTransport(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, nil).poll()
	p.probe()
	_ = p.recv.s.Send(text("last"))
	p.recv.s.Close(ReasonForcedClose, true)
	p.write("5")
	if got := p.read(); got != "4last" {
		t.Errorf("read %q", got)
	}
	wantCloseCode(t, p.conn, websocket.CloseNoStatusReceived)
	p.wantClosed(ReasonForcedClose, nil)
}

// A ping that is in flight during an upgrade is still watched.
func TestHeartbeatSurvivesTheUpgrade(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{PingInterval: 20 * time.Millisecond, PingTimeout: 400 * time.Millisecond}, nil).poll()
	if resp := p.do(http.MethodGet, p.query, ""); resp.body != "2" {
		t.Fatalf("GET %q", resp.body)
	}
	p.probe()
	p.write("5")
	p.write("3")
	if got := p.read(); got != "2" {
		t.Errorf("read %q", got)
	}
	p.wantClosed(ReasonPingTimeout, nil)
}

// Sessions upgrade as the official client does, while both sides send: nothing may
// be lost or change places.
func TestUpgradeLosesAndReordersNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	for range 5 {
		p := r.poll()
		const n = 300
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for i := range n {
				_ = p.recv.s.Send(text(fmt.Sprint(i)))
				if i%10 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		}()
		var got []string
		p.probe()
		for {
			body := p.do(http.MethodGet, p.query, "").body
			if body == "6" || len(got) > n/3 {
				if body != "6" {
					got = append(got, strings.Split(body, "\x1e")...)
				}
				break
			}
			got = append(got, strings.Split(body, "\x1e")...)
		}
		p.do(http.MethodPost, p.query, "4a")
		p.write("5")
		p.write("4b")
		for len(got) < n {
			got = append(got, p.read())
		}
		<-sent
		for i, m := range got {
			if m != fmt.Sprint("4", i) {
				t.Fatalf("message %d is %q", i, m)
			}
		}
		p.wantMessage("t:a")
		p.wantMessage("t:b")
	}
}

// What is left of polling after an upgrade ends without harm.
func TestUnfinishedPostIsDroppedByTheUpgrade(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, nil).poll()
	post := p.startPost("4half")
	p.probe()
	p.write("5")
	if resp, err := http.ReadResponse(post.Reader, nil); err == nil && resp.StatusCode != 400 {
		t.Errorf("POST: %v", resp.Status)
	}
	post.Close()
	p.write("4y")
	p.wantMessage("t:y")
	if p.recv.s.Transport() != WebSocket || p.srv.Stats().Sessions != 1 {
		t.Error("session is gone")
	}
}

// A poll sent right after the upgrade packet, over another connection, normally
// does not overtake it; one that does all the same, on a machine that is busy, is
// told that polling has ended.
func TestPollDoesNotOvertakeTheUpgrade(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	refused := 0
	for range 20 {
		p := r.poll()
		p.conn = p.mustDial("EIO=4&transport=websocket&sid=" + p.sid)
		p.write("2probe")
		p.write("5")
		switch resp := p.do(http.MethodGet, p.query, ""); {
		case resp.status == 400:
			refused++
		case resp.status != 200 || resp.body != "1":
			t.Fatalf("poll: %+v", resp)
		}
	}
	if refused == 0 {
		t.Error("every poll overtook its upgrade packet")
	}
}

// Nor does a close packet normally overtake the poll sent just before it; one that
// does, on a machine that is busy, leaves a poll of a session that is unknown.
func TestCloseDoesNotOvertakeThePoll(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	answered := 0
	for range 20 {
		p := r.poll()
		get := p.later(http.MethodGet, p.query, "")
		if resp := p.do(http.MethodPost, p.query, "1"); resp.status != 200 {
			t.Errorf("POST: %+v", resp)
		}
		switch resp := recvFrom(t, "GET", get); {
		case resp.status == 200 && resp.body == "6":
			answered++
		case resp.status != 400:
			t.Fatalf("GET: %+v", resp)
		}
	}
	if answered == 0 {
		t.Error("every close packet overtook its poll")
	}
}
