package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/socketfleet/socketfleet/parser"
	"github.com/socketfleet/socketfleet/parser/msgpack"
)

// message is one message of a case.
type message struct {
	binary bool
	data   []byte
}

// outcome is what the decoder made of a case.
type outcome struct {
	Packets []any  `json:"packets"`
	Again   string `json:"again,omitempty"` // the last packet, encoded again, in hex
	Error   string `json:"error,omitempty"`
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(r io.Reader, w io.Writer) error {
	payloads, err := newPayloads()
	if err != nil {
		return err
	}
	decoders := map[string]func([]message) outcome{
		"text":    func(ms []message) outcome { return decode(parser.Text(), ms) },
		"msgpack": func(ms []message) outcome { return again(msgpack.Parser{}, ms) },
		"payload": payloads.decode,
	}
	in := bufio.NewScanner(r)
	in.Buffer(nil, 64<<20)
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for in.Scan() {
		fields := strings.Fields(in.Text())
		if len(fields) == 0 || decoders[fields[0]] == nil {
			return fmt.Errorf("not a case: %.80q", in.Text())
		}
		messages, err := parse(fields[1:])
		if err != nil {
			return err
		}
		if err := enc.Encode(decoders[fields[0]](messages)); err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return payloads.close(ctx)
}

func parse(fields []string) ([]message, error) {
	out := make([]message, len(fields))
	for i, f := range fields {
		kind, text, _ := strings.Cut(f, ":")
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("message %q: %w", f, err)
		}
		out[i] = message{kind == "b", data}
	}
	return out, nil
}

// decode gives the messages to one decoder, until it fails.
func decode(p parser.Parser, messages []message) outcome {
	o, _ := decodeAll(p, messages)
	return o
}

func decodeAll(p parser.Parser, messages []message) (o outcome, last parser.Packet) {
	o.Packets = []any{}
	d := p.NewDecoder(nil)
	for _, m := range messages {
		take := d.Text
		if m.binary {
			take = d.Binary
		}
		packet, done, err := take(m.data)
		if err != nil {
			o.Error = err.Error()
			return o, last
		}
		if done {
			o.Packets = append(o.Packets, describe(&packet))
			last = packet
		}
	}
	return o, last
}

// again is decode, and encodes the last packet too.
func again(p parser.Parser, messages []message) outcome {
	o, last := decodeAll(p, messages)
	if o.Error != "" || len(o.Packets) == 0 {
		return o
	}
	m, err := p.Encode(&last)
	if err != nil {
		o.Error = "encode again: " + err.Error()
		return o
	}
	o.Again = hex.EncodeToString(m.Binary[0])
	return o
}

type packetText struct {
	Type      uint8           `json:"type"`
	Namespace string          `json:"nsp"`
	ID        *uint64         `json:"id,omitempty"`
	Data      json.RawMessage `json:"data,omitempty"`
}

func describe(p *parser.Packet) packetText {
	t := packetText{Type: uint8(p.Type), Namespace: p.Namespace}
	if p.HasID {
		t.ID = &p.ID
	}
	rest := p.Data
	from := 0
	for i, a := range p.Attachments {
		placeholder := fmt.Sprintf(`{"_placeholder":true,"num":%d}`, i)
		t.Data = append(t.Data, rest[:a.At-from]...)
		t.Data = append(t.Data, `{"$bin":"`+base64.StdEncoding.EncodeToString(a.Data)+`"}`...)
		rest, from = rest[a.At-from+len(placeholder):], a.At+len(placeholder)
	}
	t.Data = append(t.Data, rest...)
	return t
}
