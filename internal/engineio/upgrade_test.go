package engineio

import (
	"net/http"
	"testing"
)

func TestUpgradeMovesTheSession(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, echo).poll()
	get := p.later(http.MethodGet, p.query, "")
	p.waitPolling()
	p.conn = p.mustDial("EIO=4&transport=websocket&sid=" + p.sid)
	p.write("2probe")
	if got := p.read(); got != "3probe" {
		t.Fatalf("probe answered %q", got)
	}
	if resp := recvFrom(t, "noop", get); resp.body != "6" {
		t.Errorf("waiting GET answered %q", resp.body)
	}
	if err := p.recv.s.Send(text("queued")); err != nil {
		t.Fatal(err)
	}
	p.write("5")
	if got := p.read(); got != "4queued" {
		t.Errorf("read %q", got)
	}
	p.write("4hi")
	if got := p.read(); got != "4hi" {
		t.Errorf("read %q", got)
	}
	if p.recv.s.Transport() != WebSocket {
		t.Error("transport is still polling")
	}
	if resp := p.do(http.MethodGet, p.query, ""); resp.status != 400 || resp.body != `{"code":3,"message":"Bad request"}` {
		t.Errorf("poll after upgrade: %+v", resp)
	}
}
