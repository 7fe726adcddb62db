package core

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// OpKind says what an Op is.
type OpKind uint8

const (
	// OpConnect is a client joining a namespace: from the namespace's middlewares to
	// the end of the OnConnect handlers. Err is why it was refused.
	OpConnect OpKind = iota + 1
	// OpEvent is one event of a client, with all its middlewares and handlers. Err is
	// the first error or panic of a handler.
	OpEvent
	// OpSend is an emit to one socket of this node.
	OpSend
	// OpBroadcast is an emit to any number of sockets: until those of this node have
	// it queued, and it is queued for the other nodes.
	OpBroadcast
	// OpRequest is a question to the sockets or nodes of a cluster, until the last
	// answer: Name is "fetch_sockets", "broadcast_with_ack",
	// "server_side_emit_with_ack" or "server_count".
	OpRequest
	// OpPublish is a broadcast with a Packet.Meta.Trace on its way out of this node:
	// from the moment it was queued until the adapter's backend took it.
	OpPublish
	// OpReceive is a broadcast of another node with a Packet.Meta.Trace: from the
	// moment it was read until it is queued for Recipients sockets of this node.
	OpReceive
)

// Op is one thing a server does, as an Observer sees it. Fields that do not fit the
// kind are zero.
type Op struct {
	Kind      OpKind
	Namespace *Namespace
	// Socket is the one that connects, sent the event or gets the emit.
	Socket *Socket
	// Name is the event's name, or which request it is. The name of an OpEvent is
	// chosen by the client unless Known is set.
	Name string
	// Known says that a handler for the event is registered on the namespace or its
	// family.
	Known  bool
	Target adapter.Target // of an OpBroadcast and an OpRequest
	// Packet is what travels. Begin of an OpSend or OpBroadcast may set its
	// Meta.Trace; anything else in it must not be changed.
	Packet     *adapter.Packet
	Node       adapter.NodeID // where an OpReceive comes from
	Recipients int            // of an OpReceive
	Start      time.Time
	End        time.Time // zero for Begin of what has yet to happen
	Err        error
}

// Observer hears what a server does, for metrics and traces; see packages
// telemetry/prometheus and telemetry/otel. Its methods are called on the goroutine
// that does it, concurrently for different ones, and must not block. A panic in
// them is logged and counted like that of a handler.
type Observer interface {
	// Begin is called before an operation. The context it returns, derived from ctx,
	// is that of the handlers.
	Begin(ctx context.Context, op Op) context.Context
	// End is called after it, with the context that Begin returned. OpPublish and
	// OpReceive are over when they are reported: both calls follow each other.
	End(ctx context.Context, op Op)
}

// Observe makes o hear of every operation that begins from now on, until the
// returned function is called. Observers are called in the order they were added,
// for End in the reverse order. Safe for concurrent use.
func (srv *Server) Observe(o Observer) (cancel func()) {
	e := &observerEntry{o}
	srv.changeObservers(func(list []*observerEntry) []*observerEntry { return added(list, e) })
	return func() {
		srv.changeObservers(func(list []*observerEntry) []*observerEntry {
			var out []*observerEntry
			for _, x := range list {
				if x != e {
					out = append(out, x)
				}
			}
			return out
		})
	}
}

// observerEntry gives an observer an address that tells it from its equals.
type observerEntry struct{ Observer }

func (srv *Server) changeObservers(change func([]*observerEntry) []*observerEntry) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	var list []*observerEntry
	if old := srv.observers.Load(); old != nil {
		list = *old
	}
	if list = change(list); len(list) == 0 {
		srv.observers.Store(nil)
		return
	}
	srv.observers.Store(&list)
}

// observed reports whether anybody observes the server.
func (srv *Server) observed() bool { return srv.observers.Load() != nil }

// observation is an operation between Begin and End. Its zero value but for ctx is
// that of a server nobody observes.
type observation struct {
	list []*observerEntry
	ctx  context.Context
	op   Op
}

// begin reports that op begins. Callers ask observed first where making op costs
// something.
func (srv *Server) begin(ctx context.Context, op Op) observation {
	list := srv.observers.Load()
	if list == nil {
		return observation{ctx: ctx}
	}
	if op.Start.IsZero() {
		op.Start = time.Now()
	}
	out := observation{list: *list, ctx: ctx, op: op}
	for _, o := range out.list {
		out.ctx = o.begin(out.ctx, op)
	}
	return out
}

func (o *observerEntry) begin(ctx context.Context, op Op) (out context.Context) {
	defer func() {
		if v := recover(); v != nil {
			o.panicked(op, v)
			out = ctx
		}
	}()
	if out = o.Begin(ctx, op); out == nil {
		out = ctx
	}
	return out
}

// end reports that the operation is over.
func (ob *observation) end(err error) {
	if ob.list == nil {
		return
	}
	ob.op.Err = err
	if ob.op.End.IsZero() {
		ob.op.End = time.Now()
	}
	for i := len(ob.list) - 1; i >= 0; i-- {
		ob.list[i].end(ob.ctx, ob.op)
	}
}

func (o *observerEntry) end(ctx context.Context, op Op) {
	defer func() {
		if v := recover(); v != nil {
			o.panicked(op, v)
		}
	}()
	o.End(ctx, op)
}

func (o *observerEntry) panicked(op Op, v any) {
	op.Namespace.srv.failed("Observer", op.Namespace, &panicError{v, debug.Stack()})
}

// maxTransits bounds the reports of an adapter that wait for the observers.
const maxTransits = 10_000

var _ adapter.TransitObserver = (*host)(nil)

// Published implements adapter.TransitObserver.
func (h *host) Published(p *adapter.Packet, queued time.Time, err error) {
	h.transit(Op{Kind: OpPublish, Packet: p, Start: queued, Err: err})
}

// Received implements adapter.TransitObserver.
func (h *host) Received(p *adapter.Packet, from adapter.NodeID, began time.Time, recipients int) {
	h.transit(Op{Kind: OpReceive, Packet: p, Node: from, Start: began, Recipients: recipients})
}

// transit tells the observers what an adapter reports, which may hold its locks.
func (h *host) transit(op Op) {
	srv := h.n.srv
	if !srv.observed() {
		return
	}
	op.Namespace, op.End = h.n, time.Now()
	queued := h.n.transits.push(srv, maxTransits, func() {
		ob := srv.begin(context.Background(), op)
		ob.end(op.Err)
	})
	if !queued {
		srv.stats.limit("observed_transits")
	}
}

// WithContext makes what observers see of the selection's emits part of the trace
// in ctx, which reaches the other nodes too. Only the values of ctx count: its end
// ends nothing.
func (b BroadcastOperator) WithContext(ctx context.Context) BroadcastOperator {
	b.ctx = context.WithoutCancel(ctx)
	return b
}

func (b BroadcastOperator) context() context.Context {
	if b.ctx != nil {
		return b.ctx
	}
	return context.Background()
}

// Provider returns what the server's adapters share, for add-ons that read its
// statistics. The server closes it.
func (srv *Server) Provider() adapter.Provider { return srv.provider }

// Forwarder returns Options.Forwarder, or nil.
func (srv *Server) Forwarder() Forwarder { return srv.opts.Forwarder }

// String returns the kind's name, such as "event".
func (k OpKind) String() string {
	names := [...]string{"", "connect", "event", "send", "broadcast", "request", "publish", "receive"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("OpKind(%d)", uint8(k))
}
