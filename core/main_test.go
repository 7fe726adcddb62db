package core_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		memoryChild()
	}
	if u := os.Getenv(nodeEnv); u != "" {
		nodeChild(u)
	}
	goleak.VerifyTestMain(m)
}

// wait bounds everything a test waits for.
const wait = 30 * time.Second

// none is the argument type of handlers that take none.
type none = any

// rig is a server on loopback.
type rig struct {
	*core.Server
	url  string
	logs *recorder
}

// start serves a server until the test ends and all its handlers have returned.
func start(t testing.TB, opts *core.Options) *rig {
	t.Helper()
	r := newRig(t, opts)
	h := httptest.NewServer(r.Server)
	r.url = h.URL
	t.Cleanup(h.Close)
	t.Cleanup(func() { r.stop(t) })
	return r
}

// newRig is start without the HTTP server.
func newRig(t testing.TB, opts *core.Options) *rig {
	t.Helper()
	o := core.Options{}
	if opts != nil {
		o = *opts
	}
	r := &rig{logs: new(recorder)}
	if o.Logger == nil {
		o.Logger = slog.New(r.logs)
	}
	srv, err := core.New(t.Context(), &o)
	if err != nil {
		t.Fatal(err)
	}
	r.Server = srv
	return r
}

func (r *rig) stop(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil && !errors.Is(err, core.ErrClosed) {
		t.Errorf("Shutdown: %v", err)
	}
}

// dial connects a WebSocket client.
func (r *rig) dial(t testing.TB) *testutil.Client {
	t.Helper()
	return r.connect(t, testutil.ClientOptions{})
}

// join connects a client to another namespace, which may be made for it.
func (r *rig) join(t testing.TB, nsp string) *testutil.Client {
	t.Helper()
	return testutil.MustDial(t, r.url, testutil.ClientOptions{Namespace: nsp})
}

// connect dials and waits until broadcasts reach the client, which is a moment
// after it has the reply to its CONNECT.
func (r *rig) connect(t testing.TB, opts testutil.ClientOptions) *testutil.Client {
	t.Helper()
	c := testutil.MustDial(t, r.url, opts)
	r.seated(t, c.Socket)
	return c
}

func (r *rig) seated(t testing.TB, c *testutil.Socket) {
	t.Helper()
	eventually(t, "the socket is in its own room", func() bool {
		s, ok := r.Of(c.Namespace()).Socket(c.ID())
		return !ok || len(s.Rooms()) > 0 // or it has gone already
	})
}

// refused expects the server to refuse a namespace and returns the refusal.
func (r *rig) refused(t testing.TB, nsp string) *testutil.ConnectError {
	t.Helper()
	c, err := testutil.Dial(t.Context(), r.url, testutil.ClientOptions{Namespace: nsp})
	if err == nil {
		c.Close()
		t.Fatalf("joined %s", nsp)
	}
	var refusal *testutil.ConnectError
	if !errors.As(err, &refusal) {
		t.Fatalf("join %s: %v, want a refusal", nsp, err)
	}
	return refusal
}

// engine opens a bare connection and joins "/" by hand.
func (r *rig) engine(t testing.TB) *testutil.Engine {
	t.Helper()
	e := r.bare(t)
	send(t, e, "0")
	if got := read(t, e); !strings.HasPrefix(got, `0{"sid":`) {
		t.Fatalf("CONNECT answered with %s", got)
	}
	return e
}

// bare opens a connection that has joined nothing.
func (r *rig) bare(t testing.TB) *testutil.Engine {
	t.Helper()
	e, err := testutil.DialEngine(t.Context(), r.url, testutil.EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func send(t testing.TB, e *testutil.Engine, texts ...string) {
	t.Helper()
	packets := make([]testutil.EnginePacket, len(texts))
	for i, text := range texts {
		packets[i] = testutil.Message(text)
	}
	if err := e.Send(t.Context(), packets...); err != nil {
		t.Fatal(err)
	}
}

// read returns the next Socket.IO packet as text.
func read(t testing.TB, e *testutil.Engine) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	p, err := e.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return string(p.Data)
}

// ended waits for the end of a connection.
func ended(t testing.TB, e *testutil.Engine) {
	t.Helper()
	recv(t, "the end of the connection", e.Done())
}

// socket returns the server's side of a client.
func (r *rig) socket(t testing.TB, c *testutil.Client) *core.Socket {
	t.Helper()
	s, ok := r.Of(c.Namespace()).Socket(c.ID())
	if !ok {
		t.Fatalf("no socket %s", c.ID())
	}
	return s
}

// ack emits from the client and returns the server's first answer.
func ack(t testing.TB, s *testutil.Socket, event string, args ...any) any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	a, err := s.EmitWithAck(ctx, event, args...)
	if err != nil {
		t.Fatal(err)
	}
	return a.At(0)
}

// reason waits for the client's disconnection.
func reason(t testing.TB, s *testutil.Socket) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	why, err := s.WaitDisconnect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return why
}

func recv[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(wait):
		t.Fatalf("timed out waiting for %s", what)
		panic("unreachable")
	}
}

// eventually polls until done reports true.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.After(wait)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}

// equal compares what can be compared with ==.
func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// journal collects lines from many goroutines.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, " ")
}

// recorder is a slog.Handler that keeps everything.
type recorder struct {
	mu      sync.Mutex
	entries []entry
}

type entry struct {
	level slog.Level
	attrs map[string]string
}

func (l *recorder) Enabled(context.Context, slog.Level) bool { return true }
func (l *recorder) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *recorder) WithGroup(string) slog.Handler            { return l }

func (l *recorder) Handle(_ context.Context, rec slog.Record) error {
	e := entry{rec.Level, map[string]string{"msg": rec.Message}}
	rec.Attrs(func(a slog.Attr) bool { e.attrs[a.Key] = a.Value.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, e)
	return nil
}

// find returns the entries of at least a level with an attribute that contains a
// text.
func (l *recorder) find(min slog.Level, key, text string) []entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []entry
	for _, e := range l.entries {
		if e.level >= min && strings.Contains(e.attrs[key], text) {
			out = append(out, e)
		}
	}
	return out
}
