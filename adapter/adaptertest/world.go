package adaptertest

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// patience bounds every wait of the suite.
const patience = 30 * time.Second

// node is one namespace of one node.
type node struct {
	a     adapter.Adapter
	host  *Host
	socks []*Socket
}

// world is a deployment with two sockets on each node. The first socket of every
// node is in the room red, the second in blue, all in both; the very last one is
// alone in last.
type world struct {
	t     testing.TB
	ns    string
	nodes []*node
	tags  atomic.Int64

	provider []adapter.Provider
	allRooms bool
}

func newWorld(t testing.TB, h Harness, n int, ns string) *world {
	t.Helper()
	w := &world{t: t, ns: ns, provider: h.Nodes(t, n), nodes: make([]*node, n), allRooms: h.AllRooms}
	errs := make([]error, n)
	var opening sync.WaitGroup // at once, as a fleet that is started does
	for i, p := range w.provider {
		host := NewHost(ns, fmt.Sprintf("node%d", i))
		host.SetAnswer(func(*adapter.Packet) *adapter.Packet { return packet(fmt.Sprintf(`["pong",%d]`, i)) })
		w.nodes[i] = &node{host: host}
		opening.Go(func() {
			ctx, cancel := closing()
			defer cancel()
			w.nodes[i].a, errs[i] = p.Open(ctx, host)
		})
	}
	opening.Wait()
	for i, err := range errs {
		if err == nil {
			a, p := w.nodes[i].a, w.provider[i] // cases take nodes away
			t.Cleanup(func() { shut(t, a, p) })
		}
	}
	for i, err := range errs {
		if err != nil {
			t.Fatalf("Open node %d: %v", i, err)
		}
	}
	w.poll("all nodes are counted", func() bool {
		return !slices.ContainsFunc(w.nodes, func(nd *node) bool {
			got, err := nd.a.ServerCount(t.Context())
			return err != nil || got != n
		})
	})
	for i := range w.nodes {
		w.socket(i, "red", "both")
		w.socket(i, "blue", "both")
	}
	last := w.nodes[n-1]
	last.a.Join(last.socks[1], "last")
	w.ready("red", "blue", "both", "last")
	return w
}

func shut(t testing.TB, a adapter.Adapter, p adapter.Provider) {
	ctx, cancel := closing()
	defer cancel()
	if err := a.Close(ctx); err != nil {
		t.Errorf("Adapter.Close: %v", err)
	}
	if err := p.Close(ctx); err != nil {
		t.Errorf("Provider.Close: %v", err)
	}
}

// socket adds a socket with an id of the reference's length to node i.
func (w *world) socket(i int, rooms ...adapter.Room) *Socket {
	nd := w.nodes[i]
	s := NewSocket(fmt.Sprintf("Node%d-Socket%d-%06d", i, len(nd.socks), w.tags.Add(1)))
	s.Data = json.RawMessage(fmt.Sprintf(`{"user":"u%d-%d","bin":[1,2.5,null]}`, i, len(nd.socks)))
	s.Handshake = json.RawMessage(`{"headers":{"x":"y"},"time":"T","address":"127.0.0.1","xdomain":false,` +
		`"secure":false,"issued":1700000000000,"url":"/socket.io/","query":{"EIO":"4"},"auth":{"token":"ü"}}`)
	s.SetAnswer(func(*adapter.Packet) *adapter.Packet { return packet(fmt.Sprintf(`[%q]`, s.id)) })
	nd.socks = append(nd.socks, s)
	nd.a.Join(s, append([]adapter.Room{s.id}, rooms...)...)
	return s
}

// all returns every socket of every node.
func (w *world) all() []*Socket {
	var list []*Socket
	for _, nd := range w.nodes {
		list = append(list, nd.socks...)
	}
	return list
}

