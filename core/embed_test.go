package core_test

import (
	"bufio"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// mount serves a server behind what a program may put in front of it.
func mount(t *testing.T, opts *core.Options, wrap func(http.Handler) http.Handler, configure func(*http.Server)) *rig {
	t.Helper()
	r := newRig(t, opts)
	core.OnAck(r, "echo", func(_ context.Context, _ *core.Socket, v any) (any, error) { return v, nil })
	h := httptest.NewUnstartedServer(wrap(r.Server))
	if configure != nil {
		configure(h.Config)
	}
	h.Start()
	r.url = h.URL
	t.Cleanup(h.Close)
	t.Cleanup(func() { r.stop(t) })
	return r
}

func same(h http.Handler) http.Handler { return h }

// bothWays echoes over both transports and over an upgrade.
func bothWays(t *testing.T, r *rig, path string) {
	t.Helper()
	for _, transports := range [][]string{{"polling"}, {"websocket"}, {"polling", "websocket"}} {
		c := testutil.MustDial(t, r.url, testutil.ClientOptions{Transports: transports, Path: path})
		if len(transports) == 2 {
			recv(t, "the upgrade", c.Engine().Upgraded())
		}
		equal(t, strings.Join(transports, "+"), ack(t, c.Socket, "echo", "é"), any("é"))
	}
}

func TestItWorksBehindStripPrefix(t *testing.T) {
	t.Parallel()
	r := mount(t, nil, func(h http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/api/v1/", http.StripPrefix("/api/v1", h))
		return mux
	}, nil)
	bothWays(t, r, "/api/v1/socket.io/")
}

// wrapped has none of the optional interfaces, and Unwrap.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestItWorksBehindAResponseWriterThatUnwraps(t *testing.T) {
	t.Parallel()
	r := mount(t, nil, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { h.ServeHTTP(wrapped{wrapped{w}}, req) })
	}, nil)
	bothWays(t, r, "")
}

// closedWriter hides Hijack and cannot be unwrapped.
type closedWriter struct{ inner http.ResponseWriter }

func (w *closedWriter) Header() http.Header         { return w.inner.Header() }
func (w *closedWriter) Write(b []byte) (int, error) { return w.inner.Write(b) }
func (w *closedWriter) WriteHeader(status int)      { w.inner.WriteHeader(status) }

func TestAResponseWriterThatHidesHijackIsNamed(t *testing.T) {
	t.Parallel()
	r := mount(t, nil, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { h.ServeHTTP(&closedWriter{w}, req) })
	}, nil)
	if _, err := testutil.DialEngine(t.Context(), r.url, testutil.EngineOptions{}); err == nil {
		t.Error("a WebSocket was opened without Hijack")
	}
	found := false
	for _, e := range r.logs.find(slog.LevelWarn, "msg", "") {
		for _, v := range e.attrs {
			found = found || strings.Contains(v, "closedWriter")
		}
	}
	if !found {
		t.Error("the log does not name the type of the ResponseWriter")
	}
}

func TestServerTimeoutsShorterThanTheHeartbeatDoNotMatter(t *testing.T) {
	t.Parallel()
	const short = 100 * time.Millisecond
	r := mount(t, &core.Options{PingInterval: 4 * short}, same, func(s *http.Server) {
		s.ReadTimeout, s.WriteTimeout = short, short
	})
	for _, transport := range []string{"polling", "websocket"} {
		c := testutil.MustDial(t, r.url, testutil.ClientOptions{Transports: []string{transport}})
		s := r.socket(t, c)
		// Two heartbeats later both directions still work.
		pings := r.Stats().Engine.PacketsOut
		eventually(t, "two heartbeats have passed", func() bool { return r.Stats().Engine.PacketsOut >= pings+2 })
		equal(t, transport, ack(t, c.Socket, "echo", 1), any(1.0))
		_ = s.Emit("hello")
		c.Expect(t, "hello")
		_ = c.Disconnect()
	}
}

func TestPollingWorksOverHTTP2(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	protos := make(chan string, 100)
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		protos <- req.Proto
		r.ServeHTTP(w, req)
	}))
	h.EnableHTTP2 = true
	h.StartTLS()
	t.Cleanup(h.Close)
	t.Cleanup(func() { r.stop(t) })
	secure := make(chan bool, 1)
	r.OnConnect(func(_ context.Context, s *core.Socket) error {
		secure <- s.Handshake().Secure()
		return s.Emit("hello")
	})
	do := func(method, query, body string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, h.URL+"/socket.io/?EIO=4&transport=polling"+query, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := h.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := bufio.NewReader(resp.Body).ReadString(0)
		if resp.StatusCode != http.StatusOK || err == nil {
			t.Fatalf("status %d: %s", resp.StatusCode, text)
		}
		return text
	}
	sid := strings.Split(do("GET", "", ""), `"`)[3]
	equal(t, "post", do("POST", "&sid="+sid, "40"), "ok")
	if !recv(t, "OnConnect", secure) {
		t.Error("the handshake is not secure")
	}
	for text := ""; !strings.Contains(text, `42["hello"]`); {
		text += do("GET", "&sid="+sid, "")
	}
	equal(t, "protocol", <-protos, "HTTP/2.0")
	do("POST", "&sid="+sid, "1")
}

type ctxKey struct{}

func TestContextValuesOfMiddlewareReachTheSocketAndItsCancellationDoesNot(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"polling", "websocket"} {
		r := mount(t, nil, func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				ctx, cancel := context.WithCancel(context.WithValue(req.Context(), ctxKey{}, "alice"))
				defer cancel()
				h.ServeHTTP(w, req.WithContext(ctx))
			})
		}, nil)
		core.OnAck(r, "who", func(ctx context.Context, s *core.Socket, _ none) (any, error) {
			return ctx.Value(ctxKey{}), s.Context().Err()
		})
		c := testutil.MustDial(t, r.url, testutil.ClientOptions{Transports: []string{transport}})
		equal(t, transport, ack(t, c.Socket, "who"), any("alice"))
	}
}
