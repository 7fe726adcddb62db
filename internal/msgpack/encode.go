package msgpack

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/tinylib/msgp/msgp"

	"github.com/socketfleet/socketfleet/adapter"
)

// AppendJSON appends the MessagePack form of the JSON value json to dst. Where an
// attachment's At is the offset of a value in json, that value is replaced by the
// attachment as bin. The order of keys is kept. Integers up to 2^53 take their
// shortest form, other numbers are float64, as notepack.io's encode.js does.
//
// It fails when json is not one JSON value, is nested deeper than MaxDepth, or an
// attachment stands where no value starts; dst is then returned unchanged.
func AppendJSON(dst, json []byte, atts []adapter.Attachment) ([]byte, error) {
	e := encoder{in: json, out: dst, atts: inTextOrder(atts)}
	if err := e.value(0); err != nil {
		return dst, err
	}
	if skipSpace(json, e.pos) != len(json) {
		return dst, ErrTrailing
	}
	if len(e.atts) > 0 {
		return dst, fmt.Errorf("msgpack: no value at byte %d for an attachment", e.atts[0].At)
	}
	return e.out, nil
}

// inTextOrder returns atts sorted by At: a client may number its placeholders in
// any order.
func inTextOrder(atts []adapter.Attachment) []adapter.Attachment {
	byAt := func(a, b adapter.Attachment) int { return cmp.Compare(a.At, b.At) }
	if slices.IsSortedFunc(atts, byAt) {
		return atts
	}
	atts = slices.Clone(atts)
	slices.SortFunc(atts, byAt)
	return atts
}

type encoder struct {
	in      []byte
	pos     int
	out     []byte
	atts    []adapter.Attachment // those still to come, by At
	scratch []byte
}

func (e *encoder) value(depth int) error {
	e.pos = skipSpace(e.in, e.pos)
	if e.pos >= len(e.in) {
		return ErrShort
	}
	if len(e.atts) > 0 && e.atts[0].At == e.pos {
		return e.attachment()
	}
	switch e.in[e.pos] {
	case '{', '[':
		return e.container(depth)
	case '"':
		return e.string()
	case 't':
		return e.word("true", msgp.AppendBool(e.out, true))
	case 'f':
		return e.word("false", msgp.AppendBool(e.out, false))
	case 'n':
		return e.word("null", msgp.AppendNil(e.out))
	}
	return e.number()
}

func (e *encoder) attachment() error {
	end, err := scanValue(e.in, e.pos, 0)
	if err != nil {
		return err
	}
	e.out = msgp.AppendBytes(e.out, e.atts[0].Data)
	e.pos, e.atts = end, e.atts[1:]
	return nil
}

func (e *encoder) word(w string, out []byte) error {
	end, err := scanWord(e.in, e.pos, w)
	e.pos, e.out = end, out
	return err
}

// container writes a one-byte header and widens it when more members follow than
// fit, so that the text is walked once.
func (e *encoder) container(depth int) error {
	if depth >= MaxDepth {
		return ErrDepth
	}
	head, n := len(e.out), 0
	e.out = append(e.out, 0)
	c := cursor{b: e.in, i: e.pos, object: e.in[e.pos] == '{'}
	for c.next() {
		if c.object {
			e.text(c.key, c.escaped)
		}
		e.pos = c.i
		if err := e.value(depth + 1); err != nil {
			return err
		}
		c.i = e.pos
		n++
	}
	e.pos = c.i
	e.header(head, n, c.object)
	return c.err
}

func (e *encoder) header(at, n int, object bool) {
	fix, wide := byte(0x90), byte(0xdc)
	if object {
		fix, wide = 0x80, 0xde
	}
	switch {
	case n < 16:
		e.out[at] = fix | byte(n)
	case n <= math.MaxUint16:
		e.widen(at, 2)
		e.out[at] = wide
		binary.BigEndian.PutUint16(e.out[at+1:], uint16(n))
	default:
		e.widen(at, 4)
		e.out[at] = wide + 1
		binary.BigEndian.PutUint32(e.out[at+1:], uint32(n))
	}
}

func (e *encoder) widen(at, by int) {
	end := len(e.out)
	e.out = append(e.out, 0, 0, 0, 0)[:end+by]
	copy(e.out[at+1+by:], e.out[at+1:end])
}

func (e *encoder) string() error {
	end, escaped, err := scanString(e.in, e.pos)
	if err != nil {
		return err
	}
	e.text(e.in[e.pos:end], escaped)
	e.pos = end
	return nil
}

func (e *encoder) text(quoted []byte, escaped bool) {
	s := quoted[1 : len(quoted)-1]
	if escaped {
		e.scratch = unquote(e.scratch[:0], quoted)
		s = e.scratch
	}
	e.out = msgp.AppendStringFromBytes(e.out, s)
}

func (e *encoder) number() error {
	end, integer, err := scanNumber(e.in, e.pos)
	if err != nil {
		return err
	}
	s := e.in[e.pos:end]
	e.pos = end
	if integer && len(s) <= 15 {
		e.out = appendInt(e.out, shortInt(s))
		return nil
	}
	// Out of range gives an infinity, as JSON.parse does.
	f, _ := strconv.ParseFloat(string(s), 64)
	if f == math.Trunc(f) && math.Abs(f) <= maxSafe {
		e.out = appendInt(e.out, int64(f))
	} else {
		e.out = msgp.AppendFloat64(e.out, f)
	}
	return nil
}

// shortInt parses an integer of at most 15 characters.
func shortInt(s []byte) int64 {
	neg := s[0] == '-'
	if neg {
		s = s[1:]
	}
	var n int64
	for _, c := range s {
		n = n*10 + int64(c-'0')
	}
	if neg {
		return -n
	}
	return n
}

func appendInt(dst []byte, n int64) []byte {
	if n >= 0 {
		return msgp.AppendUint64(dst, uint64(n))
	}
	return msgp.AppendInt64(dst, n)
}