// in returns the sockets of every node that are in a room now.
func (w *world) in(room adapter.Room) []*Socket {
	var list []*Socket
	for _, nd := range w.nodes {
		for _, s := range nd.socks {
			if slices.Contains(nd.a.RoomsOf(s), room) {
				list = append(list, s)
			}
		}
	}
	return list
}

// poll waits until cond holds.
func (w *world) poll(what string, cond func() bool) {
	w.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			w.t.Fatalf("gave up waiting until %s", what)
		}
	}
}

// ready waits until every node reaches every member of rooms, and of the
// namespace: adapters may subscribe to a room some time after its first join.
func (w *world) ready(rooms ...adapter.Room) {
	w.t.Helper()
	for i := range w.nodes {
		w.reach(i, adapter.Target{}, w.all())
		for _, room := range rooms {
			w.reach(i, adapter.Target{Rooms: []adapter.Room{room}}, w.in(room))
		}
	}
}

// reach sends probes from node i until all of want got one.
func (w *world) reach(i int, t adapter.Target, want []*Socket) {
	w.t.Helper()
	tag := w.tags.Add(1)
	probe := packet(fmt.Sprintf(`["#probe",%d]`, tag))
	resend := 0
	w.poll(fmt.Sprintf("node %d reaches %d sockets of %q", i, len(want), t.Rooms), func() bool {
		if resend%16 == 0 {
			w.must(w.nodes[i].a.Broadcast(probe, t))
		}
		resend++
		return !slices.ContainsFunc(want, func(s *Socket) bool { return !s.has(probe) })
	})
}

// fence sends a packet from every node to everyone and waits for it, so that
// what was sent before on the same paths has arrived as well.
func (w *world) fence() {
	w.t.Helper()
	for i := range w.nodes {
		w.reach(i, adapter.Target{}, w.all())
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) ctx(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	w.t.Cleanup(cancel)
	return ctx
}

// expect waits until exactly want, and nobody else, got p once each.
func (w *world) expect(p *adapter.Packet, want ...*Socket) {
	w.t.Helper()
	for _, s := range want {
		w.poll(s.id+" gets "+string(p.Data), func() bool { return s.has(p) })
	}
	w.fence()
	for _, s := range w.all() {
		n := 0
		if slices.Contains(want, s) {
			n = 1
		}
		if got := s.count(p); got != n {
			w.t.Errorf("%s got %s %d times, want %d", s.id, p.Data, got, n)
		}
	}
}

// event makes a packet no other call makes.
func (w *world) event(name string) *adapter.Packet {
	return packet(fmt.Sprintf(`[%q,%d,{"deep":["ü",null,1.5,true]}]`, name, w.tags.Add(1)))
}

func packet(data string) *adapter.Packet { return &adapter.Packet{Data: []byte(data)} }

func (s *Socket) has(p *adapter.Packet) bool { return s.count(p) > 0 }

func (s *Socket) count(p *adapter.Packet) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.got {
		if samePacket(r.Packet, p) {
			n++
		}
	}
	return n
}

// events returns the JSON texts of what s got, without the suite's own probes.
func (s *Socket) events() []string {
	var list []string
	for _, r := range s.Received() {
		if text := string(r.Packet.Data); !strings.HasPrefix(text, `["#`) {
			list = append(list, text)
		}
	}
	return list
}

func samePacket(a, b *adapter.Packet) bool {
	if len(a.Attachments) != len(b.Attachments) || !sameJSON(a.Data, b.Data) {
		return false
	}
	for i := range a.Attachments {
		if string(a.Attachments[i].Data) != string(b.Attachments[i].Data) {
			return false
		}
	}
	return true
}

func sameJSON(a, b []byte) bool {
	if string(a) == string(b) {
		return true
	}
	if len(a) > 8*len(b)+64 || len(b) > 8*len(a)+64 {
		return false // no encoding differs that much
	}
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

func to(rooms ...adapter.Room) adapter.Target { return adapter.Target{Rooms: rooms} }
