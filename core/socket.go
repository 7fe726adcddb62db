package core

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/engineio"
	"github.com/socketfleet/socketfleet/internal/parser"
	"github.com/socketfleet/socketfleet/internal/sid"
)

// maxRoomName is the longest room name, in bytes.
const maxRoomName = 256

// States of a socket.
const (
	stateConnecting = iota // in the namespace's middlewares
	stateGreeting          // in its rooms; its client has not been told yet
	stateConnected
	stateClosed
)

// Socket is one client's membership of one namespace. All methods are safe for
// concurrent use.
type Socket struct {
	// Immutable after newSocket.
	id        string
	nsp       *Namespace
	client    *client
	handshake Handshake

	// hooks are the socket's own listeners; nil until the first.
	hooks atomic.Pointer[hooks]
	data  atomic.Pointer[socketData]

	lease *lease // immutable once the client knows the socket; nil without Options.Recovery

	// members serializes joining and leaving rooms, so that a closed socket cannot
	// be left behind in one. It is taken before the adapter's locks.
	members sync.Mutex
	left    bool   // rooms have been left for good
	early   []Room // joined before the socket was connected

	state atomic.Uint32 // one of the states above; changed under mu

	mu          sync.Mutex       // guards the following
	cause       *DisconnectError // set when closed
	ctx         context.Context  // nil until asked for
	cancel      context.CancelCauseFunc
	acks        map[uint64]*pendingAck
	inbox       []task
	inboxBytes  int
	dispatching bool
	wakeReader  chan struct{}       // closed to let a blocked receive look again
	expiry      *time.Timer         // nil unless ExpireAt was called
	expirySet   int                 // counts the calls of ExpireAt
	rate        bucket              // of events received; owned by the reader goroutine
	heldBack    []*engineio.Message // for a socket that has not been greeted
	lastRooms   []Room              // what Rooms returns once the rooms have been left
}

// Room names a set of sockets of one namespace.
type Room = adapter.Room

var _ adapter.Member = (*Socket)(nil)

func newSocket(n *Namespace, c *client, h Handshake) *Socket {
	s := &Socket{nsp: n, client: c, handshake: h}
	if c.v2() {
		s.id = c.v2SocketID(n.name)
	} else {
		s.id = sid.New()
	}
	return s
}

// ID returns the socket's id, which is public and also names the room that holds
// this socket alone. A reconnecting client has a new one, unless its session was
// recovered.
func (s *Socket) ID() string { return s.id }

// Namespace returns the namespace the socket belongs to.
func (s *Socket) Namespace() *Namespace { return s.nsp }

// Handshake returns what the client presented when it connected.
func (s *Socket) Handshake() *Handshake { return &s.handshake }

// Transport returns the connection's transport: "polling" or "websocket".
func (s *Socket) Transport() string { return s.client.sess.Transport() }

// Connected reports whether the socket has joined its namespace and not left it.
func (s *Socket) Connected() bool {
	state := s.state.Load()
	return state == stateConnected || state == stateGreeting
}

func (s *Socket) closed() bool { return s.state.Load() == stateClosed }

// Context returns a context that is cancelled when the socket disconnects, with
// a *DisconnectError as its cause. It carries the values of the context of the
// connection's first HTTP request.
func (s *Socket) Context() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil {
		s.ctx, s.cancel = context.WithCancelCause(s.client.sess.Context())
		if s.cause != nil {
			s.cancel(s.cause)
		}
	}
	return s.ctx
}

// Emit sends an event to this socket. It never blocks; the error says that the
// arguments could not be encoded or that the socket will not get the event:
// ErrDisconnected, ErrQueueFull.
func (s *Socket) Emit(event string, args ...any) error {
	return s.send(context.Background(), event, args, 0, nil)
}

// TryEmit is Emit for an event that may be lost: it returns ErrDropped when the
// client is not ready to receive, which is when a polling client has no request
// waiting or more than 64 KiB are queued.
func (s *Socket) TryEmit(event string, args ...any) error {
	return s.send(context.Background(), event, args, adapter.Volatile, nil)
}

// send passes one event for this socket to the adapter.
func (s *Socket) send(ctx context.Context, event string, args []any, f adapter.Flags, ack func(adapter.Reply)) error {
	p, err := s.nsp.packet(event, args)
	if err != nil {
		return err
	}
	s.nsp.outgoing(Outgoing{Event: event, Args: args, Socket: s})
	s.nsp.group.sent.Add(1)
	if !s.nsp.srv.observed() {
		return s.nsp.adapter.Send(ctx, s, p, f, ack)
	}
	ob := s.nsp.srv.begin(ctx, Op{Kind: OpSend, Namespace: s.nsp, Socket: s, Name: event, Packet: p})
	err = s.nsp.adapter.Send(ctx, s, p, f, ack)
	ob.end(err)
	return err
}

