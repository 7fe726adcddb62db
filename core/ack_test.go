package core_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// answering makes the client answer an event with its first argument.
func answering(c *testutil.Client, event string) {
	c.On(event, func(a testutil.Args) { _ = a.Ack(a.All()...) })
}

func TestAClientsAnswerDecodesIntoTheWantedType(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	for _, transport := range []string{"websocket", "polling"} {
		c := testutil.MustDial(t, r.url, testutil.ClientOptions{Transports: []string{transport}})
		answering(c, "ask")
		s := r.socket(t, c)
		text, err := core.EmitWithAck[string](t.Context(), s, "ask", "a", "b")
		equal(t, "string", fmt.Sprint(text, err), "a<nil>")
		blob, err := core.EmitWithAck[[]byte](t.Context(), s, "ask", []byte{9})
		equal(t, "bytes", fmt.Sprint(blob, err), "[9] <nil>")
		zero, err := core.EmitWithAck[int](t.Context(), s, "ask")
		equal(t, "no answer value", fmt.Sprint(zero, err), "0 <nil>")
		all, err := core.EmitWithAck[core.Args](t.Context(), s, "ask", 1, []byte{2}, 3)
		values, _ := all.Values()
		equal(t, "all values", fmt.Sprint(values, err), "[1 [2] 3] <nil>")
		if _, err := core.EmitWithAck[int](t.Context(), s, "ask", "text"); err == nil {
			t.Error("an answer of the wrong type is no error")
		}
		equal(t, "PendingAcks", r.Stats().PendingAcks, 0)
	}
}

// An answer is resolved by the goroutine that reads it, so that whoever runs on
// the dispatcher of the same socket may wait for it.
func TestAnAnswerCanBeAwaited(t *testing.T) {
	t.Parallel()
	ask := func(ctx context.Context, s *core.Socket) error {
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		v, err := core.EmitWithAck[string](ctx, s, "ask", "yes")
		if err == nil {
			err = s.Emit("got", v)
		}
		return err
	}
	for name, setUp := range map[string]func(r *rig){
		"inside a handler": func(r *rig) {
			core.On(r, "e", func(ctx context.Context, s *core.Socket, _ none) error { return ask(ctx, s) })
		},
		"inside OnConnect":    func(r *rig) { r.OnConnect(ask) },
		"inside a middleware": func(r *rig) { r.Use(ask) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, nil)
			setUp(r)
			e := r.bare(t)
			send(t, e, "0")
			for {
				switch got := read(t, e); got {
				case `21["ask","yes"]`, `20["ask","yes"]`:
					send(t, e, `3`+got[1:2]+`["yes"]`)
				case `2["got","yes"]`:
					return
				default: // the reply to CONNECT
					send(t, e, `2["e"]`)
				}
			}
		})
	}
}

func TestAWaitInAMiddlewareEndsWithItsDeadline(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.Use(func(ctx context.Context, s *core.Socket) error {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		_, err := core.EmitWithAck[string](ctx, s, "ask")
		if !errors.Is(err, core.ErrAckTimeout) {
			t.Errorf("got %v, want ErrAckTimeout", err)
		}
		return nil
	})
	r.dial(t) // answers only what it got after the reply to CONNECT
}

func TestAnAnswerThatDoesNotComeIsATimeout(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.dial(t)
	s := r.socket(t, c)
	expired, cancelExpired := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancelExpired()
	short, cancelShort := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancelShort()
	for name, ctx := range map[string]context.Context{"short": short, "expired": expired} {
		for what, to := range map[string]core.Acker{"a socket": s, "a remote socket": r.RemoteSocket(c.ID())} {
			_, err := core.EmitWithAck[string](ctx, to, "ask")
			if !errors.Is(err, core.ErrAckTimeout) || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, core.ErrDisconnected) {
				t.Errorf("%s, %s deadline: got %v", what, name, err)
			}
		}
	}
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("changed my mind"))
	if _, err := core.EmitWithAck[string](cancelled, s, "ask"); err == nil || errors.Is(err, core.ErrAckTimeout) {
		t.Errorf("cancelled: got %v", err)
	}
	eventually(t, "nothing is pending", func() bool { return r.Stats().PendingAcks == 0 })
	late := c.Expect(t, "ask")
	_ = late.Ack("too late")
	eventually(t, "the late answer is counted", func() bool { return r.Stats().UnknownAcks == 1 })
	equal(t, "connected", c.Connected(), true)
}

func TestARemoteSocketWithoutDeadlineGetsTheOptionsTimeout(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{AckTimeout: 20 * time.Millisecond})
	c := r.dial(t)
	if _, err := core.EmitWithAck[string](t.Context(), r.RemoteSocket(c.ID()), "ask"); !errors.Is(err, core.ErrAckTimeout) {
		t.Errorf("got %v, want ErrAckTimeout", err)
	}
	if _, err := core.EmitWithAck[string](t.Context(), r.RemoteSocket("nobody"), "ask"); !errors.Is(err, core.ErrDisconnected) {
		t.Errorf("unknown id: got %v, want ErrDisconnected", err)
	}
}

