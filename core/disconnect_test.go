package core_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestEveryDisconnectHasItsReason(t *testing.T) {
	t.Parallel()
	ping := &core.Options{PingInterval: 300 * time.Millisecond, PingTimeout: 30 * time.Millisecond} // the client itself is more patient
	small := &core.Options{MaxQueueBytes: 1 << 16}
	for _, tc := range []struct {
		want   core.DisconnectReason
		client string // what the client sees; "" is not checked
		how    string
		opts   *core.Options
		do     func(t *testing.T, r *rig, c *testutil.Client, s *core.Socket)
	}{
		{core.ReasonClientNamespace, "", "the client leaves", nil, func(_ *testing.T, _ *rig, c *testutil.Client, _ *core.Socket) { _ = c.Disconnect() }},
		{core.ReasonServerNamespace, "io server disconnect", "Disconnect", nil, func(_ *testing.T, _ *rig, _ *testutil.Client, s *core.Socket) { s.Disconnect(false) }},
		{core.ReasonServerNamespace, "io server disconnect", "Disconnect and close", nil, func(_ *testing.T, _ *rig, _ *testutil.Client, s *core.Socket) { s.Disconnect(true) }},
		{core.ReasonServerNamespace, "io server disconnect", "DisconnectSockets", nil, func(t *testing.T, r *rig, _ *testutil.Client, _ *core.Socket) {
			if err := r.DisconnectSockets(t.Context(), false); err != nil {
				t.Error(err)
			}
		}},
		{core.ReasonShuttingDown, "transport close", "Shutdown", nil, func(t *testing.T, r *rig, _ *testutil.Client, _ *core.Socket) { r.stop(t) }},
		{core.ReasonShuttingDown, "transport close", "Close", nil, func(_ *testing.T, r *rig, _ *testutil.Client, _ *core.Socket) { _ = r.Close() }},
		{core.ReasonTransportClose, "", "the client closes", nil, func(_ *testing.T, _ *rig, c *testutil.Client, _ *core.Socket) { _ = c.Engine().Close() }},
		{core.ReasonTransportClose, "", "the connection breaks", nil, func(_ *testing.T, _ *rig, c *testutil.Client, _ *core.Socket) { c.Engine().Abort() }},
		{core.ReasonTransportError, "", "too much is queued", small, func(_ *testing.T, _ *rig, _ *testutil.Client, s *core.Socket) {
			for s.Emit("big", make([]byte, 1<<15)) == nil {
			}
		}},
		{core.ReasonPingTimeout, "", "no pong", ping, nil},
		{core.ReasonParseError, "", "no Engine.IO packet", nil, func(_ *testing.T, _ *rig, c *testutil.Client, _ *core.Socket) {
			_ = c.Engine().Send(context.Background(), testutil.EnginePacket{Type: 'x'})
		}},
		{core.ReasonForcedClose, "", "no Socket.IO packet", nil, func(t *testing.T, _ *rig, c *testutil.Client, _ *core.Socket) { send(t, c.Engine(), "9") }},
	} {
		t.Run(string(tc.want)+" when "+tc.how, func(t *testing.T) {
			t.Parallel()
			r := start(t, tc.opts)
			causes, reasons := make(chan error, 2), make(chan core.DisconnectReason, 2)
			r.OnDisconnect(func(ctx context.Context, s *core.Socket, why core.DisconnectReason) {
				if s.Connected() || len(s.Rooms()) > 0 {
					t.Errorf("connected %v, rooms %v", s.Connected(), s.Rooms())
				}
				causes <- context.Cause(ctx)
				reasons <- why
			})
			c := testutil.MustDial(t, r.url, testutil.ClientOptions{NoPong: tc.opts == ping})
			s := r.socket(t, c)
			if tc.do != nil {
				tc.do(t, r, c, s)
			}
			equal(t, "reason", recv(t, "OnDisconnect", reasons), tc.want)
			var cause *core.DisconnectError
			err := <-causes
			if !errors.As(err, &cause) || cause.Reason != tc.want || !errors.Is(err, core.ErrDisconnected) {
				t.Errorf("cause %v", err)
			}
			if tc.opts == small && !errors.Is(err, core.ErrQueueFull) {
				t.Errorf("cause %v, want ErrQueueFull in it", err)
			}
			equal(t, "counted", r.Stats().Disconnects[tc.want], 1)
			if tc.client != "" {
				equal(t, "the client's reason", reason(t, c.Socket), tc.client)
			}
			if err := s.Emit("e"); !errors.Is(err, core.ErrDisconnected) {
				t.Errorf("Emit afterwards: %v", err)
			}
		})
	}
}

func TestOnDisconnectingSeesTheRooms(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	var j journal
	done := make(chan struct{})
	r.OnDisconnecting(func(_ context.Context, s *core.Socket, why core.DisconnectReason) {
		rooms := s.Rooms()
		slices.Sort(rooms)
		j.add(fmt.Sprint(why, len(rooms), slices.Contains(rooms, s.ID()), slices.Contains(rooms, "a")))
	})
	r.OnDisconnect(func(_ context.Context, s *core.Socket, _ core.DisconnectReason) {
		j.add(fmt.Sprint(len(s.Rooms())))
		close(done)
	})
	c := r.dial(t)
	_ = r.socket(t, c).Join("a", "b")
	_ = c.Disconnect()
	recv(t, "OnDisconnect", done)
	equal(t, "order", j.String(), "client namespace disconnect3 true true 0")
}

