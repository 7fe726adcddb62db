package core_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// deaf connects a client that never reads again after it has joined.
func deaf(t *testing.T, r *rig) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial("ws"+r.url[len("http"):]+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	if err := ws.WriteMessage(websocket.TextMessage, []byte("40")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // open and CONNECT
		if _, _, err := ws.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	}
	return ws
}

func TestAClientThatNeverReadsIsCutAndNobodyElseSuffers(t *testing.T) {
	t.Parallel()
	const events = 600
	// Small enough that the deaf client's share exceeds the queue and the kernel's
	// buffers, large enough for the reading one.
	r := start(t, &core.Options{MaxQueueBytes: 1 << 20})
	causes := make(chan error, 2)
	r.OnDisconnect(func(ctx context.Context, _ *core.Socket, _ core.DisconnectReason) { causes <- context.Cause(ctx) })
	deaf(t, r)
	good := r.dial(t)
	blob := make([]byte, 64<<10)
	for i := range events {
		if err := r.Emit("n", i, blob); err != nil {
			t.Fatal(err)
		}
		if got := good.Expect(t, "n").At(0); got != float64(i) {
			t.Fatalf("event %v, want %d", got, i)
		}
	}
	err := recv(t, "the slow client's end", causes)
	var cause *core.DisconnectError
	if !errors.As(err, &cause) || cause.Reason != core.ReasonTransportError || !errors.Is(err, core.ErrQueueFull) {
		t.Errorf("cause %v", err)
	}
	equal(t, "SlowConsumers", r.Stats().Engine.SlowConsumers, 1)
	equal(t, "sockets", r.Stats().Sockets, 1)
}

func TestEmitSaysThatTheQueueIsFull(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{MaxQueueBytes: 1 << 20})
	deaf(t, r)
	var s *core.Socket
	for s = range r.Sockets() {
	}
	var err error
	for range 2000 {
		if err = s.Emit("n", make([]byte, 64<<10)); err != nil {
			break
		}
	}
	if !errors.Is(err, core.ErrQueueFull) {
		t.Errorf("got %v, want ErrQueueFull", err)
	}
	eventually(t, "the socket is gone", func() bool { return r.Stats().Sockets == 0 })
	if err := s.Emit("n"); !errors.Is(err, core.ErrDisconnected) {
		t.Errorf("afterwards: %v, want ErrDisconnected", err)
	}
	if _, err := core.EmitWithAck[any](t.Context(), s, "n"); !errors.Is(err, core.ErrDisconnected) {
		t.Errorf("afterwards, with answer: %v, want ErrDisconnected", err)
	}
}

func TestAWriteThatHangsDisconnects(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{MaxQueueBytes: 64 << 20, WriteTimeout: 100 * time.Millisecond})
	causes := make(chan error, 2)
	r.OnDisconnect(func(ctx context.Context, _ *core.Socket, _ core.DisconnectReason) { causes <- context.Cause(ctx) })
	deaf(t, r)
	for range 400 {
		_ = r.Emit("n", make([]byte, 64<<10))
	}
	var cause *core.DisconnectError
	if err := recv(t, "the end", causes); !errors.As(err, &cause) || cause.Reason != core.ReasonTransportError || cause.Err == nil {
		t.Errorf("cause %v", err)
	}
}

func TestVolatileEventsAreDroppedForWhoIsNotReady(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	// A polling client that has joined and now has no request waiting.
	base := testutil.MustDial(t, r.url, testutil.ClientOptions{})
	ctx := t.Context()
	e := base.Engine()
	text, err := e.Request(ctx, "GET", r.url+"/socket.io/?EIO=4&transport=polling", "")
	if err != nil {
		t.Fatal(err)
	}
	var sid string
	if _, err := fmt.Sscanf(text, `0{"sid":%q`, &sid); err != nil {
		t.Fatal(text, err)
	}
	session := r.url + "/socket.io/?EIO=4&transport=polling&sid=" + sid
	if _, err := e.Request(ctx, "POST", session, "40"); err != nil {
		t.Fatal(err)
	}
	var s *core.Socket
	for s = range r.Sockets() {
		if s.Transport() == "polling" {
			break
		}
	}
	if err := s.TryEmit("lost"); !errors.Is(err, core.ErrDropped) {
		t.Errorf("TryEmit = %v, want ErrDropped", err)
	}
	if err := r.Volatile().Emit("lost, too"); err != nil {
		t.Errorf("a volatile broadcast failed: %v", err)
	}
	base.Expect(t, "lost, too") // the WebSocket client is ready
	_ = s.Emit("kept")
	text, err = e.Request(ctx, "GET", session, "")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "payload", text, "40{\"sid\":\""+s.ID()+"\"}\x1e42[\"kept\"]")
	if r.Stats().VolatileDropped != 2 {
		t.Errorf("VolatileDropped = %d, want 2", r.Stats().VolatileDropped)
	}
	polled := make(chan string, 1)
	go func() { text, _ := e.Request(ctx, "GET", session, ""); polled <- text }()
	eventually(t, "a waiting request gets volatile events", func() bool { return s.TryEmit("now") == nil })
	equal(t, "payload", recv(t, "the poll", polled), `42["now"]`)
}

func TestVolatileEventsAreDroppedBeyondTheHighWaterMark(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{MaxQueueBytes: 64 << 20})
	deaf(t, r)
	var s *core.Socket
	for s = range r.Sockets() {
	}
	sent := 0
	for ; sent < 2000; sent++ {
		if s.TryEmit("n", make([]byte, 64<<10)) != nil {
			break
		}
	}
	if sent == 2000 {
		t.Error("nothing was dropped")
	}
	equal(t, "connected", s.Connected(), true)
	s.Disconnect(true)
}

func TestBinaryPacketsStayWholeAmidConcurrentEmits(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	for _, transport := range []string{"websocket", "polling"} {
		c := testutil.MustDial(t, r.url, testutil.ClientOptions{Transports: []string{transport}})
		s := r.socket(t, c)
		const emitters, each = 4, 50
		for g := range emitters {
			go func() {
				for i := range each {
					_ = s.Emit("b", g, i, []byte{byte(g)}, []byte{byte(i)})
					_ = r.To(s.ID()).Emit("t", g, i)
				}
			}()
		}
		next := map[string][]int{"b": make([]int, emitters), "t": make([]int, emitters)}
		for range emitters * each * 2 {
			a := c.Expect(t, "")
			g, i := int(a.At(0).(float64)), int(a.At(1).(float64))
			if a.Name == "b" && (a.At(2).([]byte)[0] != byte(g) || a.At(3).([]byte)[0] != byte(i)) {
				t.Fatalf("mixed up: %v", a)
			}
			if next[a.Name][g] != i {
				t.Fatalf("%s: event %d of emitter %d out of order, want %d", transport, i, g, next[a.Name][g])
			}
			next[a.Name][g]++
		}
	}
}
