package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/socketfleet/socketfleet/adapter"
)

// BroadcastOperator selects sockets of a namespace, on every node, and acts on
// all of them. It is a value: every method returns a changed copy, so that one
// can be kept and used many times, concurrently too.
type BroadcastOperator struct {
	nsp    *Namespace
	target adapter.Target
	key    string          // of KeepLatest
	ctx    context.Context // of WithContext; nil: none
}

// To adds the members of rooms to the selection; a socket in several of them is
// selected once. Without any room the whole namespace is selected.
func (b BroadcastOperator) To(rooms ...string) BroadcastOperator {
	b.target.Rooms = added(b.target.Rooms, rooms...)
	return b
}

// In is To.
func (b BroadcastOperator) In(rooms ...string) BroadcastOperator { return b.To(rooms...) }

// Except takes the members of rooms out of the selection, whatever selected them.
func (b BroadcastOperator) Except(rooms ...string) BroadcastOperator {
	b.target.Except = added(b.target.Except, rooms...)
	return b
}

// Volatile lets the event be dropped for sockets that are not ready to receive.
func (b BroadcastOperator) Volatile() BroadcastOperator { return b.flag(adapter.Volatile, true) }

// Local restricts the selection to this node.
func (b BroadcastOperator) Local() BroadcastOperator { return b.flag(adapter.Local, true) }

// Compress says whether transports may compress the event. The default is true.
func (b BroadcastOperator) Compress(compress bool) BroadcastOperator {
	return b.flag(adapter.NoCompress, !compress)
}

func (b BroadcastOperator) flag(f adapter.Flags, set bool) BroadcastOperator {
	b.target.Flags &^= f
	if set {
		b.target.Flags |= f
	}
	return b
}

// Emit sends an event to the selected sockets. It never blocks. Sockets of this
// node have the event queued when it returns; an error says that the arguments
// could not be encoded or that the event could not be queued for other nodes.
func (b BroadcastOperator) Emit(event string, args ...any) error {
	p, err := b.nsp.packet(event, args)
	if err != nil {
		return err
	}
	p.Meta.Key = b.key
	b.nsp.outgoing(Outgoing{Event: event, Args: args, Target: b.target})
	b.nsp.group.broadcast(b.target.Flags)
	if !b.nsp.srv.observed() {
		return b.nsp.adapter.Broadcast(p, b.target)
	}
	ob := b.nsp.srv.begin(b.context(), b.op(event, p))
	err = b.nsp.adapter.Broadcast(p, b.target)
	ob.end(err)
	return err
}

func (b BroadcastOperator) op(event string, p *adapter.Packet) Op {
	return Op{Kind: OpBroadcast, Namespace: b.nsp, Name: event, Target: b.target, Packet: p}
}

// request begins an OpRequest of an answer from the selected sockets or their
// nodes.
func (n *Namespace) request(ctx context.Context, name string, t adapter.Target) observation {
	return n.srv.begin(ctx, Op{Kind: OpRequest, Namespace: n, Name: name, Target: t})
}

// FetchSockets describes the selected sockets of every node. When nodes did not
// answer it returns what arrived and a *PartialError.
func (b BroadcastOperator) FetchSockets(ctx context.Context) ([]RemoteSocket, error) {
	ob := b.nsp.request(ctx, "fetch_sockets", b.target)
	found, err := b.nsp.adapter.FetchSockets(ctx, b.target)
	ob.end(err)
	out := make([]RemoteSocket, len(found))
	for i := range found {
		out[i] = RemoteSocket{nsp: b.nsp, info: found[i]}
	}
	return out, err
}

// SocketsJoin adds the selected sockets to rooms.
func (b BroadcastOperator) SocketsJoin(ctx context.Context, rooms ...string) error {
	return b.nsp.adapter.SocketsJoin(ctx, b.target, rooms...)
}

// SocketsLeave removes the selected sockets from rooms.
func (b BroadcastOperator) SocketsLeave(ctx context.Context, rooms ...string) error {
	return b.nsp.adapter.SocketsLeave(ctx, b.target, rooms...)
}

