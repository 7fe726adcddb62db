package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/memory"
)

// Adapter is one namespace of one node: a memory.Adapter and its part in the
// cluster.
type Adapter struct {
	*memory.Adapter

	// Immutable after Provider.Open.
	p     *Provider
	host  adapter.Host
	ns    string
	self  adapter.NodeID
	epoch uint64 // 0: no extensions
	att   Attachment
	rec   *recovering // nil without recovery

	emitter bool // of OpenEmitter

	requests requests
	answers  answers
	nodes    nodes
	seqs     sequences

	closed    atomic.Bool
	closeOnce sync.Once
	closeErr  error
}

var (
	_ adapter.Adapter     = (*Adapter)(nil)
	_ adapter.RoomLister  = (*Adapter)(nil)
	_ adapter.RoomAwaiter = (*Adapter)(nil)
)

func newAdapter(p *Provider, h adapter.Host) *Adapter {
	a := &Adapter{p: p, host: h, ns: h.Namespace(), self: newID()}
	a.requests.init()
	a.answers.init()
	a.nodes.init()
	a.seqs.init()
	if !p.opts.NoExtensions {
		a.epoch = newEpoch()
	}
	user := p.opts.Rooms
	a.Adapter = memory.New(h, memory.Options{
		RoomCreated: func(ns string, r adapter.Room) {
			a.seqs.dropRoom(r)
			a.att.RoomCreated(r)
			if user.RoomCreated != nil {
				user.RoomCreated(ns, r)
			}
		},
		RoomDeleted: func(ns string, r adapter.Room) {
			a.att.RoomDeleted(r)
			if user.RoomDeleted != nil {
				user.RoomDeleted(ns, r)
			}
		},
		Joined: func(ns string, r adapter.Room, m adapter.Member) {
			if a.rec != nil {
				a.rec.joined(m)
			}
			if user.Joined != nil {
				user.Joined(ns, r, m)
			}
		},
		Left: func(ns string, r adapter.Room, m adapter.Member) {
			if a.rec != nil {
				a.rec.left(m)
			}
			if user.Left != nil {
				user.Left(ns, r, m)
			}
		},
	})
	return a
}

// newID returns 16 hexadecimal digits, the form of the reference's node and
// request ids.
func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Self returns the id this namespace of this node has among its peers.
func (a *Adapter) Self() adapter.NodeID { return a.self }

// publish queues m for the other nodes.
func (a *Adapter) publish(m *Message) error {
	if a.closed.Load() {
		return adapter.ErrClosed
	}
	m.From, m.Namespace = a.self, a.ns
	a.extend(m)
	volatile := m.Target.Flags.Has(adapter.Volatile) && m.Kind == Broadcast && m.RequestID == "" || isBeat(m.Kind)
	it := newOutgoing(m, volatile)
	it.told = a.follows(m.Packet)
	return a.p.pub.out.push(it, false)
}

// extend marks m as a message with extensions.
func (a *Adapter) extend(m *Message) {
	if a.epoch != 0 {
		m.Ext.Version, m.Ext.Epoch = ExtVersion, a.epoch
		if m.Packet != nil {
			m.Ext.Sent = time.Now().UnixMicro()
		}
	}
}

func isBeat(k Kind) bool { return k == Heartbeat || k == InitialHeartbeat }

// reply queues an answer to the node that sent req.
func (a *Adapter) reply(req *Message, m *Message) { a.replyLater(req, m, nil) }

// replyLater is reply for an answer that takes long to make: build completes it
// on the replier's goroutine.
func (a *Adapter) replyLater(req *Message, m *Message, build func(*Message)) {
	m.From, m.Namespace, m.RequestID = a.self, a.ns, req.RequestID
	if req.From != "" { // else it is an old form, whose answers are exact
		a.extend(m)
	}
	it := outgoing{m: m, to: req.From, build: build, size: sizeOf(m), at: time.Now()}
	// What does not fit is counted by the queue; the requester times out.
	_ = a.p.replies.out.push(it, false)
}

// remote returns t as other nodes should see it: a copy, since it outlives the
// call.
func remote(t adapter.Target) adapter.Target {
	return adapter.Target{Rooms: slices.Clone(t.Rooms), Except: slices.Clone(t.Except), Flags: t.Flags}
}

