package engineio

import "sync/atomic"

// Traffic is what one transport has carried in one direction.
type Traffic struct {
	// Packets counts Engine.IO packets by the name of their type, each attachment of
	// a message as one; TypeInvalid are those of clients that are none. Every type is
	// in it.
	Packets map[string]uint64
	// Bytes is the length of the packets: on the way in of their data alone, on the
	// way out with their framing.
	Bytes uint64
}

// TypeInvalid is the type of what a client sent and is no packet.
const TypeInvalid = "invalid"

// packetType is a type of packets: the digit it has on the wire, or typeInvalid.
type packetType uint8

const (
	typeOpen packetType = iota
	typeClose
	typePing
	typePong
	typeMessage
	typeUpgrade
	typeNoop
	typeInvalid
	packetTypes
)

var typeNames = [packetTypes]string{"open", "close", "ping", "pong", "message", "upgrade", "noop", TypeInvalid}

// typeOfKind is how received packets are counted. What revision 3 allows to be empty
// does as little as a noop.
var typeOfKind = [...]packetType{
	kindIgnored: typeNoop, kindOpen: typeOpen, kindNoop: typeNoop, kindText: typeMessage, kindBinary: typeMessage,
	kindPing: typePing, kindPong: typePong, kindClose: typeClose, kindUpgrade: typeUpgrade, kindInvalid: typeInvalid,
}

// carrier is a transport as an index.
type carrier uint8

const (
	onPolling carrier = iota
	onWebSocket
	onStream
)

// flow counts what one transport carries in one direction.
type flow struct {
	packets [packetTypes]atomic.Uint64
	bytes   atomic.Uint64
}

func (f *flow) snapshot() Traffic {
	t := Traffic{Packets: make(map[string]uint64, packetTypes), Bytes: f.bytes.Load()}
	for i := range f.packets {
		t.Packets[typeNames[i]] = f.packets[i].Load()
	}
	return t
}

func (t *Traffic) total() (n uint64) {
	for _, k := range t.Packets {
		n += k
	}
	return n
}

// tally counts the packets of one write.
type tally [packetTypes]uint32

func (t *tally) add(m *Message) {
	if m.text.buf != nil {
		t[m.kind()]++
	}
	t[typeMessage] += uint32(len(m.att))
}

// kind returns the type of the message's text packet.
func (m *Message) kind() packetType {
	return min(packetType(m.text.buf[typeAt]-'0'), typeInvalid)
}

// countIn counts a received packet.
func (s *Session) countIn(on carrier, p packet) {
	f := &s.srv.count.in[on]
	f.packets[typeOfKind[p.kind]].Add(1)
	f.bytes.Add(uint64(len(p.data)))
}

// countOut counts the packets of one write and its bytes.
func (s *Session) countOut(on carrier, t *tally, bytes int) {
	f := &s.srv.count.out[on]
	for typ, n := range t {
		if n > 0 {
			f.packets[typ].Add(uint64(n))
		}
	}
	f.bytes.Add(uint64(bytes))
}

// countOne is countOut for a message without attachments.
func (s *Session) countOne(on carrier, m *Message, bytes int) {
	f := &s.srv.count.out[on]
	f.packets[m.kind()].Add(1)
	f.bytes.Add(uint64(bytes))
}
