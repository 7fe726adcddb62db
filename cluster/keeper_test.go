package cluster

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
)

// lossyBus is a node of a Loopback that can lose and repeat what it publishes.
type lossyBus struct {
	*LoopbackBus
	mu    sync.Mutex
	times int // how often a Broadcast goes out
}

func (b *lossyBus) set(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.times = n
}

func (b *lossyBus) Publish(ctx context.Context, batch []*Message) ([]adapter.Offset, error) {
	b.mu.Lock()
	times := b.times
	b.mu.Unlock()
	for _, m := range batch {
		n := 1
		if m.Kind == Broadcast {
			n = times
		}
		for range n {
			if _, err := b.LoopbackBus.Publish(ctx, []*Message{m}); err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

// cutHost is a host that can cut.
type cutHost struct {
	*adaptertest.Host
	mu  sync.Mutex
	cut []adapter.SocketID
}

func (h *cutHost) Cut(m adapter.Member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cut = append(h.cut, m.ID())
}

type keptNode struct {
	bus  *lossyBus
	p    *Provider
	a    *Adapter
	host *cutHost
	sock *adaptertest.Socket
	gaps chan Gap
}

// kept starts nodes with the given names.
func kept(t *testing.T, policy GapPolicy, names ...string) []*keptNode {
	loop := NewLoopback()
	var list []*keptNode
	for _, name := range names {
		n := &keptNode{
			bus:  &lossyBus{LoopbackBus: loop.Bus(), times: 1},
			host: &cutHost{Host: adaptertest.NewHost("/", name)}, sock: adaptertest.NewSocket("s" + name), gaps: make(chan Gap, 100),
		}
		n.p = NewProvider(n.bus, Options{
			RequestsTimeout: time.Minute, GapPolicy: policy, Logger: slog.New(slog.DiscardHandler),
			OnGap: func(g Gap) { n.gaps <- g },
		})
		a, err := n.p.Open(t.Context(), n.host)
		if err != nil {
			t.Fatal(err)
		}
		n.a = a.(*Adapter)
		n.a.Join(n.sock, n.sock.ID())
		list = append(list, n)
	}
	synctest.Wait()
	return list
}

func stopAll(t *testing.T, list []*keptNode) {
	for _, n := range list {
		n.bus.Resume()
		if err := n.p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func TestASilentNodeEndsTheWaitAndIsNamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nodes := kept(t, "", "a", "b", "c")
		defer stopAll(t, nodes)
		nodes[2].bus.Pause() // still counted, as by a Redis that has not noticed
		start := time.Now()
		list, err := nodes[0].a.FetchSockets(t.Context(), adapter.Target{})
		var partial *adapter.PartialError
		if !errors.As(err, &partial) || !errors.Is(err, ErrNodeLost) || len(list) != 2 {
			t.Fatalf("%d sockets, %v", len(list), err)
		}
		if want := "c/" + nodes[2].a.Self(); partial.Missing != 1 || len(partial.Nodes) != 1 || partial.Nodes[0] != want {
			t.Errorf("%v, want %s named", err, want)
		}
		if took := time.Since(start); took > defaultLease+2*keepEvery {
			t.Errorf("the wait took %v", took)
		}
		synctest.Wait()
		if s := nodes[0].p.Stats(); s.NodesLost != 1 || s.RequestsPending != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

// A node that works on an answer still gives signs of life.
func TestASlowAnswerIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nodes := kept(t, "", "a", "b")
		defer stopAll(t, nodes)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		nodes[1].sock.SetAnswer(nil) // never answers
		start := time.Now()
		for _, err := range nodes[0].a.BroadcastWithAck(ctx, pack(`["q"]`), adapter.Target{Rooms: []string{"sb"}}) {
			if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNodeLost) {
				t.Errorf("%v", err)
			}
		}
		if took := time.Since(start); took != 20*time.Second {
			t.Errorf("the wait took %v", took)
		}
	})
}

func TestLostAndRepeatedMessagesAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nodes := kept(t, "", "a", "b")
		defer stopAll(t, nodes)
		a, b := nodes[0], nodes[1]
		emit := func(times int) {
			a.bus.set(times)
			if err := a.a.Broadcast(pack(`["e"]`), adapter.Target{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		time.Sleep(time.Millisecond) // after the window of joining
		emit(1)
		emit(2)
		if got := len(b.sock.Received()); got != 2 || b.p.Stats().Duplicates != 1 {
			t.Errorf("%d events, stats %+v", got, b.p.Stats())
		}
		emit(0) // the next heartbeat shows that it is missing
		time.Sleep(2 * defaultHeartbeat)
		select {
		case g := <-b.gaps:
			if g.Kind != GapSequence || g.Missing != 1 || g.Namespace != "/" || g.Node != "a/"+a.a.Self() {
				t.Errorf("gap %+v", g)
			}
		default:
			t.Error("no gap was reported")
		}
		if s := b.p.Stats(); s.Missing != 1 || s.Gaps[GapSequence] != 1 {
			t.Errorf("stats %+v", s)
		}
		from := time.Now()
		emit(0)
		emit(1)
		b.p.gap(Gap{Kind: "connection", From: from, To: time.Now()})
		<-b.gaps
		time.Sleep(2 * defaultHeartbeat)
		if s := b.p.Stats(); s.Missing != 2 || s.Gaps[GapSequence] != 1 {
			t.Errorf("what is missing inside of a reported gap was reported again: %+v", s)
		}
	})
}

func TestTheGapPolicyDecides(t *testing.T) {
	t.Parallel()
	for policy, want := range map[GapPolicy]int{GapIgnore: 0, GapNotify: 0, GapDisconnect: 1} {
		synctest.Test(t, func(t *testing.T) {
			nodes := kept(t, policy, "a", "b")
			defer stopAll(t, nodes)
			b := nodes[1]
			b.p.gap(Gap{Kind: GapSequence, Namespace: "/elsewhere"})
			b.p.gap(Gap{Kind: GapSequence, Namespace: "/"})
			synctest.Wait()
			b.host.mu.Lock()
			defer b.host.mu.Unlock()
			if len(b.host.cut) != want {
				t.Errorf("%s: cut %v", policy, b.host.cut)
			}
			if told := len(b.gaps) > 0; told != (policy != GapIgnore) {
				t.Errorf("%s: told %v", policy, told)
			}
		})
	}
}

func TestTwoNodesWithOneIDAreNoticed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nodes := kept(t, "", "same", "same")
		defer stopAll(t, nodes)
		for _, n := range nodes {
			if s := n.p.Stats(); s.Twins == 0 || !strings.Contains(n.p.Health().LastError, "same") {
				t.Errorf("stats %+v", s)
			}
		}
		alone := kept(t, "", "x")
		defer stopAll(t, alone)
		a := alone[0].a
		a.receive(&Message{Kind: Heartbeat, From: a.self, Ext: Ext{Version: 1, Epoch: a.epoch}}, "")
		if n := alone[0].p.Stats().Twins; n != 0 {
			t.Errorf("%d twins: its own echo", n)
		}
		a.receive(&Message{Kind: Heartbeat, From: a.self, Ext: Ext{Version: 1, Epoch: a.epoch + 1}}, "")
		if n := alone[0].p.Stats().Twins; n != 1 {
			t.Errorf("%d twins, want one with the same adapter id", n)
		}
	})
}
