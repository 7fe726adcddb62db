package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/cluster"
)

type member struct {
	bus  *cluster.LoopbackBus
	p    *cluster.Provider
	a    *cluster.Adapter
	sock *adaptertest.Socket
}

// fleet starts n nodes with one socket each, in the room "room".
func fleet(t *testing.T, n int) []*member {
	t.Helper()
	loop := cluster.NewLoopback()
	list := make([]*member, n)
	for i := range list {
		m := &member{bus: loop.Bus(), sock: adaptertest.NewSocket(fmt.Sprintf("socket-%d", i))}
		m.p = cluster.NewProvider(m.bus, cluster.Options{})
		a, err := m.p.Open(t.Context(), adaptertest.NewHost("/", fmt.Sprint("node", i)))
		if err != nil {
			t.Fatal(err)
		}
		m.a = a.(*cluster.Adapter)
		m.sock.SetAnswer(func(*adapter.Packet) *adapter.Packet { return &adapter.Packet{Data: []byte(`[1]`)} })
		m.a.Join(m.sock, m.sock.ID(), "room")
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			defer cancel()
			_ = m.p.Close(ctx) // killed and paused nodes cannot say goodbye
		})
		list[i] = m
	}
	return list
}

func packet(i int) *adapter.Packet {
	return &adapter.Packet{Data: fmt.Appendf(nil, `["n",%d]`, i)}
}

func awaitCount(t *testing.T, s *adaptertest.Socket, n int) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for len(s.Received()) < n {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s got %d packets, want %d", s.ID(), len(s.Received()), n)
		}
	}
}

func TestAPausedNodeIsNamedAndCatchesUp(t *testing.T) {
	t.Parallel()
	nodes := fleet(t, 3)
	for _, m := range nodes { // everyone is heard once
		if err := m.a.Broadcast(packet(0), adapter.Target{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range nodes {
		awaitCount(t, m.sock, 3)
	}
	nodes[2].bus.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	list, err := nodes[0].a.FetchSockets(ctx, adapter.Target{})
	var partial *adapter.PartialError
	if !errors.As(err, &partial) || !errors.Is(err, context.DeadlineExceeded) || len(list) != 2 {
		t.Fatalf("FetchSockets: %d sockets, %v", len(list), err)
	}
	if partial.Missing != 1 || len(partial.Nodes) != 1 || partial.Nodes[0] != "node2/"+nodes[2].a.Self() {
		t.Errorf("%v, want %s missing", err, nodes[2].a.Self())
	}
	if err := nodes[0].a.Broadcast(packet(1), adapter.Target{}); err != nil {
		t.Fatal(err)
	}
	awaitCount(t, nodes[1].sock, 4)
	if got := len(nodes[2].sock.Received()); got != 3 {
		t.Errorf("a paused node got %d packets", got)
	}
	nodes[2].bus.Resume()
	awaitCount(t, nodes[2].sock, 4)
}

func TestAKilledNodeIsNotCounted(t *testing.T) {
	t.Parallel()
	nodes := fleet(t, 3)
	nodes[2].bus.Kill()
	if n, err := nodes[0].a.ServerCount(t.Context()); n != 2 || err != nil {
		t.Errorf("ServerCount = %d, %v", n, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if list, err := nodes[0].a.FetchSockets(ctx, adapter.Target{}); err != nil || len(list) != 2 {
		t.Errorf("FetchSockets: %d sockets, %v", len(list), err)
	}
	if _, err := nodes[2].a.ServerCount(t.Context()); !errors.Is(err, cluster.ErrKilled) {
		t.Errorf("ServerCount of the dead: %v", err)
	}
}

func TestEachSenderKeepsItsOrder(t *testing.T) {
	t.Parallel()
	const senders, count = 3, 500
	nodes := fleet(t, senders)
	var wg sync.WaitGroup
	for i, m := range nodes {
		wg.Go(func() {
			for k := range count {
				if err := m.a.Broadcast(packet(i*count+k), adapter.Target{Rooms: []adapter.Room{"room"}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, m := range nodes {
		awaitCount(t, m.sock, senders*count)
		next := make([]int, senders)
		for _, r := range m.sock.Received() {
			var n int
			if _, err := fmt.Sscanf(string(r.Packet.Data), `["n",%d]`, &n); err != nil {
				t.Fatal(err)
			}
			if n%count != next[n/count] {
				t.Fatalf("%s got packet %d of sender %d, want %d", m.sock.ID(), n%count, n/count, next[n/count])
			}
			next[n/count]++
		}
	}
}

func TestAProviderIsClosedOnce(t *testing.T) {
	t.Parallel()
	m := fleet(t, 1)[0]
	for range 2 {
		if err := m.p.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if _, err := m.p.Open(t.Context(), adaptertest.NewHost("/x", "n")); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("Open after Close: %v", err)
	}
	if !m.p.Health().Up {
		t.Error("a bus without health is not up")
	}
}

func BenchmarkBroadcastToPeers(b *testing.B) {
	loop := cluster.NewLoopback()
	p := cluster.NewProvider(loop.Bus(), cluster.Options{MaxOutboundMessages: 1 << 30, MaxOutboundBytes: 1 << 40})
	a, err := p.Open(b.Context(), adaptertest.NewHost("/", "n"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = p.Close(context.Background()) }()
	ev, target := packet(1), adapter.Target{Rooms: []adapter.Room{"room"}}
	b.ReportAllocs()
	for b.Loop() {
		if err := a.Broadcast(ev, target); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAdapter(b *testing.B) {
	adaptertest.Benchmark(b, adaptertest.Harness{Nodes: loopbackNodes})
}