// DisconnectSockets disconnects the selected sockets, as Socket.Disconnect does.
func (b BroadcastOperator) DisconnectSockets(ctx context.Context, closeConn bool) error {
	return b.nsp.adapter.DisconnectSockets(ctx, b.target, closeConn)
}

// AckReply is one socket's answer to a broadcast.
type AckReply[R any] struct {
	// Socket is the id of the socket that answered; empty where the answering node
	// does not say, as Node.js peers do not.
	Socket string
	Value  R
}

// BroadcastWithAck sends an event to the sockets b selects and yields their
// answers as they arrive, each decoded into an R. The event is sent by this call,
// not by the first step of the loop; breaking out of the loop gives up the rest.
// Errors are yielded beside the zero AckReply: for an answer that does not fit R,
// for a socket that disconnected (ErrDisconnected), and last, when the wait ended
// before all had answered, a *PartialError. A ctx without deadline gets
// Options.AckTimeout.
func BroadcastWithAck[R any](ctx context.Context, b BroadcastOperator, event string, args ...any) iter.Seq2[AckReply[R], error] {
	replies := b.ask(ctx, event, args)
	return func(yield func(AckReply[R], error) bool) {
		for r, err := range replies {
			reply := AckReply[R]{Socket: r.Socket}
			if err == nil {
				err = r.Err
			}
			if err == nil {
				reply.Value, err = decodeAs[R](argsOfPacket(b.nsp.srv.codec, r.Packet, 0))
			}
			if !yield(reply, err) {
				return
			}
		}
	}
}

// ask sends an event that wants answers.
func (b BroadcastOperator) ask(ctx context.Context, event string, args []any) iter.Seq2[adapter.Reply, error] {
	p, err := b.nsp.packet(event, args)
	if err != nil {
		return func(yield func(adapter.Reply, error) bool) { yield(adapter.Reply{}, err) }
	}
	b.nsp.outgoing(Outgoing{Event: event, Args: args, Target: b.target})
	b.nsp.group.broadcast(b.target.Flags)
	ctx, cancel := b.nsp.srv.ackDeadline(ctx)
	wait := b.nsp.request(ctx, "broadcast_with_ack", b.target)
	send := b.nsp.srv.begin(wait.ctx, b.op(event, p))
	replies := b.nsp.adapter.BroadcastWithAck(ctx, p, b.target)
	send.end(nil)
	return func(yield func(adapter.Reply, error) bool) {
		defer cancel()
		var last error
		defer func() { wait.end(last) }()
		for r, err := range replies {
			last = b.nsp.srv.gaveUp(ackError(err))
			if !yield(r, last) {
				return
			}
		}
	}
}

// gaveUp counts the wait for an acknowledgement that err ended, if that is why.
func (srv *Server) gaveUp(err error) error {
	if errors.Is(err, ErrAckTimeout) {
		srv.stats.ackTimeouts.Add(1)
	}
	return err
}

// ackDeadline bounds a wait that could otherwise be endless.
func (srv *Server) ackDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok || srv.opts.AckTimeout < 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, srv.opts.AckTimeout, ErrAckTimeout)
}

// waitError says why the wait for an answer ended.
func waitError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ErrAckTimeout
	}
	return context.Cause(ctx)
}

// ackError makes a timeout recognizable as ErrAckTimeout as well.
func ackError(err error) error {
	var partial *PartialError
	if errors.As(err, &partial) && errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrAckTimeout) {
		out := *partial
		out.Err = ErrAckTimeout
		return &out
	}
	return err
}

// all selects the whole namespace.
func (n *Namespace) all() BroadcastOperator { return BroadcastOperator{nsp: n} }

// To selects the sockets in any of rooms, on every node; without any room, the
// whole namespace.
func (n *Namespace) To(rooms ...string) BroadcastOperator { return n.all().To(rooms...) }

// In is To.
func (n *Namespace) In(rooms ...string) BroadcastOperator { return n.all().To(rooms...) }

// Except selects all sockets but the members of rooms.
func (n *Namespace) Except(rooms ...string) BroadcastOperator { return n.all().Except(rooms...) }

// Volatile selects all sockets, for an event that may be lost.
func (n *Namespace) Volatile() BroadcastOperator { return n.all().Volatile() }

// Local selects the sockets of this node.
func (n *Namespace) Local() BroadcastOperator { return n.all().Local() }

