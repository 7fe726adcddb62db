package msgpack

import (
	"iter"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"github.com/socketfleet/socketfleet/adapter"
)

// Value is one value of a message that is either JSON or MessagePack, so that an
// envelope is taken apart by one piece of code whichever encoding its sender
// chose. It aliases the bytes it was parsed from. The zero Value stands for a
// value that is absent.
type Value struct {
	b    []byte
	json bool
}

// Parse checks that b is exactly one value and returns it. A first byte of '{'
// means JSON, any other MessagePack: no MessagePack map starts with it.
func Parse(b []byte) (Value, error) {
	if len(b) > 0 && b[0] == '{' {
		return ParseJSON(b)
	}
	rest, err := Skip(b)
	if err != nil {
		return Value{}, err
	}
	if len(rest) > 0 {
		return Value{}, ErrTrailing
	}
	return Value{b: b}, nil
}

// ParseJSON checks that b is exactly one JSON value in UTF-8 and returns it.
func ParseJSON(b []byte) (Value, error) {
	if !utf8.Valid(b) {
		return Value{}, ErrMalformed
	}
	end, err := scanValue(b, 0, 0)
	if err != nil {
		return Value{}, err
	}
	if skipSpace(b, end) != len(b) {
		return Value{}, ErrTrailing
	}
	return Value{b: b[skipSpace(b, 0):end], json: true}, nil
}

// Absent reports whether v is the zero Value.
func (v Value) Absent() bool { return v.b == nil }

func (v Value) kind() kind {
	if v.Absent() {
		return kindNil
	}
	if !v.json {
		h, _ := readHead(v.b)
		return h.kind
	}
	switch v.b[0] {
	case '{':
		return kindMap
	case '[':
		return kindArray
	case '"':
		return kindString
	case 't', 'f':
		return kindBool
	case 'n':
		return kindNil
	}
	return kindNumber
}

// IsNull, IsMap, IsArray and IsText report what v is; an absent value is null.
func (v Value) IsNull() bool  { return v.kind() == kindNil }
func (v Value) IsMap() bool   { return v.kind() == kindMap }
func (v Value) IsArray() bool { return v.kind() == kindArray }
func (v Value) IsText() bool  { return v.kind() == kindString }

// Fields yields the members of a map that have strings as keys, in their order;
// nothing when v is no map. The key is valid during its step only.
func (v Value) Fields() iter.Seq2[[]byte, Value] {
	return func(yield func([]byte, Value) bool) {
		switch {
		case !v.IsMap():
		case v.json:
			v.jsonFields(yield)
		default:
			v.packFields(yield)
		}
	}
}

func (v Value) jsonFields(yield func([]byte, Value) bool) {
	c := cursor{b: v.b, object: true}
	for c.next() {
		end, err := scanValue(v.b, c.i, 0)
		if err != nil {
			return
		}
		key := c.key[1 : len(c.key)-1]
		if c.escaped {
			key = unquote(nil, c.key)
		}
		if !yield(key, Value{v.b[c.i:end], true}) {
			return
		}
		c.i = end
	}
}

func (v Value) packFields(yield func([]byte, Value) bool) {
	h, _ := readHead(v.b)
	b := v.b[h.size:]
	for range h.items / 2 {
		val, err := Skip(b)
		if err != nil {
			return
		}
		next, err := Skip(val)
		if err != nil {
			return
		}
		if key, ok := (Value{b: b[:len(b)-len(val)]}).TextBytes(); ok {
			if !yield(key, Value{b: val[:len(val)-len(next)]}) {
				return
			}
		}
		b = next
	}
}

// Elements yields the elements of an array; nothing when v is no array.
func (v Value) Elements() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		switch {
		case !v.IsArray():
		case v.json:
			c := cursor{b: v.b}
			for c.next() {
				end, err := scanValue(v.b, c.i, 0)
				if err != nil || !yield(Value{v.b[c.i:end], true}) {
					return
				}
				c.i = end
			}
		default:
			h, _ := readHead(v.b)
			b := v.b[h.size:]
			for range h.items {
				next, err := Skip(b)
				if err != nil || !yield(Value{b: b[:len(b)-len(next)]}) {
					return
				}
				b = next
			}
		}
	}
}

