package run_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/socketfleet/socketfleet/cluster/run"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const wait = 10 * time.Second

// node records what is done to it.
type node struct {
	mu     sync.Mutex
	steps  []string
	closed chan struct{}
	hang   bool // Shutdown waits until Close is called
}

func newNode() *node { return &node{closed: make(chan struct{})} }

func (n *node) note(step string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.steps = append(n.steps, step)
}

func (n *node) Shutdown(ctx context.Context) error {
	n.note("shutdown")
	if n.hang {
		select {
		case <-n.closed:
		case <-time.After(wait):
		}
	}
	return ctx.Err()
}

func (n *node) Close() error {
	n.note("close")
	close(n.closed)
	return nil
}

func (n *node) expect(t *testing.T, want ...string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.steps) != len(want) {
		t.Fatalf("steps %q, want %q", n.steps, want)
	}
	for i := range want {
		if n.steps[i] != want[i] {
			t.Fatalf("steps %q, want %q", n.steps, want)
		}
	}
}

// serve runs Serve on a free port. It returns the address and the result.
func serve(t *testing.T, ctx context.Context, c run.Config) (url string, result <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ready, done := make(chan struct{}), make(chan error, 1)
	c.Listener = l
	c.HTTP = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") })}
	c.Listening = func(net.Addr) { close(ready) }
	c.Logger = slog.New(slog.DiscardHandler)
	go func() { done <- run.Serve(ctx, c) }()
	<-ready
	return "http://" + l.Addr().String(), done
}

func get(t *testing.T, url string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: wait}
	resp, err := client.Get(url)
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "served" {
		t.Errorf("got %q, %v", body, err)
	}
}

func end(t *testing.T, result <-chan error) error {
	t.Helper()
	select {
	case err := <-result:
		return err
	case <-time.After(wait):
		t.Fatal("Serve does not return")
		return nil
	}
}

func raise(t *testing.T, sig os.Signal) {
	t.Helper()
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func TestSignalStopsInOrder(t *testing.T) {
	n := newNode()
	var url string
	var result <-chan error
	started := make(chan struct{})
	url, result = serve(t, t.Context(), run.Config{Node: n, Signals: []os.Signal{syscall.SIGUSR1}, Drain: func(context.Context) error {
		<-started
		n.note("drain")
		get(t, url) // clients that are still here are still served
		return nil
	}})
	close(started)
	get(t, url)
	raise(t, syscall.SIGUSR1)
	if err := end(t, result); err != nil {
		t.Error(err)
	}
	n.expect(t, "drain", "shutdown")
	if _, err := net.DialTimeout("tcp", url[len("http://"):], wait); err == nil {
		t.Error("the port is still open")
	}
}

func TestDoneContextIsASignal(t *testing.T) {
	n := newNode()
	ctx, cancel := context.WithCancel(t.Context())
	_, result := serve(t, ctx, run.Config{Node: n, Drain: func(ctx context.Context) error { return ctx.Err() }})
	cancel()
	if err := end(t, result); err != nil {
		t.Errorf("got %v: the stopping was cut short", err)
	}
	n.expect(t, "shutdown")
}

func TestDrainIsBounded(t *testing.T) {
	n := newNode()
	ctx, cancel := context.WithCancel(t.Context())
	_, result := serve(t, ctx, run.Config{Node: n, DrainTimeout: time.Millisecond, Drain: func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}})
	cancel()
	if err := end(t, result); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	n.expect(t, "shutdown")
}

func TestSecondSignalCutsShort(t *testing.T) {
	n := newNode()
	n.hang = true
	draining := make(chan struct{})
	_, result := serve(t, t.Context(), run.Config{Node: n, Signals: []os.Signal{syscall.SIGUSR2}, Drain: func(ctx context.Context) error {
		close(draining)
		<-ctx.Done()
		return ctx.Err()
	}})
	raise(t, syscall.SIGUSR2)
	<-draining
	raise(t, syscall.SIGUSR2)
	if err := end(t, result); !errors.Is(err, run.ErrForced) {
		t.Errorf("got %v", err)
	}
}

func TestListenerThatFails(t *testing.T) {
	n := newNode()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	drained := false
	c := run.Config{HTTP: &http.Server{}, Listener: l, Node: n, Logger: slog.New(slog.DiscardHandler),
		Listening: func(net.Addr) { _ = l.Close() },
		Drain:     func(context.Context) error { drained = true; return nil }}
	if err := run.Serve(t.Context(), c); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	n.expect(t, "shutdown")
	if drained {
		t.Error("nobody can be drained from a closed listener")
	}
}

func TestBadConfigs(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]run.Config{
		"nothing":         {},
		"no node":         {HTTP: &http.Server{}},
		"negative":        {HTTP: &http.Server{}, Node: newNode(), DrainTimeout: -1},
		"port in use":     {HTTP: &http.Server{Addr: taken.Addr().String()}, Node: newNode()},
		"address invalid": {HTTP: &http.Server{Addr: "nowhere"}, Node: newNode()},
	} {
		if err := run.Serve(t.Context(), c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
