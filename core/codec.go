package core

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/engineio"
	"github.com/socketfleet/socketfleet/internal/parser"
	wire "github.com/socketfleet/socketfleet/parser"
)

// JSONCodec replaces encoding/json for the values of events, acknowledgements,
// connection errors and data attributes. Its functions are called by many
// goroutines at once and must not keep what they are given.
//
// They must agree with encoding/json where values hold binary: the same struct
// tags name the members, and []byte is base64. For such values are taken apart
// by their types, and put together again with the bytes in place of base64 text.
// Strings, booleans, numbers, nil, []any and map[string]any are encoded without
// the codec.
type JSONCodec struct {
	// Marshal returns the JSON text of v. Text that is not JSON is an error of the
	// emit. Nil: encoding/json, without escaping HTML.
	Marshal func(v any) ([]byte, error)
	// Unmarshal decodes the JSON text data, which is valid, into the pointer v.
	// Nil: json.Unmarshal.
	Unmarshal func(data []byte, v any) error
}

// marshal encodes a value of the program's.
func (srv *Server) marshal(v any) ([]byte, error) {
	if srv.opts.JSON.Marshal == nil {
		return marshalJSON(v)
	}
	text, err := srv.opts.JSON.Marshal(v)
	if err == nil && !json.Valid(text) {
		err = fmt.Errorf("the JSON codec made no JSON of a %T", v)
	}
	return text, err
}

// unmarshal decodes into a value of the program's.
func (srv *Server) unmarshal(data []byte, v any) error {
	if srv.opts.JSON.Unmarshal == nil {
		return json.Unmarshal(data, v)
	}
	return srv.opts.JSON.Unmarshal(data, v)
}

// marshalJSON is json.Marshal without HTML escaping.
func marshalJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// packetDecoder is what a client reads packets with: the text decoder, or one of
// Options.Parser.
type packetDecoder interface {
	Text(b []byte) (p parser.Packet, done bool, err error)
	Binary(b []byte) (p parser.Packet, done bool, err error)
}

var _ packetDecoder = (*parser.Decoder)(nil)

// encode builds the one message all recipients of a packet share. Only a parser
// of Options can fail.
func (srv *Server) encode(t parser.Type, nsp string, id uint64, hasID bool, data []byte, atts []adapter.Attachment) (*engineio.Message, error) {
	if srv.opts.Parser == nil {
		return encodePacket(t, nsp, id, hasID, data, atts), nil
	}
	m, err := srv.opts.Parser.Encode(&wire.Packet{
		Type: t, Namespace: nsp, ID: id, HasID: hasID, Data: data, Attachments: parserAttachments(atts),
	})
	if err != nil {
		return nil, fmt.Errorf("socketio: encode packet: %w", err)
	}
	switch {
	case m.Text != nil:
		return engineio.NewMessage(append(engineio.Reserve(len(m.Text)), m.Text...), m.Binary), nil
	case len(m.Binary) == 1:
		return engineio.NewBinary(m.Binary[0]), nil
	}
	return nil, errParserMessage
}

var errUnencodable = errors.New("socketio: encode packet: the parser has refused it")

var errParserMessage = errors.New("socketio: encode packet: the parser returned neither a text nor one binary message")
