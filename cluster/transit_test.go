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

// follower is a host that follows packets.
type follower struct {
	*adaptertest.Host

	mu                  sync.Mutex // guards the following
	published, received []string
}

func (f *follower) Published(p *adapter.Packet, _ time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.published = append(f.published, fmt.Sprint(p.Meta.Trace, " ", err))
}

func (f *follower) Received(p *adapter.Packet, from adapter.NodeID, _ time.Time, recipients int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.received = append(f.received, fmt.Sprint(p.Meta.Trace, " ", from != "", " ", recipients))
}

func (f *follower) seen() (published, received []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append(published, f.published...), append(received, f.received...)
}

func open(t *testing.T, bus cluster.Bus, opts cluster.Options) (*follower, adapter.Adapter, *cluster.Provider) {
	t.Helper()
	p := cluster.NewProvider(bus, opts)
	t.Cleanup(func() { _ = p.Close(t.Context()) })
	f := &follower{Host: adaptertest.NewHost("/", "node")}
	a, err := p.Open(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return f, a, p
}

func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func TestPacketsWithATraceAreFollowedAndOthersAreNot(t *testing.T) {
	t.Parallel()
	loop := cluster.NewLoopback()
	sender, a, p := open(t, loop.Bus(), cluster.Options{})
	receiver, _, _ := open(t, loop.Bus(), cluster.Options{})
	data := []byte(`["news"]`)
	for _, trace := range []string{"", "traced", ""} {
		if err := a.Broadcast(&adapter.Packet{Data: data, Meta: adapter.Meta{Trace: trace}}, adapter.Target{}); err != nil {
			t.Fatal(err)
		}
	}
	soon(t, "all are published", func() bool { return p.Stats().QueueMessages == 0 && p.Stats().Published >= 3 })
	soon(t, "one is received", func() bool { _, got := receiver.seen(); return len(got) > 0 })
	published, _ := sender.seen()
	if len(published) != 1 || published[0] != "traced <nil>" {
		t.Errorf("published %q", published)
	}
	if _, got := receiver.seen(); len(got) != 1 || got[0] != "traced true 0" {
		t.Errorf("received %q", got)
	}
	st := p.Stats()
	if st.BatchSizes.Sum != float64(st.Published) || st.PublishDurations.Count != st.BatchSizes.Count {
		t.Errorf("batches of %v messages and %d durations for %d messages", st.BatchSizes.Sum, st.PublishDurations.Count, st.Published)
	}
}

func TestAPacketThatIsGivenUpIsReported(t *testing.T) {
	t.Parallel()
	bus := &brokenBus{Bus: cluster.NewLoopback().Bus()}
	sender, a, _ := open(t, bus, cluster.Options{MaxOutboundAge: 20 * time.Millisecond})
	if err := a.Broadcast(&adapter.Packet{Data: []byte(`["news"]`), Meta: adapter.Meta{Trace: "traced"}}, adapter.Target{}); err != nil {
		t.Fatal(err)
	}
	soon(t, "it is given up", func() bool { got, _ := sender.seen(); return len(got) > 0 })
	if got, _ := sender.seen(); got[0] == "traced <nil>" {
		t.Errorf("reported as published: %q", got)
	}
}

// brokenBus publishes nothing.
type brokenBus struct{ cluster.Bus }

func (*brokenBus) Publish(context.Context, []*cluster.Message) ([]adapter.Offset, error) {
	return nil, errors.New("broken")
}

func TestNodesAreCountedByTheirHeartbeats(t *testing.T) {
	t.Parallel()
	loop := cluster.NewLoopback()
	_, _, p := open(t, loop.Bus(), cluster.Options{})
	open(t, loop.Bus(), cluster.Options{})
	open(t, loop.Bus(), cluster.Options{NoExtensions: true})
	soon(t, "the other node with heartbeats is counted", func() bool { return p.Stats().Nodes == 2 })
}