// Broadcast implements adapter.Adapter.
func (a *Adapter) Broadcast(p *adapter.Packet, t adapter.Target) error {
	a.DeliverLocal(p, t)
	if t.Flags.Has(adapter.Local) {
		return nil
	}
	return a.publish(&Message{Kind: Broadcast, Packet: p, Target: remote(t)})
}

// SocketsJoin implements adapter.Adapter.
func (a *Adapter) SocketsJoin(ctx context.Context, t adapter.Target, rooms ...adapter.Room) error {
	if err := a.Adapter.SocketsJoin(ctx, t, rooms...); err != nil || t.Flags.Has(adapter.Local) {
		return err
	}
	return a.publish(&Message{Kind: SocketsJoin, Target: remote(t), Rooms: slices.Clone(rooms)})
}

// SocketsLeave implements adapter.Adapter.
func (a *Adapter) SocketsLeave(ctx context.Context, t adapter.Target, rooms ...adapter.Room) error {
	if err := a.Adapter.SocketsLeave(ctx, t, rooms...); err != nil || t.Flags.Has(adapter.Local) {
		return err
	}
	return a.publish(&Message{Kind: SocketsLeave, Target: remote(t), Rooms: slices.Clone(rooms)})
}

// DisconnectSockets implements adapter.Adapter.
func (a *Adapter) DisconnectSockets(ctx context.Context, t adapter.Target, closeConn bool) error {
	if err := a.Adapter.DisconnectSockets(ctx, t, closeConn); err != nil || t.Flags.Has(adapter.Local) {
		return err
	}
	return a.publish(&Message{Kind: DisconnectSockets, Target: remote(t), Close: closeConn})
}

// ServerSideEmit implements adapter.Adapter.
func (a *Adapter) ServerSideEmit(p *adapter.Packet) error {
	return a.publish(&Message{Kind: ServerSideEmit, Packet: p})
}

// ServerCount implements adapter.Adapter.
func (a *Adapter) ServerCount(ctx context.Context) (int, error) {
	if a.closed.Load() {
		return 0, adapter.ErrClosed
	}
	n, err := a.att.Peers(ctx)
	if err != nil {
		return 0, err
	}
	if a.emitter {
		return n, nil
	}
	return max(n, 1), nil
}

// AwaitRooms implements adapter.RoomAwaiter. On a bus that hears every room it
// returns at once.
func (a *Adapter) AwaitRooms(ctx context.Context, rooms ...adapter.Room) error {
	if a.closed.Load() {
		return adapter.ErrClosed
	}
	if w, ok := a.att.(RoomAwaiter); ok {
		return w.AwaitRooms(ctx, rooms...)
	}
	return nil
}

// Close implements adapter.Adapter. It leaves the bus, says goodbye after what
// was queued before, and ends pending requests with adapter.ErrClosed. The
// goodbye comes last: whoever hears it and counts the nodes again no longer
// counts this one. Later calls return what the first returned.
func (a *Adapter) Close(ctx context.Context) error {
	a.closeOnce.Do(func() { a.closeErr = a.close(ctx) })
	return a.closeErr
}

func (a *Adapter) close(ctx context.Context) error {
	if a.rec != nil {
		a.rec.end(ctx)
	}
	a.closed.Store(true)
	a.requests.end()
	a.answers.end()
	_ = a.Adapter.Close(ctx) // memory only
	err := a.att.Detach(ctx)
	if a.emitter {
		a.p.remove(a)
		return err
	}
	flushed := make(chan struct{})
	m := &Message{Kind: AdapterClose, From: a.self, Namespace: a.ns}
	a.extend(m)
	if a.p.pub.out.push(outgoing{m: m, size: sizeOf(m), at: time.Now(), done: flushed}, true) == nil {
		select {
		case <-flushed:
		case <-ctx.Done():
		}
	}
	a.p.remove(a)
	return err
}

// emptyReplies yields nothing.
func emptyReplies() iter.Seq2[adapter.Reply, error] {
	return func(func(adapter.Reply, error) bool) {}
}
