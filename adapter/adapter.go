package adapter

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"time"
)

// Aliases, not types of their own: a socket id is also the name of a room.
type (
	// Room names a set of sockets of one namespace.
	Room = string
	// SocketID identifies one socket of one namespace, on any node. Every socket
	// is a member of the room that bears its id.
	SocketID = string
	// NodeID identifies one adapter instance: one namespace on one node.
	NodeID = string
	// Offset is an opaque position in a message log, used by connection state
	// recovery.
	Offset = string
)

// Packet is one event, or the answer to one, encoded once in a form no transport
// owns. It is immutable as soon as it has been handed over.
type Packet struct {
	// Data is the JSON text of an array: ["event",arg...] for an event, the
	// arguments alone for an answer. Binary arguments stand as placeholders
	// {"_placeholder":true,"num":i}.
	Data []byte
	// Attachments are the binary arguments in placeholder order.
	Attachments []Attachment
	// Meta is what travels with the packet but not to clients.
	Meta Meta
}

// Attachment is one binary argument of a Packet.
type Attachment struct {
	// At is the byte offset in Packet.Data of the placeholder this attachment
	// replaces. It tells a real placeholder from a user's object that looks like
	// one.
	At   int
	Data []byte
}

// Meta is the part of a Packet that clients never see.
type Meta struct {
	// Key is the conflation key: of several undelivered packets with one key only
	// the newest needs to be delivered. Empty: never conflated.
	Key string
	// Trace is a W3C traceparent, or empty.
	Trace string
}

// Target selects sockets of a namespace.
type Target struct {
	// Rooms selects the members of any of these rooms, each once. Empty selects
	// the whole namespace.
	Rooms []Room
	// Except removes the members of these rooms; it wins over Rooms.
	Except []Room
	Flags  Flags
}

// Flags qualify one emit.
type Flags uint8

const (
	// Volatile packets may be dropped for a socket that is not ready to receive.
	Volatile Flags = 1 << iota
	// Local keeps the operation on this node.
	Local
	// NoCompress asks transports not to compress the packet.
	NoCompress
)

// Has reports whether every flag of g is set in f.
func (f Flags) Has(g Flags) bool { return f&g == g }

// Reply is one answer to a request: a client's acknowledgement, or another
// node's answer to a server-side emit.
type Reply struct {
	// Node is the node that passed the answer on; empty for this node.
	Node NodeID
	// Socket is the socket that answered. Empty where the answering node does not
	// say, as Node.js peers do not.
	Socket SocketID
	// Packet holds the arguments of the acknowledgement; nil when Err is set. For
	// answers from other nodes it has at most one argument.
	Packet *Packet
	// Err says why this socket will never answer: it disconnected.
	Err error
}

// Remote describes one socket, on whichever node it lives.
type Remote struct {
	Node      NodeID // empty: this node, or a peer that does not say
	ID        SocketID
	Rooms     []Room
	Data      json.RawMessage // the socket's data attribute
	Handshake json.RawMessage // headers, time, address, xdomain, secure, issued, url, query, auth
}

// PartialError reports that a request ended without all its answers. The answers
// that did arrive were delivered.
type PartialError struct {
	Op      string   // the operation, such as "FetchSockets"
	Missing int      // how many answers did not arrive
	Nodes   []NodeID // the nodes that did not answer, where they are known: ids, or name/id
	Err     error    // why waiting ended; matches context.DeadlineExceeded on a timeout
}

func (e *PartialError) Error() string {
	msg := fmt.Sprintf("socketio: %s: %d answers missing", e.Op, e.Missing)
	if len(e.Nodes) > 0 {
		msg += " (from " + strings.Join(e.Nodes, ", ") + ")"
	}
	if e.Err != nil {
		msg += ": " + e.Err.Error()
	}
	return msg
}

func (e *PartialError) Unwrap() error { return e.Err }

// Adapter owns the rooms of one namespace and every path to its sockets.
//
// Every returned iterator is single use; its request has been sent when the
// method returns, breaking out of the loop releases what is pending, and a
// cancelled context ends the wait with what has arrived and a *PartialError.
type Adapter interface {
	// Join, Leave, LeaveAll and RoomsOf change and read local membership: fast, no
	// I/O. A member takes part from its first Join (of the room that bears its id)
	// until LeaveAll; a Join after LeaveAll is ignored until the member joins the
	// room of its own id again.
	Join(m Member, rooms ...Room)
	Leave(m Member, rooms ...Room)
	LeaveAll(m Member)
	RoomsOf(m Member) []Room

	// Send targets one local socket the caller already holds: no lookup. ack is
	// nil when none is wanted; otherwise it is called at most once, with the
	// client's answer, and never after ctx is done. An adapter that delivers later,
	// because it waits for the event's place in a log, returns nil for a socket that
	// will refuse it.
	Send(ctx context.Context, m Member, p *Packet, f Flags, ack func(Reply)) error

	// Broadcast sends p to every socket t selects, on every node. It never blocks
	// on I/O: local delivery has happened when it returns, and an error says that
	// the packet could not be queued for the other nodes.
	Broadcast(p *Packet, t Target) error
	// BroadcastWithAck is Broadcast, and yields the answer of each socket as it
	// arrives. It ends when all have answered, or with a *PartialError.
	BroadcastWithAck(ctx context.Context, p *Packet, t Target) iter.Seq2[Reply, error]

	SocketsJoin(ctx context.Context, t Target, rooms ...Room) error
	SocketsLeave(ctx context.Context, t Target, rooms ...Room) error
	// DisconnectSockets ends the namespace of each selected socket, or its whole
	// connection when closeConn is set.
	DisconnectSockets(ctx context.Context, t Target, closeConn bool) error
	// FetchSockets describes every selected socket of every node. With a
	// *PartialError it returns the sockets of the nodes that answered.
	FetchSockets(ctx context.Context, t Target) ([]Remote, error)

	// ServerSideEmit sends p to all other nodes, never to this one.
	ServerSideEmit(p *Packet) error
	// ServerSideEmitWithAck is ServerSideEmit, and yields one answer per node.
	ServerSideEmitWithAck(ctx context.Context, p *Packet) iter.Seq2[Reply, error]
	// ServerCount returns the number of nodes serving this namespace, this one
	// included.
	ServerCount(ctx context.Context) (int, error)

	// Close announces that this node leaves the namespace and releases what the
	// adapter holds.
	Close(ctx context.Context) error
}

