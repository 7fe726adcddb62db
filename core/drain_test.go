package core_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/memory"
	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// probe asks the server's HealthHandler.
func (r *rig) probe(t testing.TB, target string) (status int, text string) {
	t.Helper()
	w := httptest.NewRecorder()
	r.HealthHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	return w.Code, w.Body.String()
}

func quick() core.DrainOptions { return core.DrainOptions{Grace: -1, Window: -1} }

func drained(t testing.TB, got, want core.DrainReport) {
	t.Helper()
	if got.Duration <= 0 {
		t.Error("no duration")
	}
	got.Duration = 0
	equal(t, "report", got, want)
}

func TestDrainClosesEveryConnection(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"websocket", "polling"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			r := start(t, &core.Options{Recovery: &core.RecoveryOptions{}})
			reasons := make(chan core.DisconnectReason, 3)
			r.OnDisconnect(func(_ context.Context, _ *core.Socket, why core.DisconnectReason) { reasons <- why })
			var clients []*testutil.Client
			for range 3 {
				c := testutil.MustDial(t, r.url, testutil.ClientOptions{Transports: []string{transport}})
				r.socket(t, c)
				clients = append(clients, c)
			}
			report, err := r.Drain(within(t, wait), quick())
			if err != nil {
				t.Error(err)
			}
			drained(t, report, core.DrainReport{Connections: 3, Closed: 3, Flushed: 3, Saved: 3})
			for _, c := range clients {
				// No DISCONNECT packet: the client comes back by itself.
				equal(t, "the client's reason", reason(t, c.Socket), "transport close")
				equal(t, "OnDisconnect", recv(t, "OnDisconnect", reasons), core.ReasonShuttingDown)
			}
		})
	}
}

// While clients are still connected, only new ones are refused.
func TestDrainRefusesNewConnectionsAndServesOldOnes(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	core.OnAck(r, "echo", func(_ context.Context, _ *core.Socket, v string) (string, error) { return v, nil })
	c := r.dial(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type result struct {
		core.DrainReport
		error
	}
	done := make(chan result, 1)
	go func() {
		report, err := r.Drain(ctx, core.DrainOptions{Grace: time.Hour})
		done <- result{report, err}
	}()
	recv(t, "the beginning", r.Draining())
	var refused *testutil.HTTPError
	for deadline := time.Now().Add(wait); refused == nil; {
		e, err := testutil.DialEngine(t.Context(), r.url, testutil.EngineOptions{Transports: []string{"polling"}})
		if err == nil { // it was faster
			_ = e.Close()
		} else if !errors.As(err, &refused) || time.Now().After(deadline) {
			t.Fatalf("a new connection: %v", err)
		}
	}
	equal(t, "status", refused.Status, http.StatusServiceUnavailable)
	equal(t, "the old client's answer", ack(t, c.Socket, "echo", "still here"), any("still here"))
	if status, text := r.probe(t, "/health/readyz"); status != http.StatusServiceUnavailable || text != "[-]serving draining\n" {
		t.Errorf("readyz: %d %q", status, text)
	}
	if status, _ := r.probe(t, "/livez"); status != http.StatusOK {
		t.Errorf("livez: %d", status)
	}
	if _, err := r.Drain(t.Context(), quick()); !errors.Is(err, core.ErrClosed) {
		t.Errorf("a second drain: %v", err)
	}
	cancel() // the rest at once
	got := recv(t, "Drain", done)
	if !errors.Is(got.error, context.Canceled) {
		t.Errorf("got %v", got.error)
	}
	equal(t, "forced", got.Forced, 1)
	equal(t, "the client's reason", reason(t, c.Socket), "transport close")
}

func TestDrainWaitsForHandlers(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	entered, release := make(chan struct{}), make(chan struct{})
	core.OnAck(r, "slow", func(context.Context, *core.Socket, none) (string, error) {
		close(entered)
		<-release
		return "answered", nil
	})
	busy, idle := r.dial(t), r.dial(t)
	answers := make(chan any, 1)
	go func() {
		a, err := busy.EmitWithAck(context.Background(), "slow")
		if err != nil {
			answers <- err
			return
		}
		answers <- a.At(0)
	}()
	recv(t, "the handler", entered)
	reports := make(chan core.DrainReport, 1)
	go func() {
		opts := quick()
		opts.HandlerTimeout = time.Hour
		report, _ := r.Drain(within(t, wait), opts)
		reports <- report
	}()
	equal(t, "the idle client's reason", reason(t, idle.Socket), "transport close")
	if !busy.Connected() {
		t.Error("the client whose handler runs was closed too")
	}
	close(release)
	equal(t, "acknowledgement", recv(t, "the answer", answers), any("answered"))
	drained(t, recv(t, "Drain", reports), core.DrainReport{Connections: 2, Closed: 2, Flushed: 2})
}

func TestDrainForcesHandlersThatTakeTooLong(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	entered, release := make(chan struct{}), make(chan struct{})
	core.On(r, "stuck", func(context.Context, *core.Socket, none) error { close(entered); <-release; return nil })
	c := r.dial(t)
	_ = c.Emit("stuck")
	recv(t, "the handler", entered)
	opts := quick()
	opts.HandlerTimeout = time.Millisecond
	report, err := r.Drain(within(t, wait), opts)
	close(release)
	if err != nil {
		t.Error(err)
	}
	drained(t, report, core.DrainReport{Connections: 1, Forced: 1, Flushed: 1})
}

func TestDrainReportsProgress(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.dial(t)
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan core.DrainReport, 1)
	opts := core.DrainOptions{Grace: time.Hour, Progress: func(d core.DrainReport) {
		select {
		case seen <- d:
			cancel()
		default:
		}
	}}
	if _, err := r.Drain(ctx, opts); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	drained(t, recv(t, "progress", seen), core.DrainReport{Connections: 1})
}

