package parser

import (
	"github.com/socketfleet/socketfleet/internal/parser"
)

// Parser turns packets into messages and back. One serves a whole server: its
// methods are called by many goroutines at once.
type Parser interface {
	// NewDecoder returns the decoder of one connection. l, whose zero fields mean
	// their defaults, is shared and must not be changed.
	NewDecoder(l *Limits) Decoder
	// Encode returns the message p is sent as. It must not change p, and what it
	// returns must not share memory with it but for attachments, which are
	// read-only. An error is what the emit returns.
	Encode(p *Packet) (Message, error)
}

// Decoder turns the messages of one connection into packets, on one goroutine.
// Its methods take a message, valid during the call only, and report whether it
// completes a packet; if not, the packet needs more messages. An error means that
// the peer broke the protocol: the connection is closed.
type Decoder interface {
	Text(b []byte) (p Packet, done bool, err error)
	Binary(b []byte) (p Packet, done bool, err error)
}

// Message is what one packet is on the wire: a text message and the binary ones
// that follow it, or exactly one binary message. It is shared by all recipients
// and must not be changed.
type Message struct {
	Text   []byte // nil: none
	Binary [][]byte
}

// Packet is one Socket.IO packet, in terms of JSON.
//
//	Type        Type
//	Namespace   string       // begins with "/"
//	ID          uint64       // of the acknowledgement, up to 2^53-1
//	HasID       bool
//	Owned       bool         // Data and Attachments are the receiver's to keep; otherwise
//	                         // they are valid until the next message
//	Data        []byte       // valid JSON in UTF-8, nil when absent: an object or a string for
//	                         // the connect packets, an array for Event and Ack
//	Attachments []Attachment // binary, in the order of the text
//
// The method Args gives access to the arguments.
type Packet = parser.Packet

// Attachment is one binary value of a packet.
//
//	At   int    // where in Packet.Data its placeholder stands, which is a JSON object
//	            // of any content, by custom {"_placeholder":true,"num":0}
//	Data []byte
type Attachment = parser.Attachment

// Limits bound what a Decoder accepts. Zero fields mean the defaults.
//
//	MaxAttachments int // of a packet; default 10
//	MaxDepth       int // of nested arrays and objects; default 128
//	MaxTokens      int // values and keys of a packet; default 65,536
//	MaxBytes       int // of a packet with attachments; default 1e6
//	MaxNamespace   int // bytes; default 256
type Limits = parser.Limits

// Type is the kind of a packet.
type Type = parser.Type

// The types a Packet has. Whether an event or an acknowledgement holds binary
// shows in its attachments, not in its type.
const (
	Connect      = parser.Connect
	Disconnect   = parser.Disconnect
	Event        = parser.Event
	Ack          = parser.Ack
	ConnectError = parser.ConnectError
)

// Text returns the default parser, the text of socket.io-protocol v5, for parsers
// that build on it.
func Text() Parser { return text{} }

type text struct{}

func (text) NewDecoder(l *Limits) Decoder {
	d := new(parser.Decoder)
	d.Init(l)
	return d
}

func (text) Encode(p *Packet) (Message, error) {
	m := Message{Text: make([]byte, 0, len(p.Data)+len(p.Namespace)+32)}
	m.Text = parser.AppendHeader(m.Text, p.Type, len(p.Attachments), p.Namespace, p.ID, p.HasID)
	m.Text = append(m.Text, p.Data...)
	for _, a := range p.Attachments {
		m.Binary = append(m.Binary, a.Data)
	}
	return m, nil
}
