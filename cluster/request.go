package cluster

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// peersTimeout bounds the count of nodes that precedes a request, so that a bus
// that hangs does not eat the time of the answers.
const peersTimeout = time.Second

// request is one question to the other nodes, until it is answered.
type request struct {
	// Immutable after begin.
	id      string
	began   time.Time
	peers   int // nodes asked
	answers *adapter.Collector
	cancel  context.CancelCauseFunc

	mu      sync.Mutex // guards the following; leaf lock
	unnamed bool       // an answer did not say who sent it
	from    map[adapter.NodeID]bool
	sockets []adapter.Remote
	rooms   []adapter.Room
}

// heard notes the sender of an answer, and keeps what the first answer of a node
// holds.
func (r *request) heard(m *Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.From == "" {
		r.unnamed = true
	} else if r.from[m.From] {
		return
	} else {
		r.from[m.From] = true
	}
	for _, s := range m.Sockets {
		s.Node = m.From
		r.sockets = append(r.sockets, s)
	}
	r.rooms = append(r.rooms, m.Rooms...)
}

// gathered returns what the answers held so far.
func (r *request) gathered() ([]adapter.Remote, []adapter.Room) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sockets, r.rooms
}

func (r *request) anonymous() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unnamed
}

// requests are the pending requests of one adapter, by id.
type requests struct {
	mu      sync.Mutex // guards the following; leaf lock
	closed  bool
	pending map[string]*request
}

func (q *requests) init() { q.pending = make(map[string]*request) }

func (q *requests) add(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.pending[r.id] = r
	return true
}

func (q *requests) remove(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.pending, id)
}

func (q *requests) get(id string) *request {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pending[id]
}

func (q *requests) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.pending)
}

func (q *requests) all() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := make([]*request, 0, len(q.pending))
	for _, r := range q.pending {
		list = append(list, r)
	}
	return list
}

// waiting reports whether a request from before t is pending.
func (q *requests) waiting(t time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.pending {
		if !r.began.After(t) {
			return true
		}
	}
	return false
}

// end cancels what is pending and refuses what comes later.
func (q *requests) end() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	for _, r := range q.all() {
		r.cancel(adapter.ErrClosed)
	}
}

// bound gives ctx the default deadline unless it has one, and a cancel function.
func (a *Adapter) bound(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	release := context.CancelFunc(func() {})
	if _, has := ctx.Deadline(); !has {
		ctx, release = context.WithTimeout(ctx, a.p.opts.RequestsTimeout)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, func(cause error) {
		cancel(cause)
		release()
	}
}

// begin registers a request to peers nodes, before it is published so that no
// answer is missed. It ends with ctx, whether or not somebody waits for it.
func (a *Adapter) begin(ctx context.Context, c *adapter.Collector, peers int, cancel context.CancelCauseFunc) (*request, bool) {
	r := &request{id: newID(), began: time.Now(), peers: peers, answers: c, cancel: cancel, from: make(map[adapter.NodeID]bool)}
	if !a.requests.add(r) {
		return nil, false
	}
	context.AfterFunc(ctx, func() { a.requests.remove(r.id) })
	return r, true
}

// ask sends m to the other nodes on behalf of a request whose collector already
// counts its peers.
func (a *Adapter) ask(ctx context.Context, c *adapter.Collector, peers int, cancel context.CancelCauseFunc, m *Message) (*request, error) {
	r, ok := a.begin(ctx, c, peers, cancel)
	if !ok {
		return nil, adapter.ErrClosed
	}
	m.RequestID = r.id
	if deadline, ok := ctx.Deadline(); ok {
		m.Timeout = max(time.Until(deadline), time.Millisecond)
	}
	if err := a.publish(m); err != nil {
		a.requests.remove(r.id)
		return nil, err
	}
	return r, nil
}

// others returns how many nodes there are besides this process. When the bus cannot tell, it is
// those heard so far, at least one, so that the wait is not cut short.
func (a *Adapter) others(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, peersTimeout)
	defer cancel()
	n, err := a.ServerCount(ctx)
	if err != nil {
		return max(a.nodes.len(), 1), err
	}
	if a.emitter {
		return n, nil
	}
	return n - 1, nil
}

// silent names the nodes r still waits for. When not every answer named its
// sender, these are of those that would have.
func (a *Adapter) silent(r *request) []adapter.NodeID {
	known := a.nodes.leased()
	if !r.anonymous() {
		known = a.nodes.recent(r.peers)
	}
	ids := r.answers.Silent(known)
	for i, id := range ids {
		ids[i] = a.nodes.name(id)
	}
	return ids
}

