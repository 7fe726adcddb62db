package msgpack

import (
	"strings"
	"testing"

	"github.com/socketfleet/socketfleet/parser"
)

var (
	smallEvent = parser.Packet{Type: parser.Event, Namespace: "/chat", ID: 12, HasID: true,
		Data: []byte(`["message",{"room":"lobby","text":"hello","n":42}]`)}
	bigEvent = parser.Packet{Type: parser.Event, Namespace: "/",
		Data: []byte(`["rows",[` + strings.Repeat(`{"id":123456,"name":"somebody","ok":true,"score":1.25},`, 190) + `null]]`)}
	binaryEvent = parser.Packet{Type: parser.Event, Namespace: "/",
		Data: []byte(`["a",` + holder + `]`), Attachments: []parser.Attachment{{At: 5, Data: make([]byte, 100)}}}
)

func benchEncode(b *testing.B, p parser.Packet) {
	b.SetBytes(int64(len(p.Data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (Parser{}).Encode(&p); err != nil {
			b.Fatal(err)
		}
	}
}

func benchDecode(b *testing.B, p parser.Packet) {
	m, err := Parser{}.Encode(&p)
	if err != nil {
		b.Fatal(err)
	}
	d := Parser{}.NewDecoder(nil)
	b.SetBytes(int64(len(m.Binary[0])))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := d.Binary(m.Binary[0]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeSmallEvent(b *testing.B)  { benchEncode(b, smallEvent) }
func BenchmarkEncode10KBEvent(b *testing.B)   { benchEncode(b, bigEvent) }
func BenchmarkEncodeBinaryEvent(b *testing.B) { benchEncode(b, binaryEvent) }
func BenchmarkDecodeSmallEvent(b *testing.B)  { benchDecode(b, smallEvent) }
func BenchmarkDecode10KBEvent(b *testing.B)   { benchDecode(b, bigEvent) }
func BenchmarkDecodeBinaryEvent(b *testing.B) { benchDecode(b, binaryEvent) }
