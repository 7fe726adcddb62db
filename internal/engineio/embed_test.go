package engineio

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func newHTTPServer(h http.Handler) *httptest.Server { return httptest.NewServer(h) }

// A poll outlives the timeouts that http.Server has for ordinary requests, and the
// connection is as before for the next request.
func TestServerTimeoutsDoNotCutPolls(t *testing.T) {
	t.Parallel()
	r := newBareRig(t, Options{PingInterval: 300 * time.Millisecond}, echo)
	h := httptest.NewUnstartedServer(r.srv)
	h.Config.ReadTimeout = 100 * time.Millisecond
	h.Config.WriteTimeout = 100 * time.Millisecond
	h.Start()
	r.serve(h)
	p := r.poll()
	for range 2 {
		if resp := p.do("GET", p.query, ""); resp.status != 200 || resp.body != "2" {
			t.Errorf("GET: %+v", resp)
		}
		if resp := p.do("POST", p.query, "3"); resp.body != "ok" {
			t.Errorf("POST: %+v", resp)
		}
	}
	w := r.ws()
	if got := w.read(); got != "2" {
		t.Errorf("read %q", got)
	}
	w.write("4x")
	if got := w.read(); got != "4x" {
		t.Errorf("read %q", got)
	}
}

// A handler that takes longer than the server's timeouts still gets its POST
// answered.
func TestServerTimeoutsDoNotCutPosts(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	r := newBareRig(t, Options{}, func(*Session, []byte) { <-release })
	h := httptest.NewUnstartedServer(r.srv)
	h.Config.ReadTimeout = 50 * time.Millisecond
	h.Config.WriteTimeout = 50 * time.Millisecond
	h.Start()
	r.serve(h)
	p := r.poll()
	timer := time.AfterFunc(200*time.Millisecond, func() { close(release) })
	defer timer.Stop()
	if resp := p.do("POST", p.query, "4x"); resp.status != 200 || resp.body != "ok" {
		t.Errorf("%+v", resp)
	}
}

type unwrapper struct{ http.ResponseWriter }

func (u unwrapper) Unwrap() http.ResponseWriter { return u.ResponseWriter }

type opaqueWriter struct{ http.ResponseWriter }

func TestWrappedResponseWriter(t *testing.T) {
	t.Parallel()
	r := newBareRig(t, Options{}, echo)
	r.serve(newHTTPServer(http.StripPrefix("/socket.io", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("X-Middleware", "1")
		r.srv.ServeHTTP(unwrapper{unwrapper{w}}, req)
	}))))
	p := r.poll()
	p.do("POST", p.query, "4a")
	if resp := p.do("GET", p.query, ""); resp.body != "4a" {
		t.Errorf("%q", resp.body)
	}
	conn, resp, err := r.dial("EIO=4&transport=websocket&sid="+p.sid, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Header.Get("X-Middleware") != "1" {
		t.Errorf("headers of the middleware are lost: %v", resp.Header)
	}
	if err := conn.WriteMessage(websocket.TextMessage, []byte("2probe")); err != nil {
		t.Fatal(err)
	}
	if got, _ := readWS(conn); got != "3probe" {
		t.Errorf("%q", got)
	}
	if got := p.recv.s.Request().URL(); !strings.HasPrefix(got, "/socket.io/?") {
		t.Errorf("url %q", got)
	}
}

func TestMissingHijackIsExplained(t *testing.T) {
	t.Parallel()
	r := newBareRig(t, Options{}, nil)
	r.serve(newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.srv.ServeHTTP(opaqueWriter{w}, req)
	})))
	for range 3 {
		_, resp, err := r.dial("EIO=4&transport=websocket", nil)
		if err == nil || resp.StatusCode != 500 {
			t.Fatalf("%v %v", resp, err)
		}
	}
	logs := r.logs.String()
	if strings.Count(logs, "Hijack") == 0 || strings.Count(logs, "\n") != 1 || !strings.Contains(logs, "engineio.opaqueWriter") {
		t.Errorf("log: %s", logs)
	}
	r.poll() // still works
	if n := r.srv.Stats().Sessions; n != 1 {
		t.Errorf("%d sessions", n)
	}
}