// stream yields r's answers.
func (a *Adapter) stream(ctx context.Context, r *request) iter.Seq2[adapter.Reply, error] {
	return r.answers.All(ctx, adapter.Hooks{
		Silent:  func() []adapter.NodeID { return a.silent(r) },
		Recount: a.others,
		Release: func() { r.cancel(nil) },
	})
}

// broken yields what seq yields, then a *PartialError.
func broken(seq iter.Seq2[adapter.Reply, error], op string, missing int, cause error) iter.Seq2[adapter.Reply, error] {
	return func(yield func(adapter.Reply, error) bool) {
		for r, err := range seq {
			if !yield(r, err) || err != nil {
				return
			}
		}
		yield(adapter.Reply{}, &adapter.PartialError{Op: op, Missing: missing, Err: cause})
	}
}

// BroadcastWithAck implements adapter.Adapter. The local sockets are served
// before the other nodes are counted.
func (a *Adapter) BroadcastWithAck(ctx context.Context, p *adapter.Packet, t adapter.Target) iter.Seq2[adapter.Reply, error] {
	const op = "BroadcastWithAck"
	ctx, cancel := a.bound(ctx)
	c := adapter.NewCollector(op, 0)
	local := a.DeliverLocalWithAck(ctx, p, t, func(r adapter.Reply) { c.Add(r) })
	c.Announce(local)
	alone := c.All(ctx, adapter.Hooks{Release: func() { cancel(nil) }})
	if t.Flags.Has(adapter.Local) {
		return alone
	}
	n, err := a.others(ctx)
	if n == 0 {
		return alone
	}
	r, perr := a.ask(ctx, c, n, cancel, &Message{Kind: Broadcast, Packet: p, Target: remote(t)})
	if perr != nil {
		return broken(alone, op, n, perr)
	}
	c.Expect(n)
	if err != nil {
		a.host.Logger().Debug("socketio: counting nodes failed", "event", "cluster.count_failed", "namespace", a.ns, "error", err)
	}
	return a.stream(ctx, r)
}

// ServerSideEmitWithAck implements adapter.Adapter.
func (a *Adapter) ServerSideEmitWithAck(ctx context.Context, p *adapter.Packet) iter.Seq2[adapter.Reply, error] {
	const op = "ServerSideEmitWithAck"
	ctx, cancel := a.bound(ctx)
	n, err := a.others(ctx)
	if n == 0 {
		cancel(nil)
		return emptyReplies()
	}
	if err != nil {
		cancel(nil)
		return broken(emptyReplies(), op, n, err)
	}
	r, err := a.ask(ctx, adapter.NewCollector(op, n), n, cancel, &Message{Kind: ServerSideEmit, Packet: p})
	if err != nil {
		cancel(nil)
		return broken(emptyReplies(), op, n, err)
	}
	return a.stream(ctx, r)
}

// gather asks every other node m and waits for one answer each.
func (a *Adapter) gather(ctx context.Context, op string, m *Message) (*request, error) {
	ctx, cancel := a.bound(ctx)
	defer cancel(nil)
	n, err := a.others(ctx)
	if n == 0 {
		return &request{}, nil
	}
	if err != nil {
		return &request{}, &adapter.PartialError{Op: op, Missing: n, Err: err}
	}
	r, err := a.ask(ctx, adapter.NewCollector(op, n), n, cancel, m)
	if err != nil {
		return &request{}, &adapter.PartialError{Op: op, Missing: n, Err: err}
	}
	for _, err = range a.stream(ctx, r) {
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

// FetchSockets implements adapter.Adapter.
func (a *Adapter) FetchSockets(ctx context.Context, t adapter.Target) ([]adapter.Remote, error) {
	list, err := a.Adapter.FetchSockets(ctx, t)
	if err != nil || t.Flags.Has(adapter.Local) {
		return list, err
	}
	r, err := a.gather(ctx, "FetchSockets", &Message{Kind: FetchSockets, Target: remote(t)})
	sockets, _ := r.gathered()
	return append(list, sockets...), err
}

// AllRooms implements adapter.RoomLister: the rooms of all nodes, each once.
// Where the wire has no such request it asks for all sockets.
func (a *Adapter) AllRooms(ctx context.Context) ([]adapter.Room, error) {
	rooms := a.Rooms()
	m := &Message{Kind: AllRooms}
	if a.p.layout != nil {
		if _, ok := a.p.layout.Lane(m); !ok {
			m.Kind = FetchSockets
		}
	}
	r, err := a.gather(ctx, "AllRooms", m)
	sockets, more := r.gathered()
	for i := range sockets {
		more = append(more, sockets[i].Rooms...)
	}
	seen := make(map[adapter.Room]bool, len(rooms)+len(more))
	for _, name := range rooms {
		seen[name] = true
	}
	for _, name := range more {
		if !seen[name] {
			seen[name] = true
			rooms = append(rooms, name)
		}
	}
	return rooms, err
}