// TextBytes is Text without the allocation: the bytes may alias the message.
func (v Value) TextBytes() ([]byte, bool) {
	if !v.IsText() {
		return nil, false
	}
	if !v.json {
		h, _ := readHead(v.b)
		return v.b[h.head:h.size], true
	}
	_, escaped, _ := scanString(v.b, 0)
	if escaped {
		return unquote(nil, v.b), true
	}
	return v.b[1 : len(v.b)-1], true
}

// Text returns a string, or "" and false when v is something else.
func (v Value) Text() (string, bool) {
	b, ok := v.TextBytes()
	return string(b), ok
}

// Int returns a number without its fraction, limited to the range of int; 0 and
// false when v is no number.
func (v Value) Int() (int, bool) {
	if v.kind() != kindNumber {
		return 0, false
	}
	var f float64
	switch {
	case v.json:
		f, _ = strconv.ParseFloat(string(v.b), 64)
	case v.b[0] == 0xca, v.b[0] == 0xcb:
		f, _, _ = msgp.ReadFloat64Bytes(v.b)
	case v.b[0] == 0xcf:
		u, _, _ := msgp.ReadUint64Bytes(v.b)
		f = float64(u)
	default:
		n, _, _ := msgp.ReadInt64Bytes(v.b)
		f = float64(n)
	}
	if f != f {
		return 0, false
	}
	return int(max(math.MinInt32, min(math.MaxInt32, f))), true
}

// True and False report whether v is that boolean, and nothing else.
func (v Value) True() bool  { return v.kind() == kindBool && (v.b[0] == 't' || v.b[0] == 0xc3) }
func (v Value) False() bool { return v.kind() == kindBool && !v.True() }

// AppendJSON appends v as JSON text; binary is handled as ToJSON does.
func (v Value) AppendJSON(dst []byte, atts []adapter.Attachment) ([]byte, []adapter.Attachment, error) {
	if v.Absent() {
		return append(dst, "null"...), atts, nil
	}
	if v.json {
		return append(dst, v.b...), atts, nil
	}
	dst, atts, _, err := ToJSON(slices.Grow(dst, len(v.b)+len(v.b)/4), v.b, atts)
	return dst, atts, err
}

// AppendPlainJSON appends v as JSON text; binary is handled as ToPlainJSON does.
func (v Value) AppendPlainJSON(dst []byte) ([]byte, error) {
	if v.Absent() || v.json {
		dst, _, err := v.AppendJSON(dst, nil)
		return dst, err
	}
	dst, _, err := ToPlainJSON(dst, v.b)
	return dst, err
}

// FirstElement returns where the first element of a JSON array lies; ok is false
// when there is none, or json is no array.
func FirstElement(json []byte) (from, to int, ok bool) {
	c := cursor{b: json, i: skipSpace(json, 0)}
	if !c.at('[') || !c.next() {
		return 0, 0, false
	}
	end, err := scanValue(json, c.i, 0)
	return c.i, end, err == nil
}

// Undefined reports whether v is absent, or JavaScript's undefined in the
// dialect of notepack.io 2, which keeps the key of such a member.
func (v Value) Undefined() bool { return v.Absent() || !v.json && undefined(v.b) > 0 }

// Uint returns an integer from 0 to 2^53-1; false when v is anything else.
func (v Value) Uint() (uint64, bool) {
	if v.kind() != kindNumber {
		return 0, false
	}
	text := v.b
	if !v.json {
		var buf [32]byte
		d := decoder{out: buf[:0]}
		if _, err := d.number(v.b, head{}); err != nil {
			return 0, false
		}
		text = d.out
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	return n, err == nil && n <= maxSafe
}

// AppendValue appends v as Limits.ToJSON does, or as Limits.ToPlainJSON when plain is
// set. A v that was JSON is appended as it is.
func (l Limits) AppendValue(dst []byte, v Value, plain bool) ([]byte, []adapter.Attachment, error) {
	if v.Absent() || v.json {
		return v.AppendJSON(dst, nil)
	}
	dst = slices.Grow(dst, len(v.b)+len(v.b)/4)
	if plain {
		dst, _, err := l.ToPlainJSON(dst, v.b)
		return dst, nil, err
	}
	dst, atts, _, err := l.ToJSON(dst, v.b, nil)
	return dst, atts, err
}
