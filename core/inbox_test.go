package core_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// flood sends numbered events until told to stop or the connection ends, and
// returns a counter of those written.
func flood(t *testing.T, c *testutil.Client, n, size int) *atomic.Int64 {
	t.Helper()
	written := new(atomic.Int64)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		padding := strings.Repeat("p", size)
		for i := range n {
			if c.Emit("n", i, padding) != nil {
				return
			}
			written.Add(1)
		}
	}()
	t.Cleanup(func() { <-stopped })
	return written
}

// stalled waits until a counter has not moved for a while and returns it.
func stalled(t *testing.T, n *atomic.Int64) int64 {
	t.Helper()
	last, since := int64(-1), time.Now()
	eventually(t, "the client is held up", func() bool {
		if now := n.Load(); now != last || now == 0 {
			last, since = now, time.Now()
		}
		return time.Since(since) > 150*time.Millisecond
	})
	return last
}

// counting checks the order of the flood's events.
func counting(t *testing.T, r *rig, gate <-chan struct{}) *atomic.Int64 {
	handled := new(atomic.Int64)
	core.On(r, "n", func(_ context.Context, _ *core.Socket, v int64) error {
		<-gate
		if want := handled.Load(); v != want {
			t.Errorf("event %d, want %d", v, want)
		}
		handled.Add(1)
		return nil
	})
	return handled
}

func TestAFloodIsHeldUpAndAllOfItHandled(t *testing.T) {
	t.Parallel()
	const n, size = 400, 32 << 10 // 13 MB, beyond the buffers of the kernel
	r := start(t, &core.Options{MaxInboundBytes: 64 << 10})
	gate := make(chan struct{})
	handled := counting(t, r, gate)
	core.OnAck(r.Of("/other"), "e", func(context.Context, *core.Socket, none) (bool, error) { return true, nil })
	c := r.dial(t)
	written := flood(t, c, n, size)
	at := stalled(t, written)
	if at >= n {
		t.Fatal("the client was not held up")
	}
	in := r.Stats().Engine.BytesIn
	t.Logf("held up after %d events; the server has read %d KiB of them", at, in>>10)
	if in > 128<<10 {
		t.Errorf("the server has read %d bytes, want little more than MaxInboundBytes", in)
	}
	other := r.join(t, "/other")
	equal(t, "others", ack(t, other.Socket, "e"), any(true))
	equal(t, "handled", handled.Load(), 0)
	close(gate)
	eventually(t, "all events are handled", func() bool { return handled.Load() == n })
	equal(t, "connected", c.Connected(), true)
	equal(t, "InboundOverflows", r.Stats().InboundOverflows, 0)
}

func TestAFullInboxIsLeftByDisconnecting(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{MaxInboundBytes: 4 << 10})
	core.On(r, "n", func(ctx context.Context, s *core.Socket, _ none) error { <-s.Context().Done(); return nil })
	c := r.dial(t)
	s := r.socket(t, c)
	stalled(t, flood(t, c, 20_000, 8<<10))
	s.Disconnect(true)
	equal(t, "reason", reason(t, c.Socket), "io server disconnect")
}

// hold makes the handler of "wait" ask the client, with the inbox full behind it.
func hold(r *rig, results chan<- error) {
	core.On(r, "wait", func(ctx context.Context, s *core.Socket, _ none) error {
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		_, err := core.EmitWithAck[string](ctx, s, "ask")
		results <- err
		return nil
	})
}

func TestAnAnswerBehindAFullInboxArrives(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{MaxInboundBytes: 8 << 10})
	results := make(chan error, 1)
	hold(r, results)
	gate := make(chan struct{})
	close(gate)
	handled := counting(t, r, gate)
	e := r.engine(t)
	send(t, e, `2["wait"]`)
	equal(t, "question", read(t, e), `20["ask"]`)
	padding := strings.Repeat("p", 1<<10)
	for i := range 16 { // twice what the inbox holds, half the hard bound
		send(t, e, `2["n",`+string(rune('0' + i/10))[:i/10]+string(rune('0'+i%10))+`,"`+padding+`"]`)
	}
	send(t, e, `30["answer"]`)
	if err := recv(t, "the answer", results); err != nil {
		t.Error(err)
	}
	eventually(t, "all events are handled", func() bool { return handled.Load() == 16 })
}

// The reader may be blocked for one namespace when another one begins to wait.
func TestAnAnswerArrivesThoughAnotherNamespaceIsFull(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{MaxInboundBytes: 32 << 10})
	gate := make(chan struct{})
	defer close(gate)
	counting(t, r, gate)
	r.Of("/ask")
	c := r.dial(t)
	other, err := c.Of(t.Context(), "/ask", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 32 { // one more than fit
		_ = c.Emit("n", i, strings.Repeat("p", 1000))
	}
	eventually(t, "the inbox is full", func() bool { return r.Stats().Engine.BytesIn > 28_000 })
	other.On("ask", func(a testutil.Args) { _ = a.Ack("yes") })
	s, _ := r.Of("/ask").Socket(other.ID())
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if v, err := core.EmitWithAck[string](ctx, s, "ask"); v != "yes" || err != nil {
		t.Errorf("got %q, %v", v, err)
	}
}

func TestBeyondTheHardBoundTheClientIsDisconnected(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{MaxInboundBytes: 8 << 10})
	results := make(chan error, 1)
	hold(r, results)
	causes := make(chan error, 2)
	r.OnDisconnect(func(ctx context.Context, _ *core.Socket, _ core.DisconnectReason) { causes <- context.Cause(ctx) })
	gate := make(chan struct{})
	close(gate)
	core.On(r, "n", func(context.Context, *core.Socket, none) error { return nil })
	bystander, c := r.dial(t), r.dial(t)
	_ = c.Emit("wait")
	c.Expect(t, "ask")
	flood(t, c, 100, 1<<10)
	recv(t, "the end of the connection", c.Engine().Done())
	if err := recv(t, "the waiting handler", results); !errors.Is(err, core.ErrDisconnected) {
		t.Errorf("the wait ended with %v", err)
	}
	var cause *core.DisconnectError
	if err := recv(t, "OnDisconnect", causes); !errors.As(err, &cause) || cause.Reason != core.ReasonForcedClose || cause.Err == nil {
		t.Errorf("cause %v", err)
	}
	equal(t, "InboundOverflows", r.Stats().InboundOverflows, 1)
	equal(t, "bystander", bystander.Connected(), true)
}

func TestWithoutABoundNothingIsHeldUp(t *testing.T) {
	t.Parallel()
	const n = 3000
	r := start(t, &core.Options{MaxInboundBytes: -1})
	gate := make(chan struct{})
	handled := counting(t, r, gate)
	written := flood(t, r.dial(t), n, 1<<10)
	eventually(t, "all events are read", func() bool { return written.Load() == n && r.Stats().Engine.PacketsIn > n })
	close(gate)
	eventually(t, "all events are handled", func() bool { return handled.Load() == n })
}

func TestAnEventLargerThanTheInboxIsHandled(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{MaxInboundBytes: 1000})
	core.OnAck(r, "len", func(_ context.Context, _ *core.Socket, b []byte) (int, error) { return len(b), nil })
	c := r.dial(t)
	equal(t, "length", ack(t, c.Socket, "len", make([]byte, 100_000)), any(100_000.0))
}
