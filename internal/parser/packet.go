package parser

import (
	"errors"
	"fmt"
)

// Type is the kind of a packet, its first digit on the wire.
type Type uint8

// The packet types of socket.io-protocol v5. Decoded packets are never
// BinaryEvent or BinaryAck: they are reported as Event and Ack.
const (
	Connect Type = iota
	Disconnect
	Event
	Ack
	ConnectError
	BinaryEvent
	BinaryAck
)

var typeNames = [...]string{"CONNECT", "DISCONNECT", "EVENT", "ACK", "CONNECT_ERROR", "BINARY_EVENT", "BINARY_ACK"}

// String returns the protocol's name of t.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("Type(%d)", uint8(t))
}

// MaxID is the largest ack id a JavaScript peer can hold exactly.
const MaxID = 1<<53 - 1

// MaxAttachments is how many attachments official clients and servers accept in
// one packet. The encoder never writes more.
const MaxAttachments = 10

// Packet is one decoded Socket.IO packet.
type Packet struct {
	Type      Type
	Namespace string // "/" when the wire has none
	ID        uint64
	HasID     bool
	// Owned says that Data and Attachments are the receiver's to keep. Otherwise
	// they are valid until the bytes they were decoded from change.
	Owned bool
	// Data is the JSON payload without surrounding white space: an object or a
	// string for the connect packets, an array for Event and Ack. It is nil when
	// absent, and valid JSON otherwise.
	Data []byte
	// Attachments are the binary arguments; Attachments[i] belongs to the
	// placeholder numbered i, and At ascends.
	Attachments []Attachment
}

// Args returns the arguments of an event, without its name, or the values of an
// acknowledgement.
func (p *Packet) Args() Args {
	a := Args{Data: p.Data, Attachments: p.Attachments}
	if p.Type == Event {
		a.Skip = 1
	}
	return a
}

// Attachment is one binary argument. Its fields are those of
// adapter.Attachment, so that one converts to the other.
type Attachment struct {
	// At is the byte offset of the placeholder in the packet's Data.
	At   int
	Data []byte
}

// Errors of the decoder and the encoder. Any decoder error means that the peer
// broke the protocol and its connection has to be closed.
var (
	ErrType               = errors.New("parser: unknown packet type")
	ErrPayload            = errors.New("parser: invalid payload")
	ErrNamespace          = errors.New("parser: invalid namespace")
	ErrID                 = errors.New("parser: invalid ack id")
	ErrAttachments        = errors.New("parser: illegal attachments")
	ErrTooManyAttachments = errors.New("parser: too many attachments")
	ErrTooLarge           = errors.New("parser: binary packet too large")
	ErrTooManyTokens      = errors.New("parser: too many values in a payload")
	ErrTooDeep            = errors.New("parser: payload nested too deeply")
	ErrUnexpectedText     = errors.New("parser: got text while waiting for attachments")
	ErrUnexpectedBinary   = errors.New("parser: got binary data nobody announced")
)

// SyntaxError says where and why a payload is not acceptable JSON. Decoder
// errors wrap it together with ErrPayload.
type SyntaxError struct {
	Offset int // in the payload
	Reason string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s at byte %d", e.Reason, e.Offset)
}

// IsReserved reports whether name is one of the six event names no peer may
// emit, because client libraries use them for their own events. See
// socket.io-parser index.ts, RESERVED_EVENTS.
func IsReserved(name string) bool {
	switch name {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return true
	}
	return false
}
