package msgpack

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/socketfleet/socketfleet/adapter"
	internal "github.com/socketfleet/socketfleet/internal/msgpack"
	grammar "github.com/socketfleet/socketfleet/internal/parser"
	"github.com/socketfleet/socketfleet/parser"
)

// Errors of the decoder, in the words of the reference.
var (
	errType      = errors.New("msgpack: invalid packet type")
	errNamespace = errors.New("msgpack: invalid namespace")
	errPayload   = errors.New("msgpack: invalid payload")
	errID        = errors.New("msgpack: invalid packet id")
	errText      = errors.New("msgpack: got a text message")
)

// Defaults of the limits that package internal/msgpack does not know.
const (
	maxAttachments = 10
	maxTokens      = 1 << 16
	maxNamespace   = 256
)

// decoder is the parser.Decoder of one connection.
type decoder struct {
	limits *parser.Limits
	nsp    string // the last namespace seen, so that repeats do not allocate
}

// Text implements parser.Decoder. There are no text messages in this format.
func (d *decoder) Text([]byte) (parser.Packet, bool, error) {
	return parser.Packet{}, false, errText
}

// Binary implements parser.Decoder.
func (d *decoder) Binary(b []byte) (parser.Packet, bool, error) {
	p, err := d.packet(b)
	return p, err == nil, err
}

// members are the values of a packet's map. Of equal keys the last wins, and
// others are ignored: official clients send their options along.
type members struct{ typ, nsp, data, id internal.Value }

func split(b []byte) (m members, err error) {
	if len(b) > 0 && b[0] == '{' { // which Parse takes for JSON
		return m, errType
	}
	v, err := internal.Parse(b)
	if err != nil {
		return m, err
	}
	for key, val := range v.Fields() {
		switch string(key) {
		case "type":
			m.typ = val
		case "nsp":
			m.nsp = val
		case "data":
			m.data = val
		case "id":
			m.id = val
		}
	}
	return m, nil
}

func (d *decoder) packet(b []byte) (p parser.Packet, err error) {
	m, err := split(b)
	if err != nil {
		return p, err
	}
	typ, ok := m.typ.Uint()
	if !ok || typ > uint64(parser.ConnectError) {
		return p, errType
	}
	p.Type, p.Owned = parser.Type(typ), true
	if p.Namespace, err = d.namespace(m.nsp); err != nil {
		return p, err
	}
	if !suits(p.Type, m.data) {
		return p, errPayload
	}
	if !m.id.Undefined() {
		if p.ID, p.HasID = m.id.Uint(); !p.HasID {
			return p, errID
		}
	}
	return p, d.data(&p, m.data)
}

func (d *decoder) namespace(v internal.Value) (string, error) {
	name, ok := v.TextBytes()
	if !ok || len(name) == 0 || name[0] != '/' {
		return "", errNamespace
	}
	if string(name) != d.nsp {
		if len(name) > orDefault(d.limit().MaxNamespace, maxNamespace) || !utf8.Valid(name) {
			return "", errNamespace
		}
		d.nsp = string(name)
	}
	return d.nsp, nil
}

func (d *decoder) limit() parser.Limits {
	if d.limits == nil {
		return parser.Limits{}
	}
	return *d.limits
}

func orDefault(v, fallback int) int {
	if v <= 0 {
		return fallback
	}
	return v
}

// suits says whether v may be the data of a packet of type t.
func suits(t parser.Type, v internal.Value) bool {
	switch t {
	case parser.Connect:
		return v.Undefined() || v.IsMap()
	case parser.Disconnect:
		return v.Undefined()
	case parser.ConnectError:
		return v.IsMap() || v.IsText()
	}
	return v.IsArray()
}

// data makes p.Data and p.Attachments of v, in memory of their own.
func (d *decoder) data(p *parser.Packet, v internal.Value) error {
	if v.Undefined() {
		return nil
	}
	l := d.limit()
	limits := internal.Limits{
		MaxDepth:       l.MaxDepth,
		MaxTokens:      orDefault(l.MaxTokens, maxTokens),
		MaxAttachments: orDefault(l.MaxAttachments, maxAttachments),
	}
	plain := p.Type == parser.Connect || p.Type == parser.ConnectError
	var atts []adapter.Attachment
	var err error
	if p.Data, atts, err = limits.AppendValue(nil, v, plain); err != nil {
		return fmt.Errorf("%w: %w", errPayload, err)
	}
	if p.Type == parser.Event {
		if name, ok := grammar.NameBytes(p.Data); ok && grammar.IsReserved(string(name)) {
			return errPayload
		}
	}
	for _, a := range atts {
		a.Data = append([]byte{}, a.Data...)
		p.Attachments = append(p.Attachments, parser.Attachment(a))
	}
	return nil
}
