package engineio

import (
	"bytes"
	"encoding/base64"
	"testing"
)

func FuzzPacket(f *testing.F) {
	for _, s := range []string{"", "4hello", "bAQID", "2probe", "x", "b"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p := decodePacket(raw)
		if len(raw) == 0 && p.kind != kindInvalid {
			t.Error("an empty packet is valid")
		}
		if p.encoded {
			if out := decodeBase64(bytes.Clone(p.data)); len(out) > len(p.data) {
				t.Errorf("%d bytes decode to %d", len(p.data), len(out))
			}
		}
	})
}

func FuzzPayload(f *testing.F) {
	for _, s := range []string{"", "4a\x1e4b", "\x1e", "4a\x1e", "b!\x1e1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		rest, total, packets := payload, 0, 0
		for more := true; more; {
			var p packet
			p, rest, more = nextPacket(rest)
			packets++
			total += len(p.data)
		}
		if packets != bytes.Count(payload, []byte{separator})+1 {
			t.Errorf("%d packets in %q", packets, payload)
		}
		if total > len(payload) {
			t.Errorf("%d bytes of data in %d", total, len(payload))
		}
	})
}

func FuzzBase64(f *testing.F) {
	f.Add([]byte("hello"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawURLEncoding} {
			if got := decodeBase64([]byte(enc.EncodeToString(data))); !bytes.Equal(got, data) {
				t.Errorf("%x decodes to %x", data, got)
			}
		}
	})
}

func FuzzQuery(f *testing.F) {
	f.Add("a=1&b=%zz", "a")
	f.Fuzz(func(t *testing.T, query, name string) {
		q := Request{uri: "/?" + query}
		if got, want := queryValue(query, name), q.Query().Get(name); got != want && name != "" {
			t.Errorf("queryValue = %q, Query = %q", got, want)
		}
	})
}
