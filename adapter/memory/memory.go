package memory

import (
	"context"
	"iter"
	"net/url"

	"github.com/socketfleet/socketfleet/adapter"
)

// Adapter is the adapter of one namespace of a server of one node. Its methods
// beyond adapter.Adapter are what a clustered adapter builds on.
type Adapter struct {
	// Immutable after New.
	host adapter.Host
	ns   string
	opts Options

	t table
}

var (
	_ adapter.Adapter     = (*Adapter)(nil)
	_ adapter.RoomLister  = (*Adapter)(nil)
	_ adapter.RoomCounter = (*Adapter)(nil)
)

// New returns the adapter of h's namespace. It starts no goroutine.
func New(h adapter.Host, opts Options) *Adapter {
	a := &Adapter{host: h, ns: h.Namespace(), opts: opts}
	a.t.init()
	a.t.events.on = !opts.empty()
	a.t.events.observer, _ = h.(adapter.RoomObserver)
	return a
}

type provider struct{ opts Options }

// NewProvider returns a provider of independent in-memory adapters.
func NewProvider(opts Options) adapter.Provider { return provider{opts} }

func (p provider) Open(_ context.Context, h adapter.Host) (adapter.Adapter, error) {
	a := New(h, p.opts)
	if rh, ok := h.(adapter.RecoveryHost); ok {
		if r := rh.Recovery(); r != nil {
			return newRecovering(a, *r), nil
		}
	}
	return a, nil
}

func (p provider) Close(context.Context) error { return nil }

func init() {
	adapter.Register("memory", func(_ context.Context, u *url.URL) (adapter.Provider, error) {
		if err := adapter.NewParams(u).Err(); err != nil {
			return nil, err
		}
		return NewProvider(Options{}), nil
	})
}

// Join implements adapter.Adapter. A member that does not take part joins
// nothing unless rooms holds its own id.
func (a *Adapter) Join(m adapter.Member, rooms ...adapter.Room) { a.join(m, rooms, true) }

func (a *Adapter) join(m adapter.Member, rooms []adapter.Room, register bool) {
	a.t.mu.Lock()
	defer a.unlockAndTell()
	a.joinLocked(m, rooms, register)
}

func (a *Adapter) joinLocked(m adapter.Member, rooms []adapter.Room, register bool) {
	id := m.ID()
	if a.t.closed {
		return
	}
	e := a.t.lookupLocked(m)
	if e == nil {
		if !register || !contains(rooms, id) {
			return
		}
		e = a.t.registerLocked(m)
	}
	for _, r := range rooms {
		a.t.joinLocked(e, r)
	}
}

func contains(rooms []adapter.Room, id adapter.SocketID) bool {
	for _, r := range rooms {
		if r == id {
			return true
		}
	}
	return false
}

// JoinLater is Join without reporting the change, for callers that hold a lock:
// they call tell once they do not.
func (a *Adapter) JoinLater(m adapter.Member, rooms ...adapter.Room) (tell func()) {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	a.joinLocked(m, rooms, true)
	return func() {
		a.t.mu.Lock()
		a.unlockAndTell()
	}
}

// Leave implements adapter.Adapter.
func (a *Adapter) Leave(m adapter.Member, rooms ...adapter.Room) {
	a.t.mu.Lock()
	defer a.unlockAndTell()
	e := a.t.lookupLocked(m)
	if e == nil {
		return
	}
	for _, r := range rooms {
		a.t.leaveLocked(e, r)
	}
}

// LeaveAll implements adapter.Adapter.
func (a *Adapter) LeaveAll(m adapter.Member) {
	a.t.mu.Lock()
	defer a.unlockAndTell()
	if e := a.t.lookupLocked(m); e != nil {
		a.t.removeLocked(e)
	}
}

// RoomsOf implements adapter.Adapter: the room of m's own id comes first.
func (a *Adapter) RoomsOf(m adapter.Member) []adapter.Room {
	a.t.mu.RLock()
	defer a.t.mu.RUnlock()
	e := a.t.lookupLocked(m)
	if e == nil {
		return nil
	}
	return e.roomsLocked()
}

func (e *entry) roomsLocked() []adapter.Room {
	rooms := make([]adapter.Room, 0, len(e.in)+1)
	if e.own {
		rooms = append(rooms, e.id)
	}
	for _, l := range e.in {
		rooms = append(rooms, l.room.name)
	}
	return rooms
}

// HasRoom reports whether a room has a local member.
func (a *Adapter) HasRoom(r adapter.Room) bool {
	a.t.mu.RLock()
	defer a.t.mu.RUnlock()
	return a.t.existsLocked(r)
}

// Rooms returns the rooms that have a local member, socket rooms included.
func (a *Adapter) Rooms() []adapter.Room {
	a.t.mu.RLock()
	defer a.t.mu.RUnlock()
	rooms := make([]adapter.Room, 0, len(a.t.rooms)+len(a.t.byID))
	for name := range a.t.rooms {
		rooms = append(rooms, name)
	}
	for id, e := range a.t.byID {
		if e.own && a.t.rooms[id] == nil {
			rooms = append(rooms, id)
		}
	}
	return rooms
}

// RoomCount implements adapter.RoomCounter.
func (a *Adapter) RoomCount() int {
	a.t.mu.RLock()
	defer a.t.mu.RUnlock()
	return len(a.t.rooms)
}

