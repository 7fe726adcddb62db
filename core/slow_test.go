package core_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/core"
)

// smallBuffers keeps the kernel from holding what slow clients do not read.
type smallBuffers struct{ net.Listener }

func (l smallBuffers) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(8 << 10)
	}
	return c, err
}

func startSmall(t *testing.T, opts *core.Options) *rig {
	t.Helper()
	r := newRig(t, opts)
	h := httptest.NewUnstartedServer(r.Server)
	h.Listener = smallBuffers{h.Listener}
	h.Start()
	r.url = h.URL
	t.Cleanup(h.Close)
	t.Cleanup(func() { r.stop(t) })
	return r
}

// neverReads is a bare TCP client that joins and reads no more.
func (r *rig) neverReads(t *testing.T) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
	_, _ = io.WriteString(c, "GET /socket.io/?"+webSocketQuery+" HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"+textFrames("40"))
}

// slowCrowd connects many clients that never read, and counts why they end.
func slowCrowd(t *testing.T, r *rig, n int) (causes func(error) int64) {
	t.Helper()
	byCause := map[error]*atomic.Int64{core.ErrQueueFull: {}, core.ErrQueueBudget: {}}
	r.OnDisconnect(func(ctx context.Context, _ *core.Socket, why core.DisconnectReason) {
		for err, n := range byCause {
			if errors.Is(context.Cause(ctx), err) && why == core.ReasonTransportError {
				n.Add(1)
			}
		}
	})
	for range n {
		r.neverReads(t)
	}
	eventually(t, "all have joined", func() bool { return r.Stats().Sockets >= n })
	return func(err error) int64 { return byCause[err].Load() }
}

// heapNow is the memory in use without a collection: its peak is what counts.
func heapNow() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestManyClientsThatNeverReadHarmNobody(t *testing.T) {
	const clients, events = 200, 400
	r := startSmall(t, &core.Options{MaxQueueBytes: 64 << 10})
	good := r.dial(t)
	goroutines := runtime.NumGoroutine()
	causes := slowCrowd(t, r, clients)
	heap, peak := heapNow(), uint64(0)
	padding := strings.Repeat("p", 1024)
	times := make([]time.Duration, 0, events)
	for i := range events {
		at := time.Now()
		if err := r.Emit("n", i, padding); err != nil {
			t.Fatal(err)
		}
		if got := good.Expect(t, "n").At(0); got != float64(i) {
			t.Fatalf("event %v, want %d", got, i)
		}
		times = append(times, time.Since(at))
		peak = max(peak, heapNow())
	}
	eventually(t, "all slow clients are cut", func() bool { return causes(core.ErrQueueFull) == clients })
	eventually(t, "their goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines+2 })
	slices.Sort(times)
	p99, grown := times[len(times)*99/100], int64(peak)-int64(heap)
	t.Logf("fast client: p50 %v, p99 %v; heap grew by at most %d KiB", times[len(times)/2], p99, grown>>10)
	if p99 > time.Second {
		t.Errorf("p99 of the fast client is %v", p99)
	}
	// Frames are shared: a queue of 64 KiB costs its slots only.
	if grown > 24<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	st := r.Stats()
	equal(t, "SlowConsumers", st.Engine.SlowConsumers, clients)
	equal(t, "queue_bytes", st.LimitsHit["queue_bytes"], clients)
	eventually(t, "nothing is queued", func() bool { return r.Stats().Engine.QueuedBytes == 0 })
	equal(t, "connected", good.Connected(), true)
}

func TestTheBudgetHoldsWhateverIsSent(t *testing.T) {
	const clients, enough, budget = 100, 50, 4 << 20
	r := startSmall(t, &core.Options{MaxTotalQueueBytes: budget, MaxQueueBytes: -1})
	causes := slowCrowd(t, r, clients)
	good := r.dial(t)
	sockets := slices.Collect(r.Sockets())
	var peak int64
	deadline := time.Now().Add(wait)
	for i := 0; causes(core.ErrQueueBudget) < enough && time.Now().Before(deadline); i++ {
		for _, s := range sockets {
			if s.ID() != good.ID() {
				_ = s.Emit("n", fmt.Sprintf("%01000d", i))
			}
		}
		peak = max(peak, r.Stats().Engine.QueuedBytes)
		if i%20 == 0 {
			_ = r.socket(t, good).Emit("n", i)
			good.Expect(t, "n")
		}
	}
	t.Logf("at most %d KiB queued", peak>>10)
	if n := causes(core.ErrQueueBudget); n < enough {
		t.Errorf("%d clients cut, want at least %d", n, enough)
	}
	// The search for the largest waits 100 ms, and a busy machine longer.
	if peak > 256<<20 {
		t.Errorf("%d bytes were queued", peak)
	}
	equal(t, "connected", good.Connected(), true)
	eventually(t, "the budget is kept", func() bool { return r.Stats().Engine.QueuedBytes <= budget })
	eventually(t, "every cut counts", func() bool {
		return r.Stats().LimitsHit["total_queue_bytes"] == uint64(causes(core.ErrQueueBudget))
	})
	_ = r.Close()
	eventually(t, "nothing is queued", func() bool { return r.Stats().Engine.QueuedBytes == 0 })
}

func TestTheProgramMayKeepASlowClient(t *testing.T) {
	t.Parallel()
	asked := make(chan core.SlowConsumer, 4)
	r := start(t, &core.Options{MaxQueuePackets: 4, OnSlowConsumer: func(c core.SlowConsumer) core.Decision {
		asked <- c
		if c.Packets == 5 && len(c.Sockets[0].Rooms()) == 2 { // user code may use the socket
			return core.DropVolatile
		}
		return core.Disconnect
	}})
	p := r.pending(t)
	_ = p.Join("vip")
	for range 5 {
		if err := p.Emit("e"); err != nil {
			t.Fatal(err)
		}
	}
	c := recv(t, "the question", asked)
	if len(c.Sockets) != 1 || c.Sockets[0] != p.Socket || c.Bytes != p.QueuedBytes() || !errors.Is(c.Cause, core.ErrQueuePackets) {
		t.Errorf("asked about %+v", c)
	}
	equal(t, "payload", p.fetch(t), strings.Repeat("\x1e42[\"e\"]", 5)[1:])
	p.Leave("vip")
	for range 5 {
		_ = p.Emit("e")
	}
	recv(t, "the second question", asked)
	recv(t, "the end", p.Context().Done())
	if cause := context.Cause(p.Context()); !errors.Is(cause, core.ErrQueuePackets) {
		t.Errorf("cause %v", cause)
	}
}
