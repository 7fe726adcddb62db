package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// Kind says what a Message asks for or answers. The values below 14 are the
// message types of the reference's cluster adapters; the others exist only on
// the wire of its classic Redis adapter.
type Kind uint8

const (
	InitialHeartbeat       Kind = 1
	Heartbeat              Kind = 2
	Broadcast              Kind = 3
	SocketsJoin            Kind = 4
	SocketsLeave           Kind = 5
	DisconnectSockets      Kind = 6
	FetchSockets           Kind = 7
	FetchSocketsResponse   Kind = 8
	ServerSideEmit         Kind = 9
	ServerSideEmitResponse Kind = 10
	BroadcastClientCount   Kind = 11
	BroadcastAck           Kind = 12
	AdapterClose           Kind = 13

	AllRooms         Kind = 32
	AllRoomsResponse Kind = 33
	Sockets          Kind = 34
	SocketsResponse  Kind = 35

	// The following lie in the log of a Bus that is a Log, or tell of it.
	Takeover Kind = 48 // a node resumes the session of the socket in Rooms
	Hole     Kind = 49 // events before it may be missing in the log
	Hello    Kind = 50 // a node reads the log from here on
	Position Kind = 51 // the log has been read up to here; on no wire

	// Only journals use the following, and pack them into server-side emits.
	place  Kind = 52 // how far a node has got
	refill Kind = 53 // asks for messages that are missing
)

// Message is what nodes tell each other, independent of the wire that carries
// it. Which fields count depends on Kind; a request that wants an answer has a
// RequestID.
type Message struct {
	Kind      Kind
	From      adapter.NodeID
	Namespace string
	RequestID string

	// Packet is the event of Broadcast and ServerSideEmit, and the answer of
	// ServerSideEmitResponse and BroadcastAck: an array of one value, or an empty
	// array for none.
	Packet *adapter.Packet
	// Target selects sockets for Broadcast, SocketsJoin, SocketsLeave,
	// DisconnectSockets and FetchSockets.
	Target adapter.Target
	// Timeout is how long the requester waits; zero where the wire does not say.
	Timeout time.Duration
	// Rooms are joined or left, or are the answer of AllRoomsResponse. For Sockets
	// they select, as Target.Rooms does.
	Rooms []adapter.Room
	// Close asks DisconnectSockets to end the whole connection.
	Close bool
	// Sockets answers FetchSockets; for SocketsResponse only the ids are set.
	Sockets []adapter.Remote
	// Count answers Broadcast: how many sockets this node asked.
	Count int
	// Token tells a message in a log from the others of its sender; zero is none.
	Token uint64
	// Ext is what only nodes of this kind add.
	Ext Ext
}

// Receiver takes what a Bus received for one attachment: messages of one sender
// arrive in the order they were published, so calls for one sender must not
// overlap. It does not block, and m is its own from then on. at is the message's
// position in the log, empty where there is none.
type Receiver func(m *Message, at adapter.Offset)

// Attach describes one namespace of one node, or of an emitter, to a Bus.
type Attach struct {
	Namespace string
	// Self is what this node's messages carry as From; the bus drops messages it
	// reads back with this sender before decoding the rest, where the wire allows,
	// but not heartbeats: one with an epoch of another node tells of two nodes with
	// one id.
	Self adapter.NodeID
	// Receive takes messages of other nodes, and answers to this one.
	Receive Receiver
	// HasRoom reports whether a room has a local member, so that a message for
	// one room that is not here can be dropped before it is decoded.
	HasRoom func(adapter.Room) bool
	// AllRooms makes Receive get the broadcasts for rooms without a local member too.
	AllRooms bool
	// Skipped is told of messages the bus dropped for that reason although they have
	// a number in a lane for all. It does not block; nil means nobody.
	Skipped func(from adapter.NodeID, x Ext)
	// Emitter marks a process that serves no sockets: it is to get answers and
	// nothing else, and nobody may count it as a node.
	Emitter bool
	// Log, on a bus that is a Log, makes Receive get what lies in the log in the
	// log's order: this node's own messages too, and now and then a Position.
	Log bool
}

// Bus carries messages between the nodes of one deployment. It is semantic: it
// sees *Message and chooses channels and encodings by its Kind, because the
// reference has two wires. All methods are safe for concurrent use.
type Bus interface {
	// Publish sends batch, in order, to the other nodes of each message's
	// namespace. It may return one offset per message where the bus has a log. It is called by one goroutine per provider, may block until ctx is done
	// and must not keep batch. Kinds the wire has no form for, such as
	// AdapterClose on some, are skipped without an error. m.Ext goes along where
	// its Version is not 0, and so does m.Packet.Meta.
	//
	// An error is for the unsent tail, which will be published again: a
	// *PublishError tells where the tail begins, any other error means that
	// nothing was sent. A bus that cannot know whether a message went out decides
	// itself between a repeat and a loss; what it gives up counts as sent, and when
	// nothing else is left the error is a *PublishError for the whole batch.
	Publish(ctx context.Context, batch []*Message) ([]adapter.Offset, error)
	// Reply sends m, an answer, to one node. to is empty, or EmitterID, when the
	// request did not name its sender. It is called by one goroutine per provider
	// and is not repeated on an error.
	Reply(ctx context.Context, to adapter.NodeID, m *Message) error
	// Attach joins a namespace. ctx bounds the joining only.
	Attach(ctx context.Context, a Attach) (Attachment, error)
	Close(ctx context.Context) error
}

// Attachment is one namespace of one node on a Bus.
type Attachment interface {
	// Peers counts the nodes attached to the namespace, this one included unless it
	// is an emitter's. A bus
	// that learns that a node died tells the Receiver with an AdapterClose from
	// it, after it has stopped counting it.
	Peers(ctx context.Context) (int, error)
	// RoomCreated and RoomDeleted tell which rooms have local members, socket
	// rooms included, for buses that subscribe per room. They never block, are
	// called one at a time in the order of the changes, and may come after Detach.
	RoomCreated(adapter.Room)
	RoomDeleted(adapter.Room)
	// Detach leaves the namespace: from then on other nodes do not count this one,
	// and Receive is not called. The goodbye is published afterwards.
	Detach(ctx context.Context) error
}

// RoomAwaiter is implemented by Attachments that subscribe per room.
type RoomAwaiter interface {
	// AwaitRooms returns when the attachment hears each of rooms that has a local
	// member. It must not be called from RoomCreated or RoomDeleted.
	AwaitRooms(ctx context.Context, rooms ...adapter.Room) error
}

// PublishError is what Bus.Publish returns when it sent a part of its batch.
type PublishError struct {
	// Sent is how many messages at the head of the batch went out.
	Sent int
	// Permanent says that the message after those can never be sent, because it
	// cannot be encoded: it is dropped, and the rest is published again.
	Permanent bool
	Err       error
}

func (e *PublishError) Error() string {
	return fmt.Sprintf("socketio: publish: %d messages sent: %v", e.Sent, e.Err)
}

func (e *PublishError) Unwrap() error { return e.Err }
