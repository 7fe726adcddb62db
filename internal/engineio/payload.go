package engineio

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// format is how the payloads of a polling session look. It is chosen by the
// handshake request.
type format struct {
	rev   revision
	b64   bool // the client takes no binary payloads
	jsonp bool
	index string // of the client's callback, with JSONP: digits
}

func newFormat(rev revision, rawQuery string) format {
	f := format{rev: rev, b64: queryValue(rawQuery, "b64") != ""}
	if f.jsonp = queryHas(rawQuery, "j"); f.jsonp {
		f.index = strings.Map(func(c rune) rune {
			if c < '0' || c > '9' {
				return -1
			}
			return c
		}, queryValue(rawQuery, "j"))
	}
	return f
}

// sizeOf returns about how many bytes m takes in a payload, and never less.
func (f *format) sizeOf(m *Message) int {
	if f.rev == revision3 {
		return m.payloadSize() + m.packets()*(maxLengthDigits+2)
	}
	return m.payloadSize()
}

// append appends the payload of messages, and of the packets without data whose
// types tail lists, to dst. It returns its content type.
func (f *format) append(dst []byte, msgs []*Message, tail string) (body []byte, mime string) {
	mime = mimeText
	switch {
	case f.rev != revision3:
		dst = appendPayload4(dst, msgs, tail)
	case f.binary(msgs):
		dst, mime = appendPayload3Binary(dst, msgs, tail), mimeOctetStream
	default:
		dst = appendPayload3(dst, msgs, tail)
	}
	if f.jsonp {
		dst = appendJSONP(dst, f.index)
	}
	return dst, mime
}

// binary reports whether a payload of revision 3 has to be a binary one.
func (f *format) binary(msgs []*Message) bool {
	return !f.b64 && !f.jsonp && slices.ContainsFunc(msgs, func(m *Message) bool { return len(m.att) > 0 })
}

func appendPayload4(dst []byte, msgs []*Message, tail string) []byte {
	for _, m := range msgs {
		dst = m.appendPayload(dst)
	}
	for i := range len(tail) {
		if len(dst) > 0 {
			dst = append(dst, separator)
		}
		dst = append(dst, tail[i])
	}
	return dst
}

func appendPayload3(dst []byte, msgs []*Message, tail string) []byte {
	for _, m := range msgs {
		if m.text.buf != nil {
			dst = appendText3(dst, m.text.packet(), m.textUnits())
		}
		if len(m.att) == 0 {
			continue
		}
		for _, p := range m.encoded(revision3) {
			dst = appendText3(dst, p.packet(), len(p.packet()))
		}
	}
	for i := range len(tail) {
		dst = append(dst, '1', ':', tail[i])
	}
	return dst
}

func appendPayload3Binary(dst []byte, msgs []*Message, tail string) []byte {
	for _, m := range msgs {
		if text := m.text.packet(); m.text.buf != nil {
			dst = append(appendBinary3(dst, 0, len(text)), text...)
		}
		for _, a := range m.att {
			dst = append(appendBinary3(dst, 1, 1+len(a)), binaryMessage)
			dst = append(dst, a...)
		}
	}
	for i := range len(tail) {
		dst = append(appendBinary3(dst, 0, 1), tail[i])
	}
	return dst
}

// appendJSONP makes payload the argument of a call of the client's callback, as in
// engine.io transports/polling-jsonp.ts. encoding/json escapes U+2028 and U+2029,
// which JavaScript once took for line ends.
func appendJSONP(payload []byte, index string) []byte {
	var out bytes.Buffer
	out.Grow(len(payload) + len(payload)/8 + 32)
	out.WriteString("___eio[" + index + "](")
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(string(payload)) // a string can always be encoded
	return append(bytes.TrimSuffix(out.Bytes(), []byte{'\n'}), ");"...)
}

// formPayload returns the payload in the form that JSONP clients post, or false
// when there is none. They escape line ends, which browsers change in forms.
func formPayload(form []byte) ([]byte, bool) {
	if !queryHas(string(form), "d") {
		return nil, false
	}
	return unescapeLines([]byte(queryValue(string(form), "d"))), true
}

// unescapeLines turns "\n", backslash and all, into a line end, and "\\n" into
// "\n". It works in place.
func unescapeLines(text []byte) []byte {
	out := text[:0]
	for i := 0; i < len(text); {
		switch {
		case bytes.HasPrefix(text[i:], []byte(`\\n`)):
			out = append(out, `\n`...)
			i += 3
		case bytes.HasPrefix(text[i:], []byte(`\n`)):
			out = append(out, '\n')
			i += 2
		default:
			out = append(out, text[i])
			i++
		}
	}
	return out
}
