package engineio

import (
	"encoding/base64"
	"sync"

	"github.com/socketfleet/socketfleet/internal/wsframe"
)

const (
	// typeAt is where a packet's type byte stands in a buffer of Reserve: behind the
	// room for the longest frame header.
	typeAt = wsframe.MaxHeader
	// prefix is the length of what Reserve returns.
	prefix = typeAt + 1
)

// Message is one Socket.IO packet in every form the transports need: text,
// followed by its attachments. It is encoded once and shared by all recipients.
type Message struct {
	text packed // empty for NewBinary
	att  [][]byte
	size int

	once   sync.Once // guards base64
	base64 []packed
}

// packed is a text packet in two forms that share one allocation.
type packed struct {
	buf   []byte // room for a frame header, then the packet
	start int    // where the frame begins
}

func (p packed) frame() []byte  { return p.buf[p.start:] }
func (p packed) packet() []byte { return p.buf[min(typeAt, len(p.buf)):] }

func pack(buf []byte) packed {
	return packed{buf, wsframe.Put(buf, wsframe.Text)}
}

// Reserve returns a buffer with room in front for a frame header and the packet
// type, and with a capacity for size more bytes. Append the packet's text and give
// the result to NewMessage.
func Reserve(size int) []byte {
	return make([]byte, prefix, prefix+max(size, 0))
}

// NewMessage makes a message of a buffer of Reserve with a text appended, and the
// binary attachments that follow it. It takes ownership of all of them.
func NewMessage(buf []byte, attachments [][]byte) *Message {
	if len(buf) < prefix {
		buf = Reserve(0)
	}
	return newPacket('4', buf, attachments)
}

// NewBinary makes a message of one binary packet, and takes ownership of data.
func NewBinary(data []byte) *Message {
	return &Message{att: [][]byte{data}, size: wsframe.HeaderSize(len(data)) + len(data)}
}

func newPacket(kind byte, buf []byte, attachments [][]byte) *Message {
	buf[typeAt] = kind
	m := &Message{text: pack(buf), att: attachments}
	m.size = len(m.text.frame())
	for _, a := range attachments {
		m.size += wsframe.HeaderSize(len(a)) + len(a)
	}
	return m
}

// control makes a packet of a type other than message.
func control(kind byte, data string) *Message {
	return newPacket(kind, append(Reserve(len(data)), data...), nil)
}

// Size returns how many bytes the message takes on a WebSocket, and counts in a
// queue.
func (m *Message) Size() int { return m.size }

// packets returns how many Engine.IO packets the message is.
func (m *Message) packets() int {
	if m.text.buf == nil {
		return len(m.att)
	}
	return 1 + len(m.att)
}

// encoded returns the attachments as text packets, encoding them on first use.
func (m *Message) encoded() []packed {
	m.once.Do(func() {
		m.base64 = make([]packed, len(m.att))
		for i, a := range m.att {
			buf := make([]byte, prefix, prefix+base64.StdEncoding.EncodedLen(len(a)))
			buf[typeAt] = 'b'
			m.base64[i] = pack(base64.StdEncoding.AppendEncode(buf, a))
		}
	})
	return m.base64
}

// payloadSize returns the size in bytes of what appendPayload appends, without
// encoding anything.
func (m *Message) payloadSize() int {
	n := len(m.text.packet())
	for _, a := range m.att {
		n += 2 + base64.StdEncoding.EncodedLen(len(a))
	}
	return n
}

// appendPayload appends the message to a polling payload.
func (m *Message) appendPayload(dst []byte) []byte {
	dst = appendPacket(dst, m.text.packet())
	if len(m.att) == 0 {
		return dst
	}
	for _, p := range m.encoded() {
		dst = appendPacket(dst, p.packet())
	}
	return dst
}

func appendPacket(dst, packet []byte) []byte {
	if len(dst) > 0 && len(packet) > 0 {
		dst = append(dst, separator)
	}
	return append(dst, packet...)
}
