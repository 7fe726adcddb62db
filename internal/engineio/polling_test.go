package engineio

import (
	"net/http"
	"testing"
)

func TestPollingExchangesMessages(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, echo).poll()
	resp := p.do(http.MethodPost, p.query, "4hello\x1ebAQIDBA==\x1e4€", "Content-Type", "text/plain;charset=UTF-8")
	if resp.status != 200 || resp.body != "ok" || resp.header.Get("Content-Type") != "text/html" {
		t.Errorf("POST: %+v", resp)
	}
	p.wantMessage("t:hello")
	p.wantMessage("b:\x01\x02\x03\x04")
	p.wantMessage("t:€")
	resp = p.do(http.MethodGet, p.query, "")
	if resp.status != 200 || resp.body != "4hello\x1e4€" {
		t.Errorf("GET: %d %q", resp.status, resp.body)
	}
	if resp.header.Get("Content-Type") != "text/plain; charset=UTF-8" || resp.header.Get("Cache-Control") != "no-store" {
		t.Errorf("GET headers: %v", resp.header)
	}
}
