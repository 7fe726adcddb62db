package parser

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"
)

var seeds = []string{
	``, `0`, `0{}`, `0null`, `1/admin,`, `2`, `2["a"]`, `2 ["a"]`, `2/a["x"]`, `2["connect"]`, `2[1.5,"x"]`, `299999999999999999999["a"]`,
	`31`, `3/x,7[]`, `4"x"`, `4/x,{"message":"m"}`, `5`, `5-["a"]`, `50-["a"]`, `51-["a",` + ph0 + `]`, `52-0["a",` + ph1 + `,{"b":` + ph0 + `}]`,
	`511-["a"]`, `5999999999-`, `51e9-`, `5-1-`, `51.5-`, `51-["a",{"_placeholder":true,"num":"splice"}]`, `2[{"toString":"foo"}]`,
	`61-/x,7[{"num":0,"_placeholder":true}]`, `7`, "2[\"\xff\"]", `2["\ud800\u0041"]`, `2["a",1e999999,-0,[[[]]]]`,
}

// checkPacket fails when p breaks what the package promises about packets.
func checkPacket(t *testing.T, p Packet) {
	if p.Data != nil && (!json.Valid(p.Data) || !utf8.Valid(p.Data)) {
		t.Fatalf("invalid data %q", p.Data)
	}
	if p.ID > MaxID || p.Type >= BinaryEvent || p.Namespace == "" || p.Namespace[0] != '/' {
		t.Fatalf("impossible packet %+v", p)
	}
	for i, a := range p.Attachments {
		if !bytes.HasPrefix(p.Data[a.At:], appendPlaceholder(nil, i)) || a.Data == nil {
			t.Fatalf("attachment %d at %d of %s", i, a.At, p.Data)
		}
	}
	args := p.Args()
	var n int
	for range Elements(p.Data) {
		n++
	}
	if p.Data != nil && p.Data[0] == '[' {
		var want []json.RawMessage
		if err := json.Unmarshal(p.Data, &want); err != nil || len(want) != n || args.Len() != n-args.Skip {
			t.Fatalf("%d elements, %d arguments of %s: %v", n, args.Len(), p.Data, err)
		}
	}
	for i := range args.Len() {
		var v any
		_ = args.Decode(Codec{}, i, &v)
	}
}

func FuzzDecodeText(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d := new(Decoder)
		p, done, err := d.Text(b)
		switch {
		case err != nil:
			if done || d.Pending() {
				t.Fatal("an error, and yet a packet")
			}
		case done:
			checkPacket(t, p)
		case !d.Pending():
			t.Fatal("neither complete nor waiting")
		}
	})
}

// FuzzDecodeBinary feeds a sequence of messages, separated by a byte that says
// what the next one is.
func FuzzDecodeBinary(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s + "\x00bin\x00bin2\x01" + s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, text, held := NewDecoder(Limits{MaxBytes: 1000}), true, 0
		for len(b) > 0 {
			end := bytes.IndexAny(b, "\x00\x01")
			msg, rest, next := b, []byte(nil), text
			if end >= 0 {
				msg, rest, next = b[:end], b[end+1:], b[end] == 1
			}
			feed := d.Binary
			if text {
				feed = d.Text
			}
			p, done, err := feed(msg)
			if err != nil && d.Pending() {
				t.Fatal("an error, and still waiting")
			}
			if done {
				checkPacket(t, p)
			}
			if held += len(msg); !d.Pending() {
				held = 0
			} else if held > 1100+len(msg) {
				t.Fatalf("holds %d bytes", held)
			}
			b, text = rest, next
		}
	})
}

// FuzzScan compares the scanner with encoding/json: both must accept the same
// texts, but for depth and invalid UTF-8.
func FuzzScan(f *testing.F) {
	for _, s := range []string{`{}`, `[1,2.5e-3,"\u00e9\n",true,false,null,{"a":[]}]`, `-`, `01`, `1.`, `.5`, `1e`, `"\x"`, "\"\x00\"", `[1,]`, `{"a"}`, `{"a":1,}`,
		` 1 `, `tru`, `"abcdefghijklmno\"pqrstuvw"`, `"0123456789é"`, "", "\ufeff1", `[1 2]`, `{1:2}`, `"\ud8"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := scanner{data: b, maxDepth: 10000}
		got, want := s.scan() == nil, json.Valid(b)
		if want && !utf8.Valid(b) {
			want = false
		}
		if got != want {
			t.Fatalf("%q: accepted %v, want %v", b, got, want)
		}
		if got {
			trimmed := bytes.Trim(b, " \t\r\n")
			if end := skipValue(trimmed, 0); end != len(trimmed) {
				t.Fatalf("%q: skipped to %d of %d", b, end, len(trimmed))
			}
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	f.Add("chat", "text", []byte("x"), []byte(nil), 1.5, "/", uint64(3), true)
	f.Add("", "\xff<>\u2028", []byte{}, []byte("\x00"), 1e-7, "/admin", uint64(MaxID), false)
	f.Fuzz(func(t *testing.T, name, s string, b1, b2 []byte, n float64, nsp string, id uint64, hasID bool) {
		if IsReserved(name) || !utf8.ValidString(name) || !utf8.ValidString(s) || n != n || id > MaxID {
			t.Skip()
		}
		in := map[string]any{"s": s, "b": b1, "l": []any{n, b2, true, nil, s}}
		data, atts, err := Codec{}.AppendEvent(nil, name, in, b2)
		if err != nil {
			t.Skip()
		}
		d := new(Decoder)
		p, done, err := d.Text(append(AppendHeader(nil, Event, len(atts), "/n", id, hasID), data...))
		for _, a := range atts {
			if err != nil || done {
				t.Fatalf("complete %v, error %v", done, err)
			}
			p, done, err = d.Binary(a.Data)
		}
		if err != nil || !done || p.Namespace != "/n" || p.HasID != hasID || hasID && p.ID != id {
			t.Fatalf("got %+v, %v, %v", p, done, err)
		}
		if got, _, _ := EventName(p.Data); got != name {
			t.Fatalf("name %q, want %q", got, name)
		}
		args := p.Args()
		var got map[string]any
		if err := args.Decode(Codec{}, 0, &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{"s": s, "b": binaryOrNil(b1), "l": []any{n, binaryOrNil(b2), true, nil, s}}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %#v, want %#v", got, want)
		}
	})
}

func binaryOrNil(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}
