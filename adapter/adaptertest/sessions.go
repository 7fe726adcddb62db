package adaptertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// RecoveryHost is a Host that wants connection state recovery.
type RecoveryHost struct {
	*Host
	Options adapter.Recovery
	// Strip removes the offset from what sockets receive.
	Strip bool
}

var _ adapter.RecoveryHost = (*RecoveryHost)(nil)

// Recovery implements adapter.RecoveryHost.
func (h *RecoveryHost) Recovery() *adapter.Recovery { return &h.Options }

// Deliver implements adapter.Host.
func (h *RecoveryHost) Deliver(p *adapter.Packet, f adapter.Flags) adapter.Delivery {
	if h.Strip && !f.Has(adapter.Volatile) {
		if data, _, ok := cutOffset(p.Data); ok {
			q := *p
			q.Data = data
			p = &q
		}
	}
	return h.Host.Deliver(p, f)
}

// cutOffset takes the last argument of an event, which must be a string, off.
func cutOffset(data []byte) (rest []byte, offset adapter.Offset, ok bool) {
	var args []json.RawMessage
	if json.Unmarshal(data, &args) != nil || len(args) < 2 || json.Unmarshal(args[len(args)-1], &offset) != nil {
		return data, "", false
	}
	rest, err := json.Marshal(args[:len(args)-1])
	return rest, offset, err == nil
}

// WithRecovery returns a provider whose adapters recover sessions, while sockets
// receive events without the offset: for Run.
func WithRecovery(p adapter.Provider) adapter.Provider { return recoveringProvider{p} }

type recoveringProvider struct{ adapter.Provider }

func (p recoveringProvider) Open(ctx context.Context, h adapter.Host) (adapter.Adapter, error) {
	host, ok := h.(*Host)
	if !ok {
		return p.Provider.Open(ctx, h)
	}
	return p.Provider.Open(ctx, &RecoveryHost{Host: host, Options: adapter.Recovery{Window: time.Minute}, Strip: true})
}

// RunSessions runs the suite of adapter.SessionStore against h, whose adapters must
// implement it for hosts that want recovery.
func RunSessions(t *testing.T, h Harness) {
	t.Helper()
	if h.MaxNodes == 0 {
		h.MaxNodes = 3
	}
	for _, n := range []int{1, 3} {
		if n > h.MaxNodes {
			continue
		}
		t.Run(fmt.Sprintf("nodes=%d", n), func(t *testing.T) {
			for _, c := range sessionCases {
				t.Run(c.name, func(t *testing.T) { c.run(t, newShelter(t, h, n, "/"+c.name, c.opts)) })
			}
		})
	}
}

type sessionCase struct {
	name string
	opts adapter.Recovery
	run  func(t *testing.T, w *shelter)
}

// shelter is a deployment without sockets whose nodes keep sessions.
type shelter struct {
	world
	stores  []adapter.SessionStore
	keepers bool
	orders  bool // Harness.OwnOrders

	mu      sync.Mutex // guards the following
	expired []adapter.Session
}

func newShelter(t *testing.T, h Harness, n int, ns string, opts adapter.Recovery) *shelter {
	t.Helper()
	w := &shelter{world: world{t: t, ns: ns, provider: h.Nodes(t, n)}, orders: h.OwnOrders}
	if opts.Window == 0 {
		opts.Window = time.Minute
	}
	opts.Grace = patience
	opts.Expired = func(list []adapter.Session) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.expired = append(w.expired, list...)
	}
	for i, p := range w.provider {
		host := &RecoveryHost{Host: NewHost(ns, fmt.Sprintf("node%d", i)), Options: opts}
		ctx, cancel := closing()
		a, err := p.Open(ctx, host)
		cancel()
		if err != nil {
			t.Fatalf("Open node %d: %v", i, err)
		}
		t.Cleanup(func() { shut(t, a, p) })
		store, ok := a.(adapter.SessionStore)
		if !ok {
			t.Fatalf("%T keeps no sessions", a)
		}
		w.nodes = append(w.nodes, &node{a: a, host: host.Host})
		w.stores = append(w.stores, store)
		_, w.keepers = a.(adapter.SessionKeeper)
	}
	w.poll("all nodes are counted", func() bool {
		return !slices.ContainsFunc(w.nodes, func(nd *node) bool {
			got, err := nd.a.ServerCount(t.Context())
			return err != nil || got != n
		})
	})
	return w
}

