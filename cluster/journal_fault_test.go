package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/cluster"
)

// deafBus loses what its node should receive while lose says so.
type deafBus struct {
	*cluster.LoopbackBus

	mu   sync.Mutex
	lose func(m *cluster.Message) bool
}

func (b *deafBus) losing(lose func(m *cluster.Message) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lose = lose
}

func (b *deafBus) Attach(ctx context.Context, a cluster.Attach) (cluster.Attachment, error) {
	receive := a.Receive
	a.Receive = func(m *cluster.Message, at adapter.Offset) {
		b.mu.Lock()
		lost := b.lose != nil && b.lose(m)
		b.mu.Unlock()
		if !lost {
			receive(m, at)
		}
	}
	return b.LoopbackBus.Attach(ctx, a)
}

// keeperNode is a node that recovers clients.
type keeperNode struct {
	t   *testing.T
	bus *deafBus
	p   *cluster.Provider
	a   adapter.Adapter
	s   adapter.SessionKeeper
}

func keeperFleet(t *testing.T, loop *cluster.Loopback, n int, opts adapter.Recovery) []*keeperNode {
	t.Helper()
	list := make([]*keeperNode, n)
	for i := range list {
		list[i] = newKeeperNode(t, loop, opts)
	}
	return list
}

func newKeeperNode(t *testing.T, loop *cluster.Loopback, opts adapter.Recovery) *keeperNode {
	t.Helper()
	if opts.Window == 0 {
		opts.Window = time.Minute
	}
	nd := &keeperNode{t: t, bus: &deafBus{LoopbackBus: loop.Bus()}}
	nd.p = cluster.NewProvider(nd.bus, cluster.Options{Recovery: true, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		_ = nd.p.Close(ctx) // killed nodes cannot say goodbye
	})
	a, err := nd.p.Open(t.Context(), &adaptertest.RecoveryHost{Host: adaptertest.NewHost("/", "node"), Options: opts})
	if err != nil {
		t.Fatal(err)
	}
	nd.a, nd.s = a, a.(adapter.SessionKeeper)
	return nd
}

func (nd *keeperNode) emit(events ...string) {
	nd.t.Helper()
	for _, e := range events {
		if err := nd.a.Broadcast(&adapter.Packet{Data: fmt.Appendf(nil, "[%q]", e)}, adapter.Target{Rooms: []string{"all"}}); err != nil {
			nd.t.Fatal(err)
		}
	}
}

// patron is a client of such nodes.
type patron struct {
	t      *testing.T
	id     string
	s      *adaptertest.Socket
	at     *keeperNode
	offset string
	got    []string
	seen   int
}

func (nd *keeperNode) arrive(id string) *patron {
	p := &patron{t: nd.t, id: id, s: adaptertest.NewSocket(id), at: nd}
	nd.a.Join(p.s, id, "all")
	nd.s.Keep(p.s, p.session())
	return p
}

func (p *patron) session() adapter.Session {
	return adapter.Session{ID: p.id, PID: fmt.Sprintf("%020s", p.id)}
}

// gets waits until the client has got exactly these events, each once.
func (p *patron) gets(want ...string) {
	p.t.Helper()
	p.has(len(want))
	if !slices.Equal(p.got, want) {
		p.t.Fatalf("%s got %v, want %v", p.id, p.got, want)
	}
}

// has waits until the client has got so many events.
func (p *patron) has(n int) {
	deadline := time.Now().Add(20 * time.Second)
	for p.read(); len(p.got) < n && time.Now().Before(deadline); p.read() {
		time.Sleep(time.Millisecond)
	}
}

func (p *patron) read() {
	for _, r := range p.s.Received()[p.seen:] {
		var args []string
		if json.Unmarshal(r.Packet.Data, &args) != nil || len(args) == 0 {
			p.t.Fatalf("%s got %s", p.id, r.Packet.Data)
		}
		p.got = append(p.got, args[0])
		p.seen++
		if len(args) > 1 {
			p.offset = args[1]
		}
	}
}

func (p *patron) lose() {
	p.read()
	p.at.s.Save(p.s, p.session())
	p.at.a.LeaveAll(p.s)
}

func (p *patron) claim(nd *keeperNode) (adapter.Claim, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return nd.s.Claim(ctx, p.session().PID, p.offset)
}