func TestPollingOverHTTP2(t *testing.T) {
	t.Parallel()
	r := newBareRig(t, Options{}, echo)
	h := httptest.NewUnstartedServer(r.srv)
	h.EnableHTTP2 = true
	h.StartTLS()
	r.serve(h)
	p := r.poll()
	if !p.recv.s.Request().Secure() {
		t.Error("not secure")
	}
	get := p.later("GET", p.query, "")
	p.waitPolling()
	if resp := p.do("POST", p.query, "4x"); resp.body != "ok" {
		t.Errorf("%+v", resp)
	}
	if resp := recvFrom(t, "GET", get); resp.body != "4x" {
		t.Errorf("%+v", resp)
	}
	// Canceling the stream is what aborting the request is in HTTP/1.1.
	ctx, cancel := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, "GET", p.url(p.query), nil)
	done := make(chan error, 1)
	go func() {
		_, err := h.Client().Do(req)
		done <- err
	}()
	p.waitPolling()
	cancel()
	if err := recvFrom(t, "aborted GET", done); !errors.Is(err, context.Canceled) {
		t.Errorf("GET: %v", err)
	}
	p.wantClosed(ReasonTransportError, errPollAborted)
}

func TestWebSocketOverTLS(t *testing.T) {
	t.Parallel()
	r := newBareRig(t, Options{}, echo)
	r.serve(httptest.NewTLSServer(r.srv))
	d := websocket.Dialer{TLSClientConfig: r.http.Client().Transport.(*http.Transport).TLSClientConfig.Clone()}
	d.TLSClientConfig.NextProtos = nil
	conn, _, err := d.Dial(r.wsURL("EIO=4&transport=websocket"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p := &peer{rig: r, conn: conn}
	p.read()
	p.write("4" + strings.Repeat("x", 200_000))
	if got := p.read(); len(got) != 200_001 {
		t.Errorf("%d bytes", len(got))
	}
}

func TestShutdownFlushesAndEndsEverything(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	w, idle, waiting, lagging := r.ws(), r.poll(), r.poll(), r.poll()
	get := waiting.later("GET", waiting.query, "")
	waiting.waitPolling()
	_ = w.recv.s.Send(text("last"))
	_ = lagging.recv.s.Send(text("last"))
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	go func() { done <- r.srv.Shutdown(ctx) }()
	if resp := recvFrom(t, "GET", get); resp.body != "1" {
		t.Errorf("waiting GET: %q", resp.body)
	}
	if got := w.read(); got != "4last" {
		t.Errorf("read %q", got)
	}
	wantCloseCode(t, w.conn, websocket.CloseNoStatusReceived)
	if resp := r.do("GET", v4Polling, ""); resp.status != 503 || resp.header.Get("Retry-After") == "" {
		t.Errorf("new handshake: %+v", resp)
	}
	if resp := lagging.do("GET", lagging.query, ""); resp.body != "4last" {
		t.Errorf("lagging GET: %q", resp.body)
	}
	if err := recvFrom(t, "Shutdown", done); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	for _, p := range []*peer{w, idle, waiting, lagging} {
		p.wantClosed(ReasonShutdown, nil)
	}
	if err := r.srv.Shutdown(ctx); err != nil {
		t.Errorf("second Shutdown: %v", err)
	}
}

func TestShutdownCutsWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{MaxQueueBytes: -1}, nil)
	r.upgradeRaw("EIO=4&transport=websocket", "") // never reads
	stuck := recvFrom(t, "session", r.recv)
	for range 200 {
		_ = stuck.s.Send(text(strings.Repeat("x", 100_000)))
	}
	lagging := r.poll()
	_ = lagging.recv.s.Send(text("never fetched"))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := r.srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	if got := recvFrom(t, "Closed", stuck.closed); got.reason != ReasonShutdown {
		t.Errorf("closed with %v", got)
	}
	lagging.wantClosed(ReasonShutdown, nil)
}