// guest is a client whose session survives its connections.
type guest struct {
	w    *shelter
	pid  string
	id   adapter.SocketID
	node int
	s    *Socket
	seen int // of what s received
	// offset is that of the last event the client has taken.
	offset adapter.Offset
}

// arrive connects a new client to a node.
func (w *shelter) arrive(i int, rooms ...adapter.Room) *guest {
	n := w.tags.Add(1)
	g := &guest{w: w, node: i, id: fmt.Sprintf("guest-%014d", n), pid: fmt.Sprintf("%020d", n+int64(len(w.ns))*1e9+time.Now().UnixNano()%1e9*1e4)}
	g.s = NewSocket(g.id)
	w.nodes[i].a.Join(g.s, append([]adapter.Room{g.id}, rooms...)...)
	g.keep(json.RawMessage(`{"name":"ü"}`))
	return g
}

func (g *guest) session(data json.RawMessage) adapter.Session {
	return adapter.Session{ID: g.id, PID: g.pid, Data: data}
}

func (g *guest) keep(data json.RawMessage) {
	if k, ok := g.w.stores[g.node].(adapter.SessionKeeper); ok {
		k.Keep(g.s, g.session(data))
	}
}

// take waits for the client's next events and returns them without offsets.
func (g *guest) take(n int) []string {
	g.w.t.Helper()
	g.w.poll(fmt.Sprintf("%s gets %d more events", g.id, n), func() bool { return len(g.s.Received()) >= g.seen+n })
	list := []string{}
	for _, r := range g.s.Received()[g.seen : g.seen+n] {
		data, offset, ok := cutOffset(r.Packet.Data)
		if !ok {
			g.w.t.Fatalf("%s has no offset", r.Packet.Data)
		}
		g.offset = offset
		list = append(list, string(data))
	}
	g.seen += n
	return list
}

// lose ends the connection, so that the client may come back.
func (g *guest) lose() {
	g.s.Close()
	g.w.stores[g.node].Save(g.s, g.session(json.RawMessage(`{"name":"ü"}`)))
	g.w.nodes[g.node].a.LeaveAll(g.s)
	g.w.written(g.node)
}

// written waits until what a node was told of its sessions can be seen by all: a
// Claim on the same node is behind it.
func (w *shelter) written(i int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := w.stores[i].Claim(ctx, "00000000000000000000", ""); !errors.Is(err, adapter.ErrNoSession) {
		w.t.Errorf("claim of nothing: %v", err)
	}
}

// claim asks a node for the session.
func (g *guest) claim(i int) (adapter.Claim, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return g.w.stores[i].Claim(ctx, g.pid, g.offset)
}

// comeBack resumes the session on a node.
func (g *guest) comeBack(i int) {
	g.w.t.Helper()
	c, err := g.claim(i)
	g.w.must(err)
	g.w.must(g.resume(i, c))
	c.Confirm()
}

func (g *guest) resume(i int, c adapter.Claim) error {
	g.s, g.seen, g.node = NewSocket(g.id), 0, i
	ready := false
	if err := c.Resume(g.s, func() { ready = true }, g.id); err != nil {
		return err
	}
	if !ready {
		return errors.New("ready was not called")
	}
	return nil
}

// send broadcasts an event from a node.
func (w *shelter) send(i int, name string, t adapter.Target) {
	w.t.Helper()
	w.must(w.nodes[i].a.Broadcast(packet(fmt.Sprintf(`[%q]`, name)), t))
}

func (w *shelter) noSession(err error) {
	w.t.Helper()
	if !errors.Is(err, adapter.ErrNoSession) {
		w.t.Fatalf("claim: %v, want ErrNoSession", err)
	}
}

func (w *shelter) equal(what string, got, want any) {
	w.t.Helper()
	if g, wa := fmt.Sprint(got), fmt.Sprint(want); g != wa {
		w.t.Fatalf("%s: got %s, want %s", what, g, wa)
	}
}

// last is the node furthest from the first.
func (w *shelter) last() int { return len(w.nodes) - 1 }