// unwell is a provider whose backend is away.
type unwell struct{ adapter.Provider }

func (unwell) Health() adapter.Health {
	return adapter.Health{Since: time.Now(), Reconnects: 3, LastError: "secret"}
}

func TestReadinessDoesNotDependOnTheBackend(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		strict bool
		status int
		mark   string
	}{{false, http.StatusOK, "[!]"}, {true, http.StatusServiceUnavailable, "[-]"}} {
		r := start(t, &core.Options{Adapter: unwell{memory.NewProvider(memory.Options{})}, ReadyRequiresAdapter: tc.strict})
		status, text := r.probe(t, "/readyz?verbose")
		equal(t, "status", status, tc.status)
		if !strings.Contains(text, tc.mark+"adapter down: for 0s, 3 reconnections, 0 messages dropped\n") {
			t.Errorf("got %q", text)
		}
		if strings.Contains(text, "secret") {
			t.Errorf("the answer tells too much: %q", text)
		}
		status, _ = r.probe(t, "/readyz")
		equal(t, "status", status, tc.status)
	}
}

func TestReadinessEndsWhenFull(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{MaxConnections: 1})
	if status, text := r.probe(t, "/readyz"); status != http.StatusOK || text != "ok\n" {
		t.Errorf("empty: %d %q", status, text)
	}
	r.dial(t)
	if status, text := r.probe(t, "/readyz"); status != http.StatusServiceUnavailable || text != "[-]connections full: 1 open of 1\n" {
		t.Errorf("full: %d %q", status, text)
	}
	equal(t, "a probe is no refusal", r.Stats().LimitsHit["connections"], uint64(0))
}

func TestHealthHandlerRefusesTheRest(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	if status, _ := r.probe(t, "/health"); status != http.StatusNotFound {
		t.Errorf("unknown path: %d", status)
	}
	w := httptest.NewRecorder()
	r.HealthHandler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/livez", nil))
	equal(t, "POST", w.Code, http.StatusMethodNotAllowed)
	_ = r.Close()
	if status, _ := r.probe(t, "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("closed: %d", status)
	}
}
