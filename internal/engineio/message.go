package engineio

import (
	"encoding/base64"
	"sync"
	"sync/atomic"
	"unicode/utf8"

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
	text  packed // empty for NewBinary
	att   [][]byte
	size  int
	plain bool // never compressed

	lazy atomic.Pointer[forms] // nil until a recipient needs one of them
}

// forms are the encodings that only some recipients need. Each is made for the
// first of them and shared by all.
type forms struct {
	base64, base64v3 once[[]packed]
	units            once[int] // length of the text packet as revision 3 counts it
	deflated         once[[][]byte]
}

// once is a value made on first use.
type once[T any] struct {
	sync.Once
	v T
}

func (o *once[T]) get(make func() T) T {
	o.Do(func() { o.v = make() })
	return o.v
}

func (m *Message) forms() *forms {
	if f := m.lazy.Load(); f != nil {
		return f
	}
	m.lazy.CompareAndSwap(nil, new(forms))
	return m.lazy.Load()
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

// NoCompress keeps the message from being compressed, whatever its recipients
// accept. It must be called before the first Send.
func (m *Message) NoCompress() { m.plain = true }

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

// encoded returns the attachments as text packets: "b" and base64, with the packet
// type between them in revision 3.
func (m *Message) encoded(rev revision) []packed {
	f := m.forms()
	if rev == revision3 {
		return f.base64v3.get(func() []packed { return packBase64(m.att, "b4") })
	}
	return f.base64.get(func() []packed { return packBase64(m.att, "b") })
}

func packBase64(att [][]byte, head string) []packed {
	list := make([]packed, len(att))
	for i, a := range att {
		buf := make([]byte, typeAt, typeAt+len(head)+base64.StdEncoding.EncodedLen(len(a)))
		buf = append(buf, head...)
		list[i] = pack(base64.StdEncoding.AppendEncode(buf, a))
	}
	return list
}

// textUnits returns the length of the text packet in UTF-16 code units.
func (m *Message) textUnits() int {
	return m.forms().units.get(func() int { return utf16Len(m.text.packet()) })
}

// utf16Len returns how many UTF-16 code units a JavaScript string of text has.
func utf16Len(text []byte) int {
	n := 0
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		n += unitsOf(r)
		text = text[size:]
	}
	return n
}

func unitsOf(r rune) int {
	if r > 0xffff {
		return 2
	}
	return 1
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

// appendPayload appends the message to a polling payload of revision 4.
func (m *Message) appendPayload(dst []byte) []byte {
	dst = appendPacket(dst, m.text.packet())
	if len(m.att) == 0 {
		return dst
	}
	for _, p := range m.encoded(revision4) {
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