func TestOnDisconnectRunsOnceHoweverManyEndTheSocket(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	var connects, disconnects atomic.Int64
	r.OnConnect(func(context.Context, *core.Socket) error { connects.Add(1); return nil })
	r.OnDisconnect(func(context.Context, *core.Socket, core.DisconnectReason) { disconnects.Add(1) })
	for range 40 {
		c := r.dial(t)
		s := r.socket(t, c)
		var all sync.WaitGroup
		for _, end := range []func(){
			func() { s.Disconnect(false) }, func() { s.Disconnect(true) }, func() { c.Engine().Abort() },
			func() { _ = c.Disconnect() }, func() { _ = r.DisconnectSockets(context.Background(), true) },
		} {
			all.Go(end)
		}
		all.Wait()
	}
	eventually(t, "every socket has been told", func() bool { return disconnects.Load() == 40 })
	r.stop(t)
	equal(t, "OnConnect", connects.Load(), 40)
	equal(t, "OnDisconnect", disconnects.Load(), 40)
	var counted uint64
	for _, n := range r.Stats().Disconnects {
		counted += n
	}
	equal(t, "counted", counted, 40)
	equal(t, "sockets", r.Stats().Sockets, 0)
}

func TestEventsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	core.On(r, "n", func(_ context.Context, s *core.Socket, v int) error { return s.Emit("n", v) })
	core.On(r, "m", func(_ context.Context, s *core.Socket, v int) error { return s.Emit("m", v, []byte{1}) })
	for _, transport := range []string{"websocket", "polling"} {
		c := testutil.MustDial(t, r.url, testutil.ClientOptions{Transports: []string{transport}})
		for i := range 200 {
			_ = c.Emit([]string{"n", "m"}[i%2], i, make([]byte, i%3))
		}
		for i := range 200 {
			equal(t, transport, c.Expect(t, "").At(0), any(float64(i)))
		}
	}
}

// gated blocks the first event until release is closed; others are counted.
func gated(r *rig) (entered chan struct{}, release chan struct{}, handled *atomic.Int64) {
	entered, release, handled = make(chan struct{}), make(chan struct{}), new(atomic.Int64)
	core.On(r, "block", func(context.Context, *core.Socket, none) error { close(entered); <-release; return nil })
	core.On(r, "e", func(context.Context, *core.Socket, none) error { handled.Add(1); return nil })
	return entered, release, handled
}

func TestEventsThatCameBeforeTheEndAreHandled(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	entered, release, handled := gated(r)
	atEnd := make(chan int64, 1)
	r.OnDisconnect(func(context.Context, *core.Socket, core.DisconnectReason) { atEnd <- handled.Load() })
	c := r.dial(t)
	s := r.socket(t, c)
	_ = c.Emit("block")
	for range 5 {
		_ = c.Emit("e")
	}
	_ = c.Disconnect()
	recv(t, "the first handler", entered)
	recv(t, "the end of the socket's context", s.Context().Done())
	equal(t, "handled while the first runs", handled.Load(), 0)
	close(release)
	equal(t, "handled before OnDisconnect", recv(t, "OnDisconnect", atEnd), 5)
}

func TestEventsQueuedWhenTheServerDisconnectsAreVoid(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	entered, release, handled := gated(r)
	core.OnAck(r.Of("/other"), "sync", func(context.Context, *core.Socket, none) (bool, error) { return true, nil })
	ended := make(chan struct{})
	r.OnDisconnect(func(context.Context, *core.Socket, core.DisconnectReason) { close(ended) })
	c := r.dial(t)
	other, err := c.Of(t.Context(), "/other", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Emit("block")
	for range 5 {
		_ = c.Emit("e")
	}
	ack(t, other, "sync") // so all of them have been read
	recv(t, "the first handler", entered)
	r.socket(t, c).Disconnect(false)
	close(release)
	recv(t, "OnDisconnect", ended)
	equal(t, "handled", handled.Load(), 0)
}

// Packets that cross the server's own DISCONNECT are ignored, for as many
// namespaces as the client may have.
func TestLatePacketsOfANamespaceTheServerLeftAreIgnored(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{0, -1} {
		r := start(t, &core.Options{MaxNamespacesPerClient: limit})
		r.Of("/x")
		core.OnAck(r.Of("/other"), "e", func(context.Context, *core.Socket, none) (bool, error) { return true, nil })
		e := r.engine(t)
		send(t, e, "0/x,")
		read(t, e)
		send(t, e, "0/other,")
		read(t, e)
		for s := range r.Of("/x").Sockets() {
			s.Disconnect(false)
		}
		equal(t, "the farewell", read(t, e), "1/x,")
		send(t, e, `2/x,["late"]`, `3/x,0[]`, `1/x,`, `2/other,1["e"]`)
		equal(t, "the connection lives", read(t, e), "3/other,1[true]")
		send(t, e, "0/x,")
		if got := read(t, e); got[:5] != "0/x,{" {
			t.Errorf("joining again: %s", got)
		}
	}
}

func TestDisconnectLeavesOneNamespaceAndCloseAll(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.Of("/x")
	r.Of("/y")
	c := r.dial(t)
	x, err := c.Of(t.Context(), "/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	y, err := c.Of(t.Context(), "/y", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.socket(t, c).Disconnect(false)
	equal(t, "the left namespace", reason(t, c.Socket), "io server disconnect")
	equal(t, "others stay", x.Connected() && y.Connected(), true)
	sx, _ := r.Of("/x").Socket(x.ID())
	sx.Disconnect(true)
	equal(t, "/x", reason(t, x), "io server disconnect")
	equal(t, "/y", reason(t, y), "io server disconnect")
	recv(t, "the end of the connection", c.Engine().Done())
}