// Emit sends an event to all sockets of the namespace, on every node. It never
// blocks; see BroadcastOperator.Emit.
func (n *Namespace) Emit(event string, args ...any) error { return n.all().Emit(event, args...) }

// FetchSockets describes all sockets of every node.
func (n *Namespace) FetchSockets(ctx context.Context) ([]RemoteSocket, error) {
	return n.all().FetchSockets(ctx)
}

// SocketsJoin adds all sockets to rooms.
func (n *Namespace) SocketsJoin(ctx context.Context, rooms ...string) error {
	return n.all().SocketsJoin(ctx, rooms...)
}

// SocketsLeave removes all sockets from rooms.
func (n *Namespace) SocketsLeave(ctx context.Context, rooms ...string) error {
	return n.all().SocketsLeave(ctx, rooms...)
}

// DisconnectSockets disconnects all sockets.
func (n *Namespace) DisconnectSockets(ctx context.Context, closeConn bool) error {
	return n.all().DisconnectSockets(ctx, closeConn)
}

// serverReserved are the names the reference keeps from ServerSideEmit
// (socket.io lib/namespace.ts).
var serverReserved = []string{"connect", "connection", "new_namespace"}

func (n *Namespace) serverPacket(event string, args []any) (*adapter.Packet, error) {
	if slices.Contains(serverReserved, event) {
		return nil, fmt.Errorf("socketio: %q: %w", event, ErrReserved)
	}
	return n.encode(event, args)
}

// ServerSideEmit sends an event to the other nodes, where OnServerEvent receives
// it. It never blocks and never reaches this node or a client.
func (n *Namespace) ServerSideEmit(event string, args ...any) error {
	p, err := n.serverPacket(event, args)
	if err != nil {
		return err
	}
	return n.adapter.ServerSideEmit(p)
}

// ServerReply is one node's answer to ServerSideEmitWithAck.
type ServerReply[R any] struct {
	Node  string // empty where the answering node does not say
	Value R
}

// ServerSideEmitWithAck is ServerSideEmit, and yields the answer of every other
// node as it arrives, decoded into an R; last, when nodes did not answer, a
// *PartialError. The event is sent by this call.
func ServerSideEmitWithAck[R any](ctx context.Context, n *Namespace, event string, args ...any) iter.Seq2[ServerReply[R], error] {
	p, err := n.serverPacket(event, args)
	if err != nil {
		return func(yield func(ServerReply[R], error) bool) { yield(ServerReply[R]{}, err) }
	}
	wait := n.request(ctx, "server_side_emit_with_ack", adapter.Target{})
	replies := n.adapter.ServerSideEmitWithAck(ctx, p)
	return func(yield func(ServerReply[R], error) bool) {
		var last error
		defer func() { wait.end(last) }()
		for r, err := range replies {
			reply := ServerReply[R]{Node: r.Node}
			last = err
			if err == nil {
				reply.Value, err = decodeAs[R](argsOfPacket(n.srv.codec, r.Packet, 0))
			}
			if !yield(reply, err) {
				return
			}
		}
	}
}

// ServerCount returns the number of nodes that serve the namespace, this one
// included.
func (n *Namespace) ServerCount(ctx context.Context) (int, error) {
	ob := n.request(ctx, "server_count", adapter.Target{})
	count, err := n.adapter.ServerCount(ctx)
	ob.end(err)
	return count, err
}

// AllRooms returns the rooms of all nodes, where the adapter can enumerate them;
// otherwise an error that matches errors.ErrUnsupported.
func (n *Namespace) AllRooms(ctx context.Context) ([]string, error) {
	if l, ok := n.adapter.(adapter.RoomLister); ok {
		return l.AllRooms(ctx)
	}
	return nil, fmt.Errorf("socketio: list rooms: %w", errors.ErrUnsupported)
}

// Acker is what EmitWithAck sends to: a *Socket or a RemoteSocket.
type Acker interface {
	emitWithAck(ctx context.Context, event string, args []any) (Args, error)
}

var (
	_ Acker = (*Socket)(nil)
	_ Acker = RemoteSocket{}
)