// RoomLister is implemented by adapters that can enumerate the rooms of all
// nodes.
type RoomLister interface {
	AllRooms(ctx context.Context) ([]Room, error)
}

// RoomCounter is implemented by adapters that know, without counting, how many
// rooms have a member on this node. The rooms of sockets' own ids are left out.
type RoomCounter interface {
	RoomCount() int
}

// RoomAwaiter is implemented by adapters that may hear a room of other nodes only
// some time after its first local member has joined.
type RoomAwaiter interface {
	// AwaitRooms returns when what other nodes send to rooms reaches this node from
	// then on, or ctx is done. Rooms without a local member are not waited for.
	AwaitRooms(ctx context.Context, rooms ...Room) error
}

// Host is one namespace of the running server, seen from its adapter. The core
// implements it.
type Host interface {
	Namespace() string
	// Node identifies the server process, for logs.
	Node() NodeID
	Logger() *slog.Logger

	// Deliver prepares p for local recipients. It encodes on the first To and
	// shares the bytes among all recipients of one encoding.
	Deliver(p *Packet, f Flags) Delivery
	// DeliverWithAck is Deliver for a packet that asks for an acknowledgement. ack
	// is called at most once per recipient, from any goroutine, must not block,
	// and is not called after ctx is done.
	DeliverWithAck(ctx context.Context, p *Packet, f Flags, ack func(Reply)) Delivery
	// Describe returns what FetchSockets tells about m; its Rooms are left for the
	// adapter to fill in.
	Describe(m Member) Remote
	// Disconnect ends m's namespace, or its whole connection.
	Disconnect(m Member, closeConn bool)
	// ServerEvent hands a server-side emit of another node to the listeners of
	// this one. ack is nil when the sender wants no answer.
	ServerEvent(p *Packet, ack func(Reply))
}

// RoomObserver is implemented by hosts that may want to hear of changes of the
// local rooms, the room of each socket's own id included.
type RoomObserver interface {
	// ObservesRooms reports whether anybody listens now. It may be called under the
	// adapter's locks.
	ObservesRooms() bool
	// RoomEvent reports a change. Calls come in the order of the changes, with no
	// lock of the adapter held, and must not block.
	RoomEvent(c RoomChange, r Room, m Member)
}

// Cutter is implemented by hosts that can close the connection of a socket
// without a word of Socket.IO, so that its client connects again. It closes all
// namespaces of the connection. Cut does not block.
type Cutter interface {
	Cut(m Member)
}

// TransitObserver is implemented by hosts that follow packets with a Meta.Trace
// from node to node; adapters report no others. Its methods do not block and may
// be called under the adapter's locks.
type TransitObserver interface {
	// Published reports that a broadcast of this node, queued at queued, has been
	// taken by the backend, or with err that it was given up.
	Published(p *Packet, queued time.Time, err error)
	// Received reports that a broadcast of another node, whose handling began at
	// began, has been queued for the selected sockets of this one.
	Received(p *Packet, from NodeID, began time.Time, recipients int)
}

// RoomChange says what happened to a room.
type RoomChange uint8

const (
	RoomCreated RoomChange = iota + 1 // its first local member is about to join
	RoomJoined
	RoomLeft
	RoomDeleted // its last local member has left
)

// Delivery is one packet on its way to local sockets. It is used by one goroutine
// at a time.
type Delivery interface {
	// To queues the packet for m. It never blocks, never runs user code and never
	// calls the adapter back, which may hold its room lock. Its error says why m
	// will not get the packet; a broadcast ignores it, Send returns it. After an
	// error the ack of DeliverWithAck is not called for m, nor has it been.
	To(m Member) error
	// Count returns how many times To was called.
	Count() int
}

// Finisher is implemented by Deliveries that want to hear when To has been called
// for every socket of this node that a broadcast is for, which may be none. Done
// keeps to the rules of To and is not called for Send.
type Finisher interface {
	Done()
}

// Member is one local socket. The core passes its sockets; adapters use them as
// opaque, comparable handles.
type Member interface {
	ID() SocketID
}

// Health is the state of what the adapters of a Provider share, such as a
// connection to Redis.
type Health struct {
	Up            bool
	Since         time.Time // when Up last changed
	Reconnects    uint64
	Resubscribes  uint64
	ProbeFailures uint64 // own probes that did not come back
	Received      uint64 // messages the backend sent here, also those for nobody here
	Dropped       uint64 // received messages dropped because this node was too slow
	LastError     string // of the newest failure; empty when there was none
}

// HealthReporter is implemented by providers that can lose what they share.
type HealthReporter interface {
	Health() Health
}

// Provider makes one Adapter per namespace and owns what they share, such as
// connections and goroutines.
type Provider interface {
	// Open returns the adapter of h's namespace. ctx bounds the opening only.
	Open(ctx context.Context, h Host) (Adapter, error)
	// Close releases what the adapters share, after they have been closed.
	Close(ctx context.Context) error
}
