package nats

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func pair(t *testing.T, a, b []string, change func(*Options)) (*testNode, *testNode) {
	t.Helper()
	prefix := newPrefix()
	na, nb := newNode(t, prefix, "a", a, change), newNode(t, prefix, "b", b, change)
	wait(t, "the nodes know each other", func() bool { return na.member.peers.count() == 1 && nb.member.peers.count() == 1 })
	return na, nb
}

func TestLossesLieInsideReportedGaps(t *testing.T) {
	t.Parallel()
	down := func(n *testNode) func() bool { return func() bool { return !n.b.Health().Up } }
	up := func(n *testNode) func() bool { return func() bool { return n.b.Health().Up } }
	tests := []struct {
		name  string
		rooms []adapter.Room
		fault func(t *testing.T, s *testutil.NATSServer, p *testutil.Proxy, a, b *testNode)
	}{
		{"the server is killed and restarted", nil, func(t *testing.T, s *testutil.NATSServer, _ *testutil.Proxy, _, b *testNode) {
			s.Kill(t)
			wait(t, "the loss is noticed", down(b))
			s.Restart(t)
			wait(t, "the node is back", up(b))
		}},
		{"the server is killed and restarted, rooms", []adapter.Room{"room"}, func(t *testing.T, s *testutil.NATSServer, _ *testutil.Proxy, _, b *testNode) {
			s.Restart(t)
			wait(t, "a gap is reported", func() bool { return b.reportedKind(GapConnection) })
		}},
		{"the server stands still", nil, func(t *testing.T, s *testutil.NATSServer, _ *testutil.Proxy, _, b *testNode) {
			s.Pause(t)
			wait(t, "the loss is noticed", down(b))
			s.Resume(t)
			wait(t, "the node is back", up(b))
		}},
		{"the receiver is in a black hole", nil, func(t *testing.T, _ *testutil.NATSServer, p *testutil.Proxy, _, b *testNode) {
			p.BlackHole(testutil.Down, true)
			p.BlackHole(testutil.Up, true)
			wait(t, "the loss is noticed", down(b))
			p.Reset()
			p.BlackHole(testutil.Down, false)
			p.BlackHole(testutil.Up, false)
			wait(t, "a gap is reported", func() bool { return b.reportedKind(GapConnection) })
		}},
		{"the receiver's connection is reset", []adapter.Room{"room"}, func(t *testing.T, _ *testutil.NATSServer, p *testutil.Proxy, _, b *testNode) {
			p.Reset()
			wait(t, "a gap is reported", func() bool { return b.reportedKind(GapConnection) })
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := testutil.NATS(t)
			p := testutil.NewProxy(t, s.Addr())
			a, b := pair(t, []string{s.URL}, []string{"nats://" + p.Addr()}, nil)
			for _, r := range tt.rooms {
				b.member.RoomCreated(r)
			}
			if err := b.member.AwaitRooms(t.Context(), tt.rooms...); err != nil {
				t.Fatal(err)
			}
			stop := a.talk(tt.rooms...)
			b.progress("messages arrive")
			tt.fault(t, s, p, a, b)
			b.progress("messages arrive again")
			b.settle(a, stop)
			b.judge(a)
		})
	}
}

func TestWhatASenderLostIsReportedByTheOthers(t *testing.T) {
	t.Parallel()
	for name, rooms := range map[string][]adapter.Room{"namespace": nil, "room": {"room"}} {
		t.Run(name, func(t *testing.T) {
			s := testutil.NATS(t)
			p := testutil.NewProxy(t, s.Addr())
			a, b := pair(t, []string{"nats://" + p.Addr()}, []string{s.URL}, nil)
			b.member.RoomCreated("room")
			if err := b.member.AwaitRooms(t.Context(), "room"); err != nil {
				t.Fatal(err)
			}
			stop := a.talk(rooms...)
			b.progress("messages arrive")
			p.BlackHole(testutil.Up, true)
			wait(t, "the loss is noticed", func() bool { return !a.b.Health().Up })
			p.Reset()
			p.BlackHole(testutil.Up, false)
			b.progress("messages arrive again")
			wait(t, "the receiver reports a gap", func() bool { return b.reportedKind(GapSender) })
			b.settle(a, stop)
			if b.judge(a) == 0 {
				t.Error("nothing was lost: the test has shown nothing")
			}
			if b.reportedKind(GapConnection) {
				t.Error("the receiver's own connection was lost")
			}
		})
	}
}

func TestAServerOfAClusterDies(t *testing.T) {
	t.Parallel()
	for name, victim := range map[string]int{"the sender's": 0, "the receiver's": 1} {
		t.Run(name, func(t *testing.T) {
			s := testutil.NATSCluster(t, 2)
			a, b := pair(t, []string{s[0].URL, s[1].URL}, []string{s[1].URL, s[0].URL}, nil)
			stop := a.talk()
			b.progress("messages cross the servers")
			s[victim].Kill(t)
			n := []*testNode{a, b}[victim]
			wait(t, "the node is on the other server", func() bool { h := n.b.Health(); return h.Up && h.Reconnects > 0 })
			b.progress("messages arrive again")
			b.settle(a, stop)
			b.judge(a)
		})
	}
}

