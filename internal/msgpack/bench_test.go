package msgpack

import (
	"strings"
	"testing"
)

func benchText() []byte {
	return []byte(`["message",{"id":123456,"user":"somebody","text":"` + strings.Repeat("hello ", 20) + `","tags":["a","b","c"],"at":1700000000000,"score":1.5}]`)
}

func BenchmarkAppendJSON(b *testing.B) {
	in, dst := benchText(), make([]byte, 0, 1024)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := AppendJSON(dst, in, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkToJSON(b *testing.B) {
	in, err := AppendJSON(nil, benchText(), nil)
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 1024)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, err := ToJSON(dst, in, nil); err != nil {
			b.Fatal(err)
		}
	}
}