func (p *patron) comeBack(nd *keeperNode) {
	p.t.Helper()
	c, err := p.claim(nd)
	if err != nil {
		p.t.Fatal(err)
	}
	p.s, p.at, p.seen = adaptertest.NewSocket(p.id), nd, 0
	if err := c.Resume(p.s, func() {}, p.id); err != nil {
		p.t.Fatal(err)
	}
	c.Confirm()
}

func (p *patron) isRefused(nd *keeperNode) {
	p.t.Helper()
	if c, err := p.claim(nd); !errors.Is(err, adapter.ErrNoSession) {
		c.Release()
		p.t.Fatalf("claim: %v, want ErrNoSession", err)
	}
}

func isEvent(m *cluster.Message) bool { return m.Kind == cluster.Broadcast }

// What one node missed it gets from another: its sockets miss nothing, and neither
// do clients that come to it.
func TestAGapIsFilledByAPeer(t *testing.T) {
	t.Parallel()
	nodes := keeperFleet(t, cluster.NewLoopback(), 3, adapter.Recovery{})
	local, away := nodes[2].arrive("local"), nodes[0].arrive("away")
	nodes[0].emit("1")
	local.gets("1")
	away.gets("1")
	away.lose()
	nodes[2].bus.losing(isEvent)
	third := nodes[1].arrive("third")
	nodes[0].emit("2", "3", "mark")
	nodes[1].emit("4")
	third.has(4) // so that all are on the bus
	nodes[2].bus.losing(nil)
	nodes[0].emit("5")
	nodes[1].emit("6")
	local.has(7)
	checkOrder(t, "the client of the deaf node", local.got)
	away.comeBack(nodes[2])
	away.has(7)
	checkOrder(t, "the client that came back", away.got)
}

// checkOrder checks for the events of two senders, each in order.
func checkOrder(t *testing.T, who string, got []string) {
	t.Helper()
	var first, second []string
	for _, e := range got {
		if e == "4" || e == "6" {
			second = append(second, e)
		} else {
			first = append(first, e)
		}
	}
	if !slices.Equal(first, []string{"1", "2", "3", "mark", "5"}) || !slices.Equal(second, []string{"4", "6"}) {
		t.Fatalf("%s got %v", who, got)
	}
}

// The last events before a silence, which only a client knows of, are asked for.
func TestALostTailIsFilledForTheClientThatHasSeenIt(t *testing.T) {
	t.Parallel()
	nodes := keeperFleet(t, cluster.NewLoopback(), 3, adapter.Recovery{})
	local, away := nodes[2].arrive("local"), nodes[1].arrive("away")
	nodes[2].bus.losing(isEvent)
	nodes[0].emit("1", "2")
	away.gets("1", "2")
	away.lose()
	nodes[0].bus.Kill() // the sender is gone: another node has it
	away.comeBack(nodes[2])
	local.gets("1", "2")
	nodes[1].bus.Kill()
	nodes[2].emit("3")
	away.gets("1", "2", "3")
}

func TestWhatNobodyHasIsNotRecovered(t *testing.T) {
	t.Parallel()
	nodes := keeperFleet(t, cluster.NewLoopback(), 3, adapter.Recovery{})
	local, away, fresh := nodes[2].arrive("local"), nodes[2].arrive("away"), nodes[2].arrive("fresh")
	witness := nodes[0].arrive("witness")
	nodes[0].emit("1")
	for _, p := range []*patron{local, away, fresh, witness} {
		p.gets("1")
	}
	away.lose()
	var lost atomic.Int32
	for _, nd := range nodes[1:] { // the event is lost on the way to all, and what would tell of it
		nd.bus.losing(func(m *cluster.Message) bool {
			if isEvent(m) {
				lost.Add(1)
			}
			return true
		})
	}
	nodes[0].emit("2")
	witness.gets("1", "2")
	for deadline := time.Now().Add(20 * time.Second); lost.Load() < 2 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	nodes[0].bus.Kill()
	for _, nd := range nodes[1:] {
		nd.bus.losing(nil)
	}
	witness.isRefused(nodes[1]) // it has what this node never got
	nodes[1].emit("3")
	local.gets("1", "3")
	local.lose()
	local.comeBack(nodes[1]) // nobody can know of the event: it never was
}