func TestAWaitEndsWhenTheSocketDisconnects(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	for name, leave := range map[string]func(c *testutil.Client, s *core.Socket){
		"the client leaves":     func(c *testutil.Client, _ *core.Socket) { _ = c.Disconnect() },
		"the connection breaks": func(c *testutil.Client, _ *core.Socket) { c.Engine().Abort() },
		"the server leaves":     func(_ *testutil.Client, s *core.Socket) { s.Disconnect(false) },
		"the server closes":     func(_ *testutil.Client, s *core.Socket) { s.Disconnect(true) },
	} {
		c := r.dial(t)
		s := r.socket(t, c)
		results := make(chan error, 2)
		go func() { results <- errorOf(core.EmitWithAck[any](context.Background(), s, "ask")) }()
		go func() { results <- errorOf(core.EmitWithAck[any](s.Context(), r.RemoteSocket(s.ID()), "ask")) }()
		c.Expect(t, "ask")
		c.Expect(t, "ask")
		leave(c, s)
		for range 2 {
			if err := recv(t, name, results); !errors.Is(err, core.ErrDisconnected) {
				t.Errorf("%s: got %v, want ErrDisconnected", name, err)
			}
		}
		if _, err := core.EmitWithAck[any](t.Context(), s, "ask"); !errors.Is(err, core.ErrDisconnected) {
			t.Errorf("afterwards: got %v, want ErrDisconnected", err)
		}
	}
}

func TestAcksOwedAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{MaxPendingAcks: 3})
	c := r.dial(t)
	s := r.socket(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error, 3)
	for range 3 {
		go func() { results <- errorOf(core.EmitWithAck[any](ctx, s, "ask")) }()
	}
	eventually(t, "three are pending", func() bool { return r.Stats().PendingAcks == 3 })
	if _, err := core.EmitWithAck[any](ctx, s, "fourth"); !errors.Is(err, core.ErrTooManyAcks) {
		t.Errorf("got %v, want ErrTooManyAcks", err)
	}
	cancel()
	for range 3 {
		<-results
	}
	eventually(t, "all ids are free", func() bool { return r.Stats().PendingAcks == 0 })
	answering(c, "again")
	if v, err := core.EmitWithAck[int](t.Context(), s, "again", 5); v != 5 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	for range 3 {
		c.Expect(t, "ask")
	}
	equal(t, "refused events sent", len(c.Pending()), 0)
}

func TestDuplicateAndUnknownAnswersAreCountedAndIgnored(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	e := r.engine(t)
	var s *core.Socket
	for s = range r.Sockets() {
	}
	for i := range 3 {
		result := make(chan string, 1)
		go func() {
			v, err := core.EmitWithAck[string](context.Background(), s, "ask")
			result <- fmt.Sprint(v, err)
		}()
		read(t, e)
		id := fmt.Sprint(i)
		send(t, e, "3"+id+`["one"]`, "3"+id+`["two"]`, `3999["three"]`, `3`+id)
		equal(t, "answer", recv(t, "the answer", result), "one<nil>")
	}
	eventually(t, "the others are counted", func() bool { return r.Stats().UnknownAcks == 9 })
	equal(t, "sockets", r.Stats().Sockets, 1)
}

// What is acknowledged by whom, and how often.
func TestEventsAreAcknowledgedOnceAndWithTheClientsID(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	core.OnAck(r, "twice", func(context.Context, *core.Socket, none) (int, error) { return 1, nil })
	core.OnAck(r, "twice", func(context.Context, *core.Socket, none) (int, error) { return 2, nil })
	core.OnAck(r, "none", func(context.Context, *core.Socket, none) (core.Args, error) { return core.Args{}, nil })
	core.OnAck(r, "late", func(_ context.Context, s *core.Socket, _ none) (int, error) { s.Disconnect(false); return 1, nil })
	e := r.engine(t)
	for _, tc := range [][2]string{
		{`20["twice"]`, `30[1]`},
		{`29007199254740991["twice"]`, `39007199254740991[1]`},
		{`27["none"]`, `37[]`},
	} {
		send(t, e, tc[0])
		equal(t, tc[0], read(t, e), tc[1])
	}
	send(t, e, `2["twice"]`, `28["late"]`)
	equal(t, "first packet after the disconnect", read(t, e), "1")
}

func TestIDsOfEndedWaitsAreFreedWhateverTheyRaceWith(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.dial(t)
	answering(c, "ask")
	s := r.socket(t, c)
	done := make(chan struct{})
	for range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range 200 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%20)*10*time.Microsecond)
				_, _ = core.EmitWithAck[any](ctx, s, "ask", i)
				cancel()
			}
		}()
	}
	for range 8 {
		recv(t, "a caller", done)
	}
	eventually(t, "no id is kept", func() bool { return r.Stats().PendingAcks == 0 })
}
