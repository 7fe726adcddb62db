package engineio

import (
	"bytes"
	"strings"
	"testing"
)

// show reads a payload with cut and shows its packets.
func show(payload string, cut cutter) string {
	var out []string
	rest := []byte(payload)
	for more := true; more; {
		var p packet
		p, rest, more = cut(rest)
		name := map[kind]string{
			kindIgnored: "-", kindOpen: "open:", kindNoop: "noop", kindText: "t:", kindBinary: "b:", kindPing: "ping", kindPong: "pong",
			kindClose: "close", kindUpgrade: "upgrade",
		}[p.kind]
		if p.kind == kindInvalid {
			out = append(out, "invalid")
			break
		}
		data := p.data
		if p.encoded {
			data = decodeBase64(bytes.Clone(data))
		}
		out = append(out, name+string(data))
	}
	return strings.Join(out, " ")
}

func TestTextPayloadOfRevision3(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, payload, want string }{
		{"one packet", "6:4hello", "t:hello"},
		{"several", "6:4hello2:4€1:2", "t:hello t:€ ping"},
		{"lengths are UTF-16 code units", "3:4😀2:4a", "t:😀 t:a"},
		{"base64 with a type digit", "10:b4AQIDBA==", "b:\x01\x02\x03\x04"},
		{"probe", "6:2probe1:51:1", "pingprobe upgrade close"},
		{"empty segments are skipped", "0:2:4a", "- t:a"},
		{"only an empty segment", "0:", "-"},
		{"leading zeros", "002:4a", "t:a"},
		{"empty body", "", "invalid"},
		{"no length", ":4a", "invalid"},
		{"no colon", "2", "invalid"},
		{"length that is no number", "x:4a", "invalid"},
		{"negative length", "-1:4a", "invalid"},
		{"length too long", "3:4a", "invalid"},
		{"trailing garbage", "2:4ab", "t:a invalid"},
		{"half a surrogate pair", "2:4😀", "invalid"},
		{"unknown type", "2:9a", "invalid"},
		{"base64 without a type", "1:b", "invalid"},
		{"base64 that is no message", "4:b3AA", "invalid"},
		{"length of many digits", strings.Repeat("0", 40) + "2:4a", "invalid"},
	} {
		if got := show(tc.payload, nextText3); got != tc.want {
			t.Errorf("%s: %q = %q, want %q", tc.name, tc.payload, got, tc.want)
		}
	}
}

func TestBinaryPayloadOfRevision3(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, payload, want string }{
		{"text and binary", "\x00\x04\xff4€\x01\x05\xff\x04\x01\x02\x03\x04", "t:€ b:\x01\x02\x03\x04"},
		{"lengths of several digits", "\x00\x01\x02\xff4" + strings.Repeat("x", 11), "t:" + strings.Repeat("x", 11)},
		{"empty binary message", "\x01\x01\xff\x04", "b:"},
		{"a lone surrogate", "\x00\x04\xff4\xed\xa0\x80", "t:\uFFFD"},
		{"empty body", "", "invalid"},
		{"an unknown marker", "\x02\x01\xff4", "invalid"},
		{"no terminator", "\x00\x04", "invalid"},
		{"no length", "\x00\xff4", "invalid"},
		{"a digit above 9", "\x00\x0a\xff4", "invalid"},
		{"content too short", "\x00\x04\xff4a", "invalid"},
		{"trailing garbage", "\x00\x02\xff4a\x00", "t:a invalid"},
		{"text that is not UTF-8", "\x00\x02\xff4\xc3", "invalid"},
		{"binary without a type", "\x01\x00\xff", "invalid"},
		{"binary that is no message", "\x01\x02\xff\x02a", "invalid"},
		{"empty text", "\x00\x00\xff", "invalid"},
	} {
		if got := show(tc.payload, nextBinary3); got != tc.want {
			t.Errorf("%s: %q = %q, want %q", tc.name, tc.payload, got, tc.want)
		}
	}
}