// emitWithAck implements Acker.
func (s *Socket) emitWithAck(ctx context.Context, event string, args []any) (Args, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	replies := make(chan adapter.Reply, 1)
	err := s.send(ctx, event, args, 0, func(r adapter.Reply) { replies <- r })
	if err != nil && ctx.Err() != nil {
		err = s.nsp.srv.gaveUp(waitError(ctx))
	}
	if err != nil {
		return Args{}, err
	}
	select {
	case r := <-replies:
		return argsOfPacket(s.nsp.srv.codec, r.Packet, 0), r.Err
	case <-ctx.Done():
		return Args{}, s.nsp.srv.gaveUp(waitError(ctx))
	}
}

// Join adds the socket to rooms. It fails for a socket that has disconnected and
// beyond the limits on rooms. Rooms joined in a namespace middleware count from
// the moment the socket is connected.
func (s *Socket) Join(rooms ...string) error {
	for _, r := range rooms {
		if len(r) > maxRoomName {
			s.nsp.srv.stats.limit("room_name")
			return fmt.Errorf("%w: %d bytes", ErrRoomName, len(r))
		}
	}
	s.members.Lock()
	defer s.members.Unlock()
	if s.left || s.closed() {
		return ErrDisconnected
	}
	limit := s.nsp.srv.opts.MaxRoomsPerSocket
	if !s.Connected() {
		if exceeds(len(s.early)+len(rooms), limit) {
			s.nsp.srv.stats.limit("rooms_per_socket")
			return ErrTooManyRooms
		}
		s.early = append(s.early, rooms...)
		return nil
	}
	if limit >= 0 {
		have := s.nsp.adapter.RoomsOf(s)
		if exceeds(len(have)+len(rooms), limit) && exceeds(len(have)+countNew(have, rooms), limit) {
			s.nsp.srv.stats.limit("rooms_per_socket")
			return ErrTooManyRooms
		}
	}
	s.nsp.adapter.Join(s, rooms...)
	return nil
}

// countNew returns how many of rooms are not among have.
func countNew(have, rooms []Room) (n int) {
	for i, r := range rooms {
		if !slices.Contains(have, r) && !slices.Contains(rooms[:i], r) {
			n++
		}
	}
	return n
}

// JoinWait is Join that returns when what other nodes send to the rooms reaches
// this one, or with an error when ctx is done: the socket is in the rooms even so.
// After Join that takes a round trip to the broker where an adapter subscribes per
// room (sharded or adaptive subscriptions); with any other both are the same, and
// in a namespace middleware they are with all. Safe for concurrent use.
func (s *Socket) JoinWait(ctx context.Context, rooms ...string) error {
	if err := s.Join(rooms...); err != nil {
		return err
	}
	w, ok := s.nsp.adapter.(adapter.RoomAwaiter)
	if !ok || !s.Connected() {
		return nil
	}
	if err := w.AwaitRooms(ctx, rooms...); err != nil {
		return fmt.Errorf("socketio: await rooms: %w", err)
	}
	return nil
}

// Leave removes the socket from rooms.
func (s *Socket) Leave(rooms ...string) {
	s.members.Lock()
	defer s.members.Unlock()
	switch {
	case s.left:
	case s.Connected():
		s.nsp.adapter.Leave(s, rooms...)
	default:
		s.early = slices.DeleteFunc(s.early, func(r Room) bool { return slices.Contains(rooms, r) })
	}
}

// Rooms returns the rooms the socket is in, its own id among them. During
// OnDisconnecting these are the rooms it has just left; after that, none. In a
// namespace middleware they are the rooms it will be in, without its own id.
func (s *Socket) Rooms() []string {
	if s.closed() {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.lastRooms
	}
	s.members.Lock()
	defer s.members.Unlock()
	if len(s.early) > 0 {
		return slices.Clone(s.early)
	}
	return s.nsp.adapter.RoomsOf(s)
}

// To selects the sockets in any of rooms, on every node, without this one.
func (s *Socket) To(rooms ...string) BroadcastOperator { return s.Broadcast().To(rooms...) }

// Broadcast selects all sockets of the namespace, on every node, but this one.
func (s *Socket) Broadcast() BroadcastOperator {
	return BroadcastOperator{nsp: s.nsp, target: adapter.Target{Except: []Room{s.id}}}
}

// Disconnect ends the socket's membership of its namespace: the client is told
// and, officially, does not reconnect. With closeConn all namespaces of the
// client are left and its connection is closed.
func (s *Socket) Disconnect(closeConn bool) {
	if closeConn {
		s.client.disconnectAll()
		return
	}
	s.client.disconnect(s, nil)
}