func TestAChannelThatOverflowsIsAGap(t *testing.T) {
	t.Parallel()
	s := testutil.NATS(t)
	a, b := pair(t, []string{s.URL}, []string{s.URL}, nil)
	b.b.mu.Lock() // what the sorting goroutine needs
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	batch := make([]*cluster.Message, 0, 512)
	for i := range channelSize + 2000 {
		batch = append(batch, numbered("a", i))
		if len(batch) == cap(batch) {
			if _, err := a.b.Publish(ctx, batch); err != nil {
				b.b.mu.Unlock()
				t.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	wait(t, "the channel is full", func() bool { return len(b.b.in) == channelSize })
	b.b.mu.Unlock()
	wait(t, "the gap is reported", func() bool { // not the one of the inbox, which counts
		return slices.ContainsFunc(b.reported(), func(g Gap) bool { return g.Kind == GapOverrun && g.Dropped == 0 })
	})
}

func TestANodeThatIsTooSlowLosesTheOldestAndSaysSo(t *testing.T) {
	t.Parallel()
	s := testutil.NATS(t)
	prefix := newPrefix()
	a := newNode(t, prefix, "a", []string{s.URL}, nil)
	b := &testNode{t: t, id: "b", sent: make(map[int][2]time.Time)}
	b.b = b.open(prefix, []string{s.URL}, nil)
	t.Cleanup(b.close)
	hold := make(chan struct{})
	b.attach(func(m *cluster.Message, at adapter.Offset) {
		<-hold
		b.receive(m, at)
	})
	wait(t, "the nodes know each other", func() bool { return a.member.peers.count() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const total = inboxMessages + 1000
	for i := range total {
		a.publish(ctx, numbered("a", i), i)
	}
	wait(t, "everything was sorted", func() bool { return len(b.b.in) == 0 })
	close(hold)
	wait(t, "the newest arrives", func() bool { got := b.seen(); return len(got) > 0 && got[len(got)-1] == total-1 })
	if b.judge(a) == 0 || !b.reportedKind(GapOverrun) || b.b.Health().Dropped == 0 {
		t.Errorf("gaps %v, health %+v", b.reported(), b.b.Health())
	}
}

func TestAMessageAboveMaxPayloadIsAPermanentError(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]func(testing.TB, ...string) *testutil.NATSServer{"core": testutil.NATS, "jetstream": testutil.JetStream} {
		t.Run(name, func(t *testing.T) {
			a := newNode(t, newPrefix(), "a", []string{server(t).URL}, func(o *Options) {
				if name == "jetstream" {
					o.JetStream = &JetStream{}
				}
			})
			big := numbered("a", 0)
			big.Packet.Data = []byte(`["` + strings.Repeat("x", 2<<20) + `"]`)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := a.b.Publish(ctx, []*cluster.Message{numbered("a", 1), big, numbered("a", 2)})
			var partial *cluster.PublishError
			if !errors.As(err, &partial) || !partial.Permanent || partial.Sent != 1 || !strings.Contains(err.Error(), "max_payload") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestANodeThatDiesIsBuriedAndOneThatLeavesIsNotCounted(t *testing.T) {
	t.Parallel()
	s := testutil.NATS(t)
	p := testutil.NewProxy(t, s.Addr())
	a, b := pair(t, []string{s.URL}, []string{"nats://" + p.Addr()}, nil)
	p.Refuse(true)
	p.Reset()
	wait(t, "the dead node is buried", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.dead) == 1 && a.dead[0] == "b"
	})
	if n, err := a.member.Peers(t.Context()); n != 1 || err != nil {
		t.Errorf("%d nodes, %v", n, err)
	}
	if _, err := b.member.Peers(t.Context()); err == nil {
		t.Error("a node without a connection counts the others")
	}
	p.Refuse(false)
	wait(t, "it comes back", func() bool { n, _ := a.member.Peers(t.Context()); return n == 2 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := b.member.Detach(ctx); err != nil {
		t.Error(err)
	}
	bye := &cluster.Message{Kind: cluster.AdapterClose, From: "b", Namespace: "/"}
	if _, err := b.b.Publish(ctx, []*cluster.Message{bye}); err != nil {
		t.Error(err)
	}
	wait(t, "it has left", func() bool { n, _ := a.member.Peers(t.Context()); return n == 1 })
	if err := b.member.beat(cluster.Heartbeat, ""); err != nil { // one that was on its way
		t.Error(err)
	}
	c := newNode(t, a.b.opts.Prefix, "c", []string{s.URL}, nil)
	wait(t, "the third node is counted", func() bool { n, _ := a.member.Peers(t.Context()); return n == 2 })
	if n := c.member.peers.count(); n != 1 {
		t.Errorf("a new node counts %d others", n)
	}
	if b.b.sender("b") != nil {
		t.Error("the numbers of a node that left are kept")
	}
}

// The heartbeats of the coordinator come and go without a word.
func TestHeartbeatsAreNoGap(t *testing.T) {
	t.Parallel()
	s, prefix := testutil.NATS(t), newPrefix()
	var mu sync.Mutex
	var gaps []Gap
	open := func(id adapter.NodeID) (*cluster.Provider, adapter.Adapter) {
		p, err := open(t.Context(), testServers(s.URL), &Options{
			Prefix: prefix, HeartbeatInterval: testInterval,
			OnGap: func(g Gap) {
				mu.Lock()
				defer mu.Unlock()
				gaps = append(gaps, g)
			},
			Cluster: cluster.Options{Heartbeat: 50 * time.Millisecond},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close(context.Background()) })
		a, err := p.Open(t.Context(), adaptertest.NewHost("/", id))
		if err != nil {
			t.Fatal(err)
		}
		return p.(*cluster.Provider), a
	}
	b, _ := open("b")
	_, a := open("a")
	sock := adaptertest.NewSocket("s")
	a.Join(sock, "room")
	wait(t, "heartbeats arrive", func() bool { return b.Stats().Received[cluster.Heartbeat] > 20 })
	mu.Lock()
	defer mu.Unlock()
	for _, g := range gaps {
		t.Errorf("%+v", g)
	}
}
