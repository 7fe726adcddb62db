package core_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

type traceKey struct{}

// watcher is an Observer that keeps what it hears, marks contexts and gives every
// broadcast a trace.
type watcher struct {
	name string
	seen *[]string // of all watchers of a test, under mu

	mu  *sync.Mutex
	ops []core.Op
}

func newWatcher(name string) *watcher {
	return &watcher{name: name, seen: new([]string), mu: new(sync.Mutex)}
}

func (w *watcher) Begin(ctx context.Context, op core.Op) context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	*w.seen = append(*w.seen, w.name+" begins "+op.Kind.String())
	if op.Kind == core.OpBroadcast {
		parent, _ := ctx.Value(traceKey{}).(string)
		op.Packet.Meta.Trace = "trace of " + parent
	}
	return context.WithValue(ctx, traceKey{}, w.name+"/"+op.Kind.String())
}

func (w *watcher) End(ctx context.Context, op core.Op) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*w.seen = append(*w.seen, w.name+" ends "+op.Kind.String())
	w.ops = append(w.ops, op)
}

// of returns the finished operations of a kind.
func (w *watcher) of(k core.OpKind) (found []core.Op) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, op := range w.ops {
		if op.Kind == k {
			found = append(found, op)
		}
	}
	return found
}

func (w *watcher) waitFor(t *testing.T, k core.OpKind, n int) []core.Op {
	t.Helper()
	eventually(t, fmt.Sprint(n, " operations of kind ", k), func() bool { return len(w.of(k)) >= n })
	return w.of(k)
}

func TestObserversSeeConnectsAndEvents(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	w := newWatcher("w")
	r.Observe(w)
	refusal := errors.New("not you")
	r.Of("/closed").Use(func(context.Context, *core.Socket) error { return refusal })
	inside := make(chan string, 1)
	core.On(r, "known", func(ctx context.Context, _ *core.Socket, _ none) error {
		inside <- fmt.Sprint(ctx.Value(traceKey{}))
		return errors.New("failed")
	})
	c := r.dial(t)
	if err := c.Emit("known"); err != nil {
		t.Fatal(err)
	}
	if err := c.Emit("unknown"); err != nil {
		t.Fatal(err)
	}
	r.refused(t, "/closed")
	equal(t, "the handler's context", <-inside, "w/event")
	events := w.waitFor(t, core.OpEvent, 2)
	equal(t, "first event", fmt.Sprintln(events[0].Name, events[0].Known, events[0].Err), "known true failed\n")
	equal(t, "second event", fmt.Sprintln(events[1].Name, events[1].Known, events[1].Err), "unknown false <nil>\n")
	equal(t, "whose", events[0].Socket.ID(), c.ID())
	if events[0].End.Before(events[0].Start) || events[0].Start.IsZero() {
		t.Errorf("from %v to %v", events[0].Start, events[0].End)
	}
	connects := w.waitFor(t, core.OpConnect, 2)
	slices.SortFunc(connects, func(a, b core.Op) int { return strings.Compare(a.Namespace.Name(), b.Namespace.Name()) })
	equal(t, "accepted", fmt.Sprintln(connects[0].Namespace.Name(), connects[0].Err), "/ <nil>\n")
	equal(t, "refused", fmt.Sprintln(connects[1].Namespace.Name(), connects[1].Err), "/closed not you\n")
}

func TestObserversAreNestedAndCanLeave(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	outer, inner := newWatcher("outer"), newWatcher("inner")
	inner.seen, inner.mu = outer.seen, outer.mu
	r.Observe(outer)
	leave := r.Observe(inner)
	if err := r.Emit("news"); err != nil {
		t.Fatal(err)
	}
	leave()
	if err := r.Emit("news"); err != nil {
		t.Fatal(err)
	}
	want := "outer begins broadcast, inner begins broadcast, inner ends broadcast, outer ends broadcast, outer begins broadcast, outer ends broadcast"
	equal(t, "calls", strings.Join(*outer.seen, ", "), want)
}

func TestABroadcastIsFollowedToEveryNode(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3, core.Options{})
	watchers := make([]*watcher, len(nodes))
	clients := make([]*testutil.Client, len(nodes))
	for i, n := range nodes {
		watchers[i] = newWatcher(fmt.Sprint("w", i))
		n.Observe(watchers[i])
		clients[i] = n.dial(t)
	}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), traceKey{}, "the caller"))
	cancel() // only the values count
	if err := nodes[0].Except("nobody").WithContext(ctx).Emit("news", 1); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		c.Expect(t, "news")
	}
	out := watchers[0].waitFor(t, core.OpPublish, 1)
	equal(t, "published", out[0].Packet.Meta.Trace, "trace of the caller")
	for _, w := range watchers[1:] {
		in := w.waitFor(t, core.OpReceive, 1)
		equal(t, "received", in[0].Packet.Meta.Trace, "trace of the caller")
		equal(t, "recipients", in[0].Recipients, 1)
		if in[0].Node == "" {
			t.Error("nobody sent it")
		}
	}
	if n := len(watchers[0].of(core.OpReceive)); n != 0 {
		t.Errorf("the sender received its own broadcast %d times", n)
	}
}

func TestRequestsEndWithTheirError(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	w := newWatcher("w")
	r.Observe(w)
	c := r.dial(t)
	c.On("ask", func(testutil.Args) {})
	if _, err := r.FetchSockets(t.Context()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for range core.BroadcastWithAck[none](ctx, r.Except("nobody"), "ask") {
	}
	ops := w.of(core.OpRequest)
	equal(t, "requests", len(ops), 2)
	equal(t, "first", ops[0].Name, "fetch_sockets")
	equal(t, "second", ops[1].Name, "broadcast_with_ack")
	equal(t, "its error", errors.Is(ops[1].Err, core.ErrAckTimeout), true)
	equal(t, "counted", r.Stats().AckTimeouts, 1)
}

type bomb struct{ begin bool }

func (b bomb) Begin(context.Context, core.Op) context.Context {
	if b.begin {
		panic("begin")
	}
	return nil
}

func (b bomb) End(context.Context, core.Op) { panic("end") }

func TestAPanicOfAnObserverHarmsNobody(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.Observe(bomb{true})
	r.Observe(bomb{false})
	core.OnAck(r, "ping", func(ctx context.Context, _ *core.Socket, _ none) (string, error) { return "pong", ctx.Err() })
	c := r.dial(t)
	answer, err := c.EmitWithAck(within(t, wait), "ping")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "answer", answer.At(0), any("pong"))
	eventually(t, "the panics are counted", func() bool { return r.Stats().HandlerPanics >= 6 }) // 3 of the connect, 3 of the event
}
