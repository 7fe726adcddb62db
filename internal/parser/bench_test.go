package parser

import (
	"strings"
	"testing"
)

func benchText(b *testing.B, text string) {
	d, in := new(Decoder), []byte(text)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := d.Text(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeSmallEvent(b *testing.B) {
	benchText(b, `2/chat,12["message",{"room":"lobby","text":"hello","n":42}]`)
}

func BenchmarkDecode10KBEvent(b *testing.B) {
	benchText(b, `2["rows",[`+strings.Repeat(`{"id":123456,"name":"somebody","ok":true,"score":1.25},`, 190)+`null]]`)
}

func BenchmarkDecode10KBString(b *testing.B) {
	benchText(b, `2["text","`+strings.Repeat("lorem ipsum ", 850)+`"]`)
}

func BenchmarkDecodeBinaryEvent(b *testing.B) {
	d, text, bin := new(Decoder), []byte(`51-["a",`+ph0+`]`), make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		d.Text(text)
		if _, done, err := d.Binary(bin); !done || err != nil {
			b.Fatal(done, err)
		}
	}
}

func BenchmarkEncodeSmallEvent(b *testing.B) {
	var dst []byte
	args := []any{map[string]any{"room": "lobby", "text": "hello", "n": 42}}
	b.ReportAllocs()
	for b.Loop() {
		dst, _, _ = Codec{}.AppendEvent(dst[:0], "message", args...)
	}
}

func BenchmarkEncodeStruct(b *testing.B) {
	type message struct {
		Room, Text string
		N          int
	}
	var dst []byte
	args := []any{message{"lobby", "hello", 42}}
	b.ReportAllocs()
	for b.Loop() {
		dst, _, _ = Codec{}.AppendEvent(dst[:0], "message", args...)
	}
}

func BenchmarkDecodeArgument(b *testing.B) {
	data := []byte(`["message",{"room":"lobby","text":"hello","n":42}]`)
	var v struct {
		Room, Text string
		N          int
	}
	b.ReportAllocs()
	for b.Loop() {
		a := Args{Data: data, Skip: 1}
		if err := a.Decode(Codec{}, 0, &v); err != nil {
			b.Fatal(err)
		}
	}
}
