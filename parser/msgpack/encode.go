package msgpack

import (
	"fmt"

	"github.com/tinylib/msgp/msgp"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/msgpack"
	"github.com/socketfleet/socketfleet/parser"
)

// Parser is the MessagePack parser. The zero value is ready to use.
type Parser struct{}

var _ parser.Parser = Parser{}

// NewDecoder implements parser.Parser.
func (Parser) NewDecoder(l *parser.Limits) parser.Decoder { return &decoder{limits: l} }

// Encode implements parser.Parser. It fails for data nested deeper than 128
// levels.
func (Parser) Encode(p *parser.Packet) (parser.Message, error) {
	b, err := appendPacket(make([]byte, 0, sizeHint(p)), p)
	if err != nil {
		return parser.Message{}, err
	}
	return parser.Message{Binary: [][]byte{b}}, nil
}

// sizeHint is what most packets fit in: MessagePack is shorter than JSON, and a
// placeholder longer than the header of what it stands for.
func sizeHint(p *parser.Packet) int {
	n := 40 + len(p.Data) + len(p.Namespace)
	for _, a := range p.Attachments {
		n += len(a.Data)
	}
	return n
}

// The members of a packet up to their values.
const (
	keyType = "\xa4type"
	keyData = "\xa4data"
	keyNsp  = "\xa3nsp"
	keyID   = "\xa2id"
	// noPid is the member of a CONNECT answer without recovery: undefined, which
	// notepack.io 2 writes.
	noPid = "\xa3pid\xd4\x00\x00"
)

// appendPacket appends p with its members in the order of the reference server:
// socket.io lib/socket.ts puts an acknowledgement's id first.
func appendPacket(dst []byte, p *parser.Packet) ([]byte, error) {
	members := byte(0x82)
	if p.Data != nil {
		members++
	}
	if p.HasID {
		members++
	}
	dst = append(dst, members)
	if p.HasID && p.Type == parser.Ack {
		dst = appendID(dst, p.ID)
	}
	dst = append(append(dst, keyType...), byte(p.Type))
	if p.Data != nil {
		var err error
		if dst, err = appendData(append(dst, keyData...), p); err != nil {
			return nil, fmt.Errorf("msgpack: encode packet: %w", err)
		}
	}
	if p.HasID && p.Type != parser.Ack {
		dst = appendID(dst, p.ID)
	}
	return msgp.AppendString(append(dst, keyNsp...), p.Namespace), nil
}

func appendID(dst []byte, id uint64) []byte {
	return msgp.AppendUint64(append(dst, keyID...), id)
}

func appendData(dst []byte, p *parser.Packet) ([]byte, error) {
	var atts []adapter.Attachment
	if len(p.Attachments) > 0 {
		atts = make([]adapter.Attachment, len(p.Attachments))
		for i, a := range p.Attachments {
			atts[i] = adapter.Attachment(a)
		}
	}
	at := len(dst)
	dst, err := msgpack.AppendJSON(dst, p.Data, atts)
	if err == nil && p.Type == parser.Connect && dst[at] == 0x81 {
		dst[at]++ // {sid} becomes {sid, pid: undefined}
		dst = append(dst, noPid...)
	}
	return dst, err
}