// A gap in what arrived, which no node can fill: whoever may have missed something
// is not recovered, later clients are.
func TestAGapThatCannotBeFilledEndsSessions(t *testing.T) {
	t.Parallel()
	nodes := keeperFleet(t, cluster.NewLoopback(), 2, adapter.Recovery{MaxPackets: 2})
	local, away := nodes[1].arrive("local"), nodes[1].arrive("away")
	witness := nodes[0].arrive("witness")
	nodes[0].emit("1")
	local.gets("1")
	away.gets("1")
	away.lose()
	nodes[1].bus.losing(isEvent)
	nodes[0].emit("2", "3", "4", "5", "6") // the sender keeps the last two
	witness.gets("1", "2", "3", "4", "5", "6")
	nodes[1].bus.losing(nil)
	idle, elsewhere := nodes[1].arrive("idle"), nodes[1].arrive("elsewhere")
	if err := nodes[0].a.Broadcast(&adapter.Packet{Data: []byte(`["noticed"]`)}, adapter.Target{Rooms: []string{"elsewhere"}}); err != nil {
		t.Fatal(err)
	}
	elsewhere.gets("noticed")
	idle.lose()
	idle.isRefused(nodes[1]) // though nothing came after the gap
	nodes[0].emit("7")
	local.gets("1", "7")
	local.offset = away.offset
	local.lose()
	away.isRefused(nodes[1])
	away.isRefused(nodes[0])
	local.isRefused(nodes[1]) // its event before the gap
	next := nodes[1].arrive("next")
	nodes[0].emit("8")
	next.gets("8")
	next.lose()
	nodes[0].emit("9")
	next.comeBack(nodes[1])
	next.gets("8", "9")
}

// An event without a number may have been for a client that was away, or not.
func TestEventsWithoutNumbersEndTheSessionsTheyAreFor(t *testing.T) {
	t.Parallel()
	loop := cluster.NewLoopback()
	nodes := keeperFleet(t, loop, 2, adapter.Recovery{})
	emitter := cluster.NewProvider(loop.Bus(), cluster.Options{})
	t.Cleanup(func() { _ = emitter.Close(context.Background()) })
	away, other := nodes[0].arrive("away"), nodes[0].arrive("other")
	watcher := nodes[1].arrive("watcher")
	nodes[0].emit("1")
	away.gets("1")
	other.gets("1")
	watcher.gets("1")
	nodes[0].a.Leave(other.s, "all")
	away.lose()
	other.lose()
	err := emitter.Emit(&cluster.Message{
		Kind: cluster.Broadcast, Namespace: "/", Packet: &adapter.Packet{Data: []byte(`["2"]`)},
		Target: adapter.Target{Rooms: []string{"all"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	watcher.gets("1", "2")
	watcher.lose()
	away.isRefused(nodes[1])
	watcher.isRefused(nodes[1])
	other.comeBack(nodes[1])
}

// A node that starts while a client is away asks the others for what it missed.
func TestANewNodeReplaysWhatItsPeersKept(t *testing.T) {
	t.Parallel()
	loop := cluster.NewLoopback()
	nodes := keeperFleet(t, loop, 2, adapter.Recovery{})
	away, witness := nodes[0].arrive("away"), nodes[1].arrive("witness")
	nodes[0].emit("1")
	away.gets("1")
	away.lose()
	nodes[0].emit("2", "3")
	witness.gets("1", "2", "3")
	nodes[0].bus.Kill()
	fresh := newKeeperNode(t, loop, adapter.Recovery{})
	fresh.emit("4")
	away.comeBack(fresh)
	away.gets("1", "2", "3", "4")
}

func TestRecoveryNeedsABusThatCan(t *testing.T) {
	t.Parallel()
	host := &adaptertest.RecoveryHost{Host: adaptertest.NewHost("/", "node"), Options: adapter.Recovery{Window: time.Minute}}
	for want, p := range map[string]*cluster.Provider{
		"needs extensions":   cluster.NewProvider(cluster.NewLoopback().Bus(), cluster.Options{Recovery: true, NoExtensions: true}),
		"a channel per room": cluster.NewProvider(roomBus{cluster.NewLoopback().Bus()}, cluster.Options{Recovery: true}),
	} {
		if _, err := p.Open(t.Context(), host); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open: %v, want %q in it", err, want)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

type roomBus struct{ *cluster.LoopbackBus }

func (roomBus) Lane(m *cluster.Message) (cluster.Lane, bool) {
	if len(m.Target.Rooms) == 1 {
		return cluster.Lane{Room: m.Target.Rooms[0]}, true
	}
	return cluster.Lane{}, true
}
