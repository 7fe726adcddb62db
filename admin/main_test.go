package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/socketfleet/socketfleet/admin"
	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	wait     = 30 * time.Second
	user     = "admin"
	password = admin.TestPassword
	hash     = admin.TestHash
)

// rig is an instrumented server on loopback.
type rig struct {
	*core.Server
	url  string
	logs *logBuffer
	a    *admin.Admin
}

type logBuffer struct {
	mu   sync.Mutex // guards the following
	text strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func start(t *testing.T, own admin.Options, opts core.Options) *rig {
	t.Helper()
	r := &rig{logs: new(logBuffer)}
	opts.Logger = slog.New(slog.DiscardHandler)
	srv, err := core.New(t.Context(), &opts)
	if err != nil {
		t.Fatal(err)
	}
	own.Username, own.PasswordHash = user, hash
	own.Logger = slog.New(slog.NewTextHandler(r.logs, nil))
	if r.a, err = admin.Instrument(srv, &own); err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(srv)
	r.Server, r.url = srv, h.URL
	t.Cleanup(h.Close)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil && !errors.Is(err, core.ErrClosed) {
			t.Errorf("Shutdown: %v", err)
		}
		_ = r.a.Close()
	})
	return r
}

// ui logs in as the UI does.
func (r *rig) ui(t *testing.T) *testutil.Client {
	t.Helper()
	return testutil.MustDial(t, r.url, testutil.ClientOptions{
		Namespace: "/admin", Auth: map[string]string{"username": user, "password": password},
	})
}

// dial connects a client to "/".
func (r *rig) dial(t *testing.T) *testutil.Client {
	t.Helper()
	return testutil.MustDial(t, r.url, testutil.ClientOptions{})
}

// refusal tries to log in and returns what the server says; "" when it let the
// client in.
func (r *rig) refusal(t *testing.T, auth any, header map[string][]string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	c, err := testutil.Dial(ctx, r.url, testutil.ClientOptions{Namespace: "/admin", Auth: auth, Header: header})
	if err == nil {
		c.Close()
		return ""
	}
	var refused *testutil.ConnectError
	if !errors.As(err, &refused) {
		t.Fatal(err)
	}
	return refused.Message
}

// shape replaces what differs from run to run by what it is.
func shape(text string, ids ...string) string {
	for i, id := range ids {
		text = strings.ReplaceAll(text, id, "<id"+string(rune('1'+i))+">")
	}
	return isoDate.ReplaceAllString(text, "<date>")
}

var isoDate = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`)

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(wait)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", wait, what)
		}
		<-tick.C
	}
}

func decode[T any](t *testing.T, a testutil.Args, i int) (v T) {
	t.Helper()
	if err := a.Decode(i, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// info is what the tests look at of a socket.
type info struct {
	ID, ClientID, Transport, Nsp string
	Data                         json.RawMessage
	Handshake                    struct {
		Address string
		Headers map[string]any
		URL     string
		Auth    any
	}
	Rooms []string
}
