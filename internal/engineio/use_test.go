package engineio

import (
	"context"
	"net/http"
	"strings"
	"testing"
)

type useKey struct{}

// tag is a middleware that wraps the ResponseWriter and leaves traces of itself.
func tag(name string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("X-Tag", name)
			seen, _ := r.Context().Value(useKey{}).(string)
			next.ServeHTTP(unwrapper{w}, r.WithContext(context.WithValue(r.Context(), useKey{}, seen+name)))
		})
	}
}

func TestMiddlewareWrapsRequestsAndUpgrades(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Use: []func(http.Handler) http.Handler{tag("a"), tag("b")}}, echo)
	resp := r.do(http.MethodGet, v4Polling, "")
	if got := strings.Join(resp.header["X-Tag"], ""); got != "ab" {
		t.Errorf("handshake passed %q", got)
	}
	p := &peer{rig: r, sid: openSID(t, resp.body), recv: recvFrom(t, "session", r.recv)}
	if got := p.recv.s.Context().Value(useKey{}); got != "ab" {
		t.Errorf("context of the session has %v", got)
	}
	for _, query := range []string{"&sid=" + p.sid, ""} {
		_, up, err := r.dial("EIO=4&transport=websocket"+query, nil)
		if err != nil {
			t.Fatalf("upgrade %s: %v", query, err)
		}
		if got := strings.Join(up.Header["X-Tag"], ""); got != "ab" {
			t.Errorf("upgrade %s passed %q", query, got)
		}
	}
	resp = r.do(http.MethodGet, "EIO=4&transport=nope", "")
	if got := strings.Join(resp.header["X-Tag"], ""); got != "ab" || resp.status != http.StatusBadRequest {
		t.Errorf("refused request passed %q: %d", got, resp.status)
	}
}

func TestMiddlewareMayRefuse(t *testing.T) {
	t.Parallel()
	deny := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	}
	r := newRig(t, Options{Origins: []string{"*"}, Use: []func(http.Handler) http.Handler{deny}}, nil)
	if resp := r.do(http.MethodGet, v4Polling, "", "Origin", "https://a.example"); resp.status != http.StatusUnauthorized ||
		resp.header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("%d %v", resp.status, resp.header)
	}
	if _, resp, err := r.dial("EIO=4&transport=websocket", nil); err == nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("upgrade: %v", err)
	}
	if got := r.srv.Stats().Opened; got != 0 {
		t.Errorf("%d sessions", got)
	}
}

func TestAMiddlewareThatHidesHijackIsNamed(t *testing.T) {
	t.Parallel()
	hide := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(opaqueWriter{w}, r) })
	}
	r := newRig(t, Options{Use: []func(http.Handler) http.Handler{hide}}, nil)
	if _, resp, err := r.dial("EIO=4&transport=websocket", nil); err == nil || resp.StatusCode != http.StatusInternalServerError {
		t.Fatalf("upgrade: %v", err)
	}
	if logs := r.logs.String(); !strings.Contains(logs, "opaqueWriter") {
		t.Errorf("the log does not name the writer: %s", logs)
	}
}
