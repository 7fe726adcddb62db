package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestShutdownEndsInOrder(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"websocket", "polling"} {
		r := start(t, nil)
		reasons := make(chan core.DisconnectReason, 1)
		entered, release := make(chan struct{}), make(chan struct{})
		core.OnAck(r, "slow", func(_ context.Context, s *core.Socket, _ none) (string, error) {
			close(entered)
			<-s.Context().Done() // Shutdown has begun
			<-release
			return "answered", nil
		})
		r.OnDisconnect(func(_ context.Context, _ *core.Socket, why core.DisconnectReason) { reasons <- why })
		c := testutil.MustDial(t, r.url, testutil.ClientOptions{Transports: []string{transport}})
		s := r.socket(t, c)
		answers := make(chan any, 1)
		go func() {
			a, err := c.EmitWithAck(context.Background(), "slow")
			if err != nil {
				answers <- err
				return
			}
			answers <- a.At(0)
		}()
		recv(t, "the handler", entered)
		_ = c.Emit("another") // behind the first event's request, which so is answered
		_ = s.Emit("queued")
		down := make(chan error, 1)
		go func() { down <- r.Shutdown(within(t, wait)) }()
		recv(t, "the end of the socket", s.Context().Done())
		if _, err := testutil.DialEngine(t.Context(), r.url, testutil.EngineOptions{Transports: []string{"polling"}}); err == nil {
			t.Error("a new connection was accepted")
		} else if refused := (*testutil.HTTPError)(nil); !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable {
			t.Errorf("a new connection got %v", err)
		}
		select {
		case err := <-down:
			t.Fatalf("Shutdown returned %v before the handler", err)
		default:
		}
		close(release)
		if err := recv(t, "Shutdown", down); err != nil {
			t.Error(err)
		}
		equal(t, "OnDisconnect", <-reasons, core.ReasonShuttingDown)
		equal(t, "acknowledgement", recv(t, "the answer", answers), any("answered"))
		c.Expect(t, "queued")
		// No DISCONNECT packet: clients reconnect. One that polls may find out by its
		// next request.
		if why := reason(t, c.Socket); why != "transport close" && (transport != "polling" || why != "transport error") {
			t.Errorf("%s: the client's reason is %s", transport, why)
		}
		if err := errors.Join(r.Shutdown(t.Context()), r.Close()); !errors.Is(err, core.ErrClosed) {
			t.Errorf("a second time: %v, want ErrClosed", err)
		}
	}
}

func TestShutdownDoesNotWaitLongerThanItsContext(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	entered, release := make(chan struct{}), make(chan struct{})
	core.On(r, "stuck", func(context.Context, *core.Socket, none) error { close(entered); <-release; return nil })
	c := r.dial(t)
	_ = c.Emit("stuck")
	recv(t, "the handler", entered)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := r.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	if took := time.Since(begin); took > wait/2 {
		t.Errorf("took %v", took)
	}
	recv(t, "the end of the connection", c.Engine().Done())
	close(release)
}

// The contexts of middlewares end with the server's, not only those of sockets
// that are connected.
func TestShutdownEndsMiddlewaresThatWait(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	entered, causes := make(chan struct{}), make(chan error, 1)
	r.Use(func(ctx context.Context, _ *core.Socket) error {
		close(entered)
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return nil
	})
	r.OnConnect(func(context.Context, *core.Socket) error { t.Error("connected"); return nil })
	e := r.bare(t)
	send(t, e, "0")
	recv(t, "the middleware", entered)
	ctx, cancel := context.WithTimeout(t.Context(), wait/2)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	var cause *core.DisconnectError
	if err := recv(t, "the middleware's end", causes); !errors.As(err, &cause) || cause.Reason != core.ReasonShuttingDown {
		t.Errorf("cause %v", err)
	}
	ended(t, e)
	// A CONNECT_ERROR would keep the client from trying again elsewhere.
	if p, err := e.Read(t.Context()); err == nil {
		t.Errorf("the client got %s", p.Data)
	}
}

func TestNobodyJoinsAServerThatShutsDown(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.OfFunc(func(context.Context, string, json.RawMessage) bool { return true })
	var connects atomic.Int64
	r.Of("/later").OnConnect(func(context.Context, *core.Socket) error { connects.Add(1); return nil })
	entered, release := make(chan struct{}), make(chan struct{})
	core.On(r, "stuck", func(context.Context, *core.Socket, none) error { close(entered); <-release; return nil })
	e := r.engine(t)
	send(t, e, `2["stuck"]`)
	recv(t, "the handler", entered)
	var s *core.Socket
	for s = range r.Sockets() {
	}
	down := make(chan error, 1)
	go func() { down <- r.Shutdown(within(t, wait)) }()
	recv(t, "the end of the socket", s.Context().Done())
	read := r.Stats().Engine.PacketsIn
	send(t, e, "0/later,", "0/dynamic,", `2["late"]`)
	eventually(t, "the packets are read", func() bool { return r.Stats().Engine.PacketsIn == read+3 })
	close(release)
	if err := recv(t, "Shutdown", down); err != nil {
		t.Error(err)
	}
	ended(t, e)
	if p, err := e.Read(t.Context()); err == nil {
		t.Errorf("the client got %s", p.Data)
	}
	equal(t, "OnConnect", connects.Load(), 0)
}

func TestCloseEndsAtOnce(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	reasons := make(chan core.DisconnectReason, 1)
	r.OnDisconnect(func(_ context.Context, _ *core.Socket, why core.DisconnectReason) { reasons <- why })
	core.On(r, "wait", func(ctx context.Context, _ *core.Socket, _ none) error { <-ctx.Done(); return nil })
	c := r.dial(t)
	_ = c.Emit("wait")
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	equal(t, "OnDisconnect", recv(t, "OnDisconnect", reasons), core.ReasonShuttingDown)
	recv(t, "the end of the connection", c.Engine().Done())
	if err := r.Close(); !errors.Is(err, core.ErrClosed) {
		t.Errorf("a second time: %v", err)
	}
}

func TestShutdownWithoutClients(t *testing.T) {
	t.Parallel()
	srv, err := core.New(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