// EmitWithAck sends an event to one socket, on whichever node it lives, and
// returns the first value of the client's answer; all values when R is Args. It
// fails with ErrAckTimeout when ctx's deadline passes first and with
// ErrDisconnected when the socket disconnects. It may be called in a handler of
// the same socket; in a namespace middleware it may be too, but official clients
// answer only after they have been accepted. A RemoteSocket without deadline gets
// Options.AckTimeout.
func EmitWithAck[R any](ctx context.Context, to Acker, event string, args ...any) (R, error) {
	var zero R
	answer, err := to.emitWithAck(ctx, event, args)
	if err != nil {
		return zero, err
	}
	v, err := decodeAs[R](answer)
	if err != nil {
		return zero, fmt.Errorf("socketio: acknowledgement of %q: %w", event, err)
	}
	return v, nil
}

// RemoteSocket is a socket on any node, known by its id. It is a value; its
// methods reach the socket through the adapter.
type RemoteSocket struct {
	nsp  *Namespace
	info adapter.Remote
}

// RemoteSocket returns the socket with the given id, on whichever node it lives.
// It does no I/O: whether the socket exists shows only in an answer.
func (n *Namespace) RemoteSocket(id string) RemoteSocket {
	return RemoteSocket{nsp: n, info: adapter.Remote{ID: id}}
}

// Exists reports whether a socket with the given id is connected to any node.
func (n *Namespace) Exists(ctx context.Context, id string) (bool, error) {
	if _, ok := n.Socket(id); ok {
		return true, nil
	}
	found, err := n.To(id).FetchSockets(ctx)
	if len(found) > 0 {
		return true, nil
	}
	return false, err
}

// ID returns the socket's id.
func (r RemoteSocket) ID() string { return r.info.ID }

// Node returns the node the socket lives on, where FetchSockets could tell.
func (r RemoteSocket) Node() string { return r.info.Node }

// Rooms returns the rooms the socket was in when FetchSockets described it; nil
// for one that was only named by its id.
func (r RemoteSocket) Rooms() []string { return r.info.Rooms }

// Data decodes the socket's data attribute, as FetchSockets found it, into v.
func (r RemoteSocket) Data(v any) error {
	if len(r.info.Data) == 0 {
		return nil
	}
	return r.nsp.srv.unmarshal(r.info.Data, v)
}

// Handshake returns the socket's handshake as JSON, as FetchSockets found it:
// headers, time, address, xdomain, secure, issued, url, query and auth.
func (r RemoteSocket) Handshake() json.RawMessage { return r.info.Handshake }

// self selects the one socket.
func (r RemoteSocket) self() BroadcastOperator { return r.nsp.To(r.info.ID) }

// Emit sends an event to the socket. It never blocks; an unknown id is no error.
func (r RemoteSocket) Emit(event string, args ...any) error {
	if s, ok := r.nsp.Socket(r.info.ID); ok {
		return s.Emit(event, args...)
	}
	return r.self().Emit(event, args...)
}

// emitWithAck implements Acker.
func (r RemoteSocket) emitWithAck(ctx context.Context, event string, args []any) (Args, error) {
	ctx, cancel := r.nsp.srv.ackDeadline(ctx)
	defer cancel()
	if s, ok := r.nsp.Socket(r.info.ID); ok {
		return s.emitWithAck(ctx, event, args)
	}
	for reply, err := range r.self().ask(ctx, event, args) {
		if err != nil {
			return Args{}, err
		}
		return argsOfPacket(r.nsp.srv.codec, reply.Packet, 0), reply.Err
	}
	return Args{}, fmt.Errorf("socketio: socket %w", ErrDisconnected)
}

// Join adds the socket to rooms.
func (r RemoteSocket) Join(ctx context.Context, rooms ...string) error {
	return r.self().SocketsJoin(ctx, rooms...)
}

// Leave removes the socket from rooms.
func (r RemoteSocket) Leave(ctx context.Context, rooms ...string) error {
	return r.self().SocketsLeave(ctx, rooms...)
}

// Disconnect disconnects the socket, as Socket.Disconnect does.
func (r RemoteSocket) Disconnect(ctx context.Context, closeConn bool) error {
	return r.self().DisconnectSockets(ctx, closeConn)
}
