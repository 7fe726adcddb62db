package cluster

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
)

func TestWhoIsAnEmitter(t *testing.T) {
	t.Parallel()
	for id, want := range map[adapter.NodeID]bool{
		"emitter": true, "emitter-0123456789abcdef": true, "": false, "emitters": false, "0123456789abcdef": false, "AbCdEf": false,
	} {
		if got := IsEmitter(id); got != want {
			t.Errorf("%q: %v", id, got)
		}
	}
}

// loopNode returns one node with one socket that answers, on a loopback.
func loopNode(t *testing.T, l *Loopback, name string) (*Adapter, *adaptertest.Host, *adaptertest.Socket) {
	t.Helper()
	p := NewProvider(l.Bus(), Options{})
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	host, s := adaptertest.NewHost("/", name), adaptertest.NewSocket(name)
	opened, err := p.Open(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	opened.Join(s, s.ID())
	s.SetAnswer(func(p *adapter.Packet) *adapter.Packet { return p })
	return opened.(*Adapter), host, s
}

func TestAnEmitterAsksAndIsNoNode(t *testing.T) {
	t.Parallel()
	l := NewLoopback()
	a, _, _ := loopNode(t, l, "a")
	b, _, _ := loopNode(t, l, "b")
	p := NewProvider(l.Bus(), Options{})
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	e, err := p.OpenEmitter(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	if !IsEmitter(e.Self()) || e.Self() == EmitterID {
		t.Errorf("it asks as %q, which nobody answers", e.Self())
	}
	if n, err := e.ServerCount(t.Context()); n != 2 || err != nil {
		t.Errorf("it counts %d nodes, %v", n, err)
	}
	list, err := e.FetchSockets(t.Context(), adapter.Target{})
	if len(list) != 2 || err != nil {
		t.Errorf("sockets %v, %v", list, err)
	}
	answers := 0
	for _, err := range e.BroadcastWithAck(t.Context(), &adapter.Packet{Data: []byte(`["x"]`)}, adapter.Target{}) {
		if err != nil {
			t.Error(err)
		}
		answers++
	}
	if answers != 2 {
		t.Errorf("%d answers", answers)
	}
	for _, n := range []*Adapter{a, b} {
		if got, err := n.ServerCount(t.Context()); got != 2 || err != nil {
			t.Errorf("a node counts %d, %v", got, err)
		}
		if ids := n.nodes.recent(10); slices.ContainsFunc(ids, IsEmitter) {
			t.Errorf("a node remembers an emitter: %v", ids)
		}
	}
}

// What reaches an emitter on the channel for its answers and is none is ignored.
func TestAnEmitterTakesAnswersOnly(t *testing.T) {
	t.Parallel()
	bus := &fakeBus{peers: 1}
	p := NewProvider(bus, Options{})
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	e, err := p.OpenEmitter(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	for kind := range Kind(255) {
		e.receive(&Message{Kind: kind, From: "x", Namespace: "/", RequestID: "r"}, "")
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	bus.mu.Lock()
	defer bus.mu.Unlock()
	if len(bus.replies) > 0 || len(bus.sent) > 0 {
		t.Errorf("it said %v and %v, and is no node that says goodbye", bus.replies, bus.sent)
	}
}

func TestEmitQueuesAsEmitter(t *testing.T) {
	t.Parallel()
	bus := &fakeBus{}
	p := NewProvider(bus, Options{})
	for _, kind := range []Kind{Broadcast, SocketsJoin, ServerSideEmit} {
		if err := p.Emit(&Message{Kind: kind, Namespace: "/x"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	bus.mu.Lock()
	got := slices.Clone(bus.sent)
	bus.mu.Unlock()
	if len(got) != 3 {
		t.Fatalf("%d messages were published before Flush returned", len(got))
	}
	for _, m := range got {
		if m.From != EmitterID || m.Namespace != "/x" {
			t.Errorf("published %+v", m)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Emit(&Message{Kind: Broadcast}); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("emit after Close: %v", err)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Errorf("nothing is queued: %v", err)
	}
}

// Messages that are shed or too old are no longer waited for, and are counted
// apart when they mattered.
func TestFlushEndsWithWhatIsGivenUp(t *testing.T) {
	t.Parallel()
	bus := &fakeBus{}
	bus.onPublish(func(context.Context, []*Message) error { return errDown })
	p := NewProvider(bus, Options{MaxOutboundAge: 20 * time.Millisecond})
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	for _, flags := range []adapter.Flags{0, adapter.Volatile, 0, adapter.Volatile} {
		if err := p.Emit(&Message{Kind: Broadcast, Namespace: "/", Target: adapter.Target{Flags: flags}}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if s := p.Stats(); s.Lost != 2 {
		t.Errorf("%d messages are counted as lost, want the 2 that are not volatile", s.Lost)
	}
}