func TestPayloadFormats(t *testing.T) {
	t.Parallel()
	plain := []*Message{text("€"), text("😀")}
	mixed := []*Message{NewMessage(append(Reserve(0), "€"...), [][]byte{{1, 2, 3, 4}})}
	for _, tc := range []struct {
		name, query string
		rev         revision
		msgs        []*Message
		tail        string
		want, mime  string
	}{
		{"revision 4", "", revision4, mixed, "1", "4€\x1ebAQIDBA==\x1e1", mimeText},
		{"revision 4, end alone", "", revision4, nil, tailNoopClose, "6\x1e1", mimeText},
		{"text", "", revision3, plain, "", "2:4€3:4😀", mimeText},
		{"text, end", "", revision3, plain[:1], "1", "2:4€1:1", mimeText},
		{"end alone", "", revision3, nil, tailNoopClose, "1:61:1", mimeText},
		{"binary", "", revision3, mixed, "", "\x00\x04\xff4€\x01\x05\xff\x04\x01\x02\x03\x04", mimeOctetStream},
		{"binary, end", "", revision3, mixed, "1", "\x00\x04\xff4€\x01\x05\xff\x04\x01\x02\x03\x04\x00\x01\xff1", mimeOctetStream},
		{"base64", "b64=1", revision3, mixed, "", "2:4€10:b4AQIDBA==", mimeText},
		{"JSONP", "j=0", revision3, plain[:1], "", `___eio[0]("2:4€");`, mimeText},
		{"JSONP never is binary", "j=1", revision3, mixed, "", `___eio[1]("2:4€10:b4AQIDBA==");`, mimeText},
		{"JSONP keeps digits only", "j=a1);alert(2", revision4, plain[:1], "1", `___eio[12]("4€\u001e1");`, mimeText},
		{"JSONP with an empty index", "j=", revision4, []*Message{text("\"\u2028</script>\n")}, "", `___eio[]("4\"\u2028</script>\n");`, mimeText},
	} {
		f := newFormat(tc.rev, tc.query)
		body, mime := f.append(nil, tc.msgs, tc.tail)
		if string(body) != tc.want || mime != tc.mime {
			t.Errorf("%s: %q %s, want %q %s", tc.name, body, mime, tc.want, tc.mime)
		}
		size := 0
		for _, m := range tc.msgs {
			size += 1 + f.sizeOf(m)
		}
		if !f.jsonp && tc.tail == "" && size < len(body) {
			t.Errorf("%s: %d bytes announced, %d made", tc.name, size, len(body))
		}
	}
}

func TestFormPayload(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		form, want string
		ok         bool
	}{
		{"d=2%3A4a", "2:4a", true},
		{"x=1&d=a+b", "a b", true},
		{`d=a%5Cnb`, "a\nb", true},
		{`d=a%5C%5Cnb`, `a\nb`, true},
		{`d=a%5C%5C%5Cnb`, `a\\nb`, true},
		{"d=", "", true},
		{"x=1", "", false},
		{"", "", false},
	} {
		got, ok := formPayload([]byte(tc.form))
		if string(got) != tc.want || ok != tc.ok {
			t.Errorf("%q = %q, %v; want %q, %v", tc.form, got, ok, tc.want, tc.ok)
		}
	}
}

func FuzzTextPayload3(f *testing.F) {
	for _, s := range []string{"", "6:4hello", "2:4€10:b4AQIDBA==", "3:4😀", "0:", "9999999999:4", "2:4\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) { fuzzCutter(t, payload, nextText3) })
}

func FuzzBinaryPayload3(f *testing.F) {
	for _, s := range []string{"", "\x00\x04\xff4€\x01\x05\xff\x04\x01\x02\x03\x04", "\x00\x09\x09\x09\xff4", "\x00\x04\xff4\xed\xa0\x80"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) { fuzzCutter(t, payload, nextBinary3) })
}

// fuzzCutter checks that a payload ends, and that what it holds came from it.
func fuzzCutter(t *testing.T, payload []byte, cut cutter) {
	rest, total := payload, 0
	for more := true; more; {
		before := len(rest)
		var p packet
		p, rest, more = cut(rest)
		total += len(p.data)
		if more && len(rest) >= before {
			t.Fatalf("%d bytes left of %d", len(rest), before)
		}
		if more && p.kind == kindInvalid {
			continue // the session ends there
		}
	}
	if total > len(payload) {
		t.Errorf("%d bytes of data in %d", total, len(payload))
	}
}

// What is encoded reads back as it was.
func FuzzFormat3(f *testing.F) {
	f.Add("hello €😀", []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, s string, att []byte) {
		s = strings.ToValidUTF8(s, "?")
		m := NewMessage(append(Reserve(len(s)), s...), [][]byte{att})
		want := "t:" + s + " b:" + string(att)
		for query, cut := range map[string]cutter{"": nextBinary3, "b64=1": nextText3} {
			format := newFormat(revision3, query)
			body, _ := format.append(nil, []*Message{m}, "")
			if got := show(string(body), cut); got != want {
				t.Errorf("%q: %q reads as %q", query, body, got)
			}
		}
	})
}