// sendAck answers an event. It does not pass the adapter: only this connection
// can be meant.
func (s *Socket) sendAck(id uint64, args []any) error {
	data, atts, err := s.nsp.srv.codec.AppendArray(nil, args...)
	if err != nil {
		return fmt.Errorf("socketio: encode acknowledgement: %w", err)
	}
	m, err := s.nsp.srv.encode(parser.Ack, s.nsp.name, id, true, data, ownAttachments(atts))
	if err != nil {
		return err
	}
	return s.write(m)
}

// write queues an encoded packet for the client.
func (s *Socket) write(m *engineio.Message) error { return s.client.write(m) }

// deliver queues an encoded packet, registering the answer it asks for first.
func (s *Socket) deliver(m *engineio.Message, f adapter.Flags, ack *pendingAck, latest *engineio.Latest) error {
	if s.closed() {
		return ErrDisconnected
	}
	if ack != nil {
		if err := ack.await(s); err != nil {
			return err
		}
	}
	if s.state.Load() == stateGreeting && s.holdBack(m) {
		return nil
	}
	var err error
	switch {
	case latest != nil:
		err = publicError(s.client.sess.SendLatest(m, *latest))
	case !f.Has(adapter.Volatile):
		err = s.write(m)
	case !s.client.sess.SendVolatile(m):
		s.nsp.srv.stats.volatileDropped.Add(1)
		err = ErrDropped
	}
	if err != nil && ack != nil {
		if _, owed := s.forgetAck(ack.id); !owed {
			return nil // the socket has closed meanwhile and said so to whoever waits
		}
	}
	return err
}

// close marks the socket as disconnected, once, and reports whether it was this
// call. Afterwards nothing is sent to it any more; its handlers learn of it in
// the order of its events.
func (s *Socket) close(reason DisconnectReason, err error) bool {
	cause := &DisconnectError{Reason: reason, Err: err}
	s.mu.Lock()
	was := s.state.Load()
	if was == stateClosed {
		s.mu.Unlock()
		return false
	}
	s.state.Store(stateClosed)
	s.cause = cause
	cancel := s.cancel
	s.stopExpiryLocked()
	s.wakeReaderLocked()
	s.mu.Unlock()
	if cancel != nil {
		cancel(cause)
	}
	s.leaveAll()
	s.failAcks()
	s.nsp.remove(s)
	if was != stateConnecting {
		s.nsp.group.disconnected(reason)
		s.logTurn("socketio: socket disconnected", "socket.disconnect", reason)
	}
	s.queueEnd(reason, was != stateConnecting && s.nsp.listensToDisconnect())
	return true
}

// leaveAll leaves every room for good.
func (s *Socket) leaveAll() {
	s.members.Lock()
	defer s.members.Unlock()
	s.left = true
	if s.nsp.listensToDisconnecting() {
		rooms := s.nsp.adapter.RoomsOf(s)
		s.mu.Lock()
		s.lastRooms = rooms
		s.mu.Unlock()
	}
	s.save()
	s.nsp.adapter.LeaveAll(s)
}

// queueEnd lets the handlers of the disconnect, if there are any, run behind those
// of the events that came before it, and then lets go of the namespace: what they
// emit still has to find its adapter.
func (s *Socket) queueEnd(reason DisconnectReason, tell bool) {
	s.mu.Lock()
	if !tell && !s.dispatching {
		s.mu.Unlock()
		s.nsp.release()
		return
	}
	defer s.mu.Unlock()
	s.queueLocked(task{do: func() {
		if tell {
			s.runDisconnect(reason)
		}
		s.nsp.release()
	}})
}

func (s *Socket) runDisconnect(reason DisconnectReason) {
	ctx := s.Context()
	for h := range s.nsp.chain() {
		for _, fn := range h.disconnecting {
			s.nsp.srv.failed("OnDisconnecting", s.nsp, guard(func() error { fn(ctx, s, reason); return nil }))
		}
	}
	s.mu.Lock()
	s.lastRooms = nil
	s.mu.Unlock()
	for h := range s.nsp.chain() {
		for _, fn := range h.disconnect {
			s.nsp.srv.failed("OnDisconnect", s.nsp, guard(func() error { fn(ctx, s, reason); return nil }))
		}
	}
}

// listen implements Listener.
func (s *Socket) listen(event string, fn EventHandler) (cancel func()) {
	own := s.hooks.Load()
	if own == nil {
		s.hooks.CompareAndSwap(nil, new(hooks))
		own = s.hooks.Load()
	}
	return own.listen(event, fn)
}
