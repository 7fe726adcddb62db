package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

const (
	testInterval = 250 * time.Millisecond
	patience     = 30 * time.Second
)

// testNode is a bus with one member, and all that happened to it.
type testNode struct {
	t      testing.TB
	id     adapter.NodeID
	b      *bus
	member *member

	mu   sync.Mutex
	got  []int // numbers of broadcasts, in the order of arrival
	dead []adapter.NodeID
	gaps []Gap
	sent map[int][2]time.Time // before and after publishing
}

// newNode attaches a node to servers. change may alter its options.
func newNode(t testing.TB, prefix string, id adapter.NodeID, servers []string, change func(*Options)) *testNode {
	t.Helper()
	n := &testNode{t: t, id: id, sent: make(map[int][2]time.Time)}
	n.b = n.open(prefix, servers, change)
	t.Cleanup(func() { n.close() })
	n.attach(n.receive)
	return n
}

func (n *testNode) open(prefix string, servers []string, change func(*Options)) *bus {
	n.t.Helper()
	o := &Options{Prefix: prefix, HeartbeatInterval: testInterval, OnGap: n.gap}
	if change != nil {
		change(o)
	}
	full, err := o.withDefaults()
	if err != nil {
		n.t.Fatal(err)
	}
	b, err := openBus(n.t.Context(), testServers(servers...), full, channelSize)
	if err != nil {
		n.t.Fatal(err)
	}
	return b
}

func testServers(urls ...string) natsgo.Options {
	user := natsgo.GetDefaultOptions()
	user.Servers, user.NoRandomize, user.IgnoreDiscoveredServers = urls, true, true
	return user
}

func (n *testNode) attach(r cluster.Receiver) {
	n.t.Helper()
	att, err := n.b.Attach(n.t.Context(), cluster.Attach{
		Namespace: "/", Self: n.id, Receive: r, HasRoom: func(adapter.Room) bool { return true },
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.member = att.(*member)
}

func (n *testNode) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.b.Close(ctx); err != nil {
		n.t.Error(err)
	}
}

func (n *testNode) gap(g Gap) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gaps = append(n.gaps, g)
}

func (n *testNode) receive(m *cluster.Message, _ adapter.Offset) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch m.Kind {
	case cluster.AdapterClose:
		n.dead = append(n.dead, m.From)
	case cluster.Broadcast:
		var args []int
		if err := json.Unmarshal(m.Packet.Data, &args); err != nil || len(args) != 1 {
			n.t.Errorf("received %s", m.Packet.Data)
			return
		}
		n.got = append(n.got, args[0])
	}
}

func (n *testNode) seen() []int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.got)
}

func (n *testNode) reported() []Gap {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.gaps)
}

func (n *testNode) reportedKind(k GapKind) bool {
	return slices.ContainsFunc(n.reported(), func(g Gap) bool { return g.Kind == k })
}

// numbered is a broadcast that holds i. The packet need not be an event for a bus.
func numbered(from adapter.NodeID, i int, rooms ...adapter.Room) *cluster.Message {
	return &cluster.Message{
		Kind: cluster.Broadcast, From: from, Namespace: "/",
		Packet: &adapter.Packet{Data: fmt.Appendf(nil, "[%d]", i)}, Target: adapter.Target{Rooms: rooms},
	}
}

// publish sends message i as the coordinator does: again until it went out.
func (n *testNode) publish(ctx context.Context, m *cluster.Message, i int) {
	began := time.Now()
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := n.b.Publish(try, []*cluster.Message{m})
		cancel()
		var partial *cluster.PublishError
		if err == nil || errors.As(err, &partial) && partial.Sent == 1 {
			n.mu.Lock()
			n.sent[i] = [2]time.Time{began, time.Now()}
			n.mu.Unlock()
			return
		}
		pace(ctx, 10*time.Millisecond)
		began = time.Now()
	}
}

// talk publishes numbers until the returned function is called, which waits.
func (n *testNode) talk(rooms ...adapter.Room) (stop func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int)
	go func() {
		i := 0
		for ; ctx.Err() == nil; i++ {
			n.publish(ctx, numbered(n.id, i, rooms...), i)
			pace(ctx, 2*time.Millisecond)
		}
		ended <- i
	}()
	var once sync.Once
	total := 0
	end := func() int {
		once.Do(func() {
			cancel()
			total = <-ended
		})
		return total
	}
	n.t.Cleanup(func() { end() })
	return end
}

func pace(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// wait polls until cond holds.
func wait(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting until %s", what)
		}
		pace(t.Context(), 5*time.Millisecond)
	}
}

// progress waits until n has received more than it has now, from whatever time on.
func (n *testNode) progress(what string) {
	n.t.Helper()
	have := len(n.seen())
	wait(n.t, what, func() bool { return len(n.seen()) > have+20 })
}

// judge checks that what from sent and n does not have lies inside a gap that n
// reported, that nothing came twice and that the order is right. It returns how
// many are missing.
func (n *testNode) judge(from *testNode) int {
	n.t.Helper()
	from.mu.Lock()
	defer from.mu.Unlock()
	got, gaps := n.seen(), n.reported()
	if !slices.IsSorted(got) {
		n.t.Error("messages arrived out of order")
	}
	if len(slices.Compact(slices.Clone(got))) != len(got) {
		n.t.Error("messages arrived twice")
	}
	missing := 0
	for i, at := range from.sent {
		if _, ok := slices.BinarySearch(got, i); ok {
			continue
		}
		missing++
		inside := slices.ContainsFunc(gaps, func(g Gap) bool { return !g.From.After(at[1]) && !g.To.Before(at[0]) })
		if !inside {
			n.t.Errorf("message %d, sent %v..%v, is lost outside of all gaps %v", i, at[0], at[1], gaps)
		}
	}
	n.t.Logf("%d of %d messages missing; gaps: %d", missing, len(from.sent), len(gaps))
	return missing
}

// settle ends the talk of from, and waits until n has heard a message of later, and
// a heartbeat that would tell what is missing before it.
func (n *testNode) settle(from *testNode, stop func() int) {
	n.t.Helper()
	last := stop()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	wait(n.t, "a last message arrives", func() bool {
		last++
		from.publish(ctx, numbered(from.id, last), last)
		got := n.seen()
		return len(got) > 0 && got[len(got)-1] > stop()
	})
	n.member.peers.mu.Lock()
	beat := n.member.peers.list[from.id].last
	n.member.peers.mu.Unlock()
	wait(n.t, "two heartbeats arrive", func() bool {
		n.member.peers.mu.Lock()
		defer n.member.peers.mu.Unlock()
		return n.member.peers.list[from.id].before.After(beat)
	})
}