// AllRooms implements adapter.RoomLister.
func (a *Adapter) AllRooms(context.Context) ([]adapter.Room, error) { return a.Rooms(), nil }

// Members returns the local sockets t selects, each once.
func (a *Adapter) Members(t adapter.Target) []adapter.Member {
	a.t.mu.RLock()
	defer a.t.mu.RUnlock()
	var ms []adapter.Member
	a.t.selectLocked(&t, func(e *entry) { ms = append(ms, e.m) })
	return ms
}

// Each calls fn for each local socket t selects, once. fn runs under the adapter's
// lock: it must not call the adapter, nor block.
func (a *Adapter) Each(t adapter.Target, fn func(adapter.Member)) {
	a.t.mu.RLock()
	defer a.t.mu.RUnlock()
	a.t.selectLocked(&t, func(e *entry) { fn(e.m) })
}

// DeliverLocal queues p for the local sockets t selects and returns how many
// there are.
func (a *Adapter) DeliverLocal(p *adapter.Packet, t adapter.Target) int {
	return a.to(a.host.Deliver(p, t.Flags), &t, nil)
}

// DeliverLocalWithAck is DeliverLocal for a packet that asks each socket for an
// answer. ack may be called before it returns: among others with the error of
// each socket that cannot take the packet, which counts like an answer.
func (a *Adapter) DeliverLocalWithAck(ctx context.Context, p *adapter.Packet, t adapter.Target, ack func(adapter.Reply)) int {
	return a.to(a.host.DeliverWithAck(ctx, p, t.Flags, ack), &t, ack)
}

func (a *Adapter) to(d adapter.Delivery, t *adapter.Target, ack func(adapter.Reply)) int {
	a.t.mu.RLock()
	defer a.t.mu.RUnlock()
	if f, ok := d.(adapter.Finisher); ok {
		defer f.Done()
	}
	n := 0
	a.t.selectLocked(t, func(e *entry) {
		n++
		if err := d.To(e.m); err != nil && ack != nil {
			ack(adapter.Reply{Socket: e.id, Err: err})
		}
	})
	return n
}

// Send implements adapter.Adapter.
func (a *Adapter) Send(ctx context.Context, m adapter.Member, p *adapter.Packet, f adapter.Flags, ack func(adapter.Reply)) error {
	if ack == nil {
		return a.host.Deliver(p, f).To(m)
	}
	return a.host.DeliverWithAck(ctx, p, f, ack).To(m)
}

// Broadcast implements adapter.Adapter.
func (a *Adapter) Broadcast(p *adapter.Packet, t adapter.Target) error {
	a.DeliverLocal(p, t)
	return nil
}

// BroadcastWithAck implements adapter.Adapter. Without a deadline in ctx it may
// wait for as long as a socket stays connected and silent.
func (a *Adapter) BroadcastWithAck(ctx context.Context, p *adapter.Packet, t adapter.Target) iter.Seq2[adapter.Reply, error] {
	ctx, cancel := context.WithCancel(ctx)
	c := adapter.NewCollector("BroadcastWithAck", 0)
	n := a.DeliverLocalWithAck(ctx, p, t, func(r adapter.Reply) { c.Add(r) })
	c.Announce(n)
	if n == 0 {
		cancel()
	}
	return c.All(ctx, adapter.Hooks{Release: cancel})
}

// SocketsJoin implements adapter.Adapter.
func (a *Adapter) SocketsJoin(_ context.Context, t adapter.Target, rooms ...adapter.Room) error {
	for _, m := range a.Members(t) {
		a.join(m, rooms, false)
	}
	return nil
}

// SocketsLeave implements adapter.Adapter.
func (a *Adapter) SocketsLeave(_ context.Context, t adapter.Target, rooms ...adapter.Room) error {
	for _, m := range a.Members(t) {
		a.Leave(m, rooms...)
	}
	return nil
}

// DisconnectSockets implements adapter.Adapter.
func (a *Adapter) DisconnectSockets(_ context.Context, t adapter.Target, closeConn bool) error {
	for _, m := range a.Members(t) {
		a.host.Disconnect(m, closeConn)
	}
	return nil
}

// FetchSockets implements adapter.Adapter.
func (a *Adapter) FetchSockets(_ context.Context, t adapter.Target) ([]adapter.Remote, error) {
	ms := a.Members(t)
	remotes := make([]adapter.Remote, 0, len(ms))
	for _, m := range ms {
		r := a.host.Describe(m)
		if r.Rooms = a.RoomsOf(m); r.Rooms != nil { // nil: it left meanwhile
			remotes = append(remotes, r)
		}
	}
	return remotes, nil
}

// ServerSideEmit implements adapter.Adapter: there is no other node.
func (a *Adapter) ServerSideEmit(*adapter.Packet) error { return nil }

// ServerSideEmitWithAck implements adapter.Adapter and yields nothing.
func (a *Adapter) ServerSideEmitWithAck(context.Context, *adapter.Packet) iter.Seq2[adapter.Reply, error] {
	return func(func(adapter.Reply, error) bool) {}
}

// ServerCount implements adapter.Adapter: always 1.
func (a *Adapter) ServerCount(context.Context) (int, error) { return 1, nil }

// Close implements adapter.Adapter: it drops all members without reporting them.
func (a *Adapter) Close(context.Context) error {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	a.t.closed = true
	a.t.init()
	return nil
}
