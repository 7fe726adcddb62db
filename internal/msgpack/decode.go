package msgpack

import (
	"encoding/binary"
	"math"
	"strconv"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/socketfleet/socketfleet/adapter"
)

// ToJSON appends the JSON form of the first MessagePack value of b to dst and
// returns the bytes that follow it; whether any may follow is the caller's to
// check. Binary becomes a placeholder in the text and an attachment appended to
// atts, whose At counts from the start of dst and whose Data aliases b.
//
// Numbers, strings and dates are written as JSON.stringify writes what the
// reference's decoders make of them: timestamps as ISO strings, undefined, NaN
// and infinities as null. An undefined member of a map is left out.
func ToJSON(dst, b []byte, atts []adapter.Attachment) (json []byte, out []adapter.Attachment, rest []byte, err error) {
	return Limits{}.ToJSON(dst, b, atts)
}

// Limits bound what ToJSON accepts. Zero fields mean the defaults.
type Limits struct {
	MaxDepth       int // nested arrays and maps; default MaxDepth
	MaxTokens      int // values and keys; default: no bound but the input's length
	MaxAttachments int // in all of atts; default: no bound
}

func (l Limits) withDefaults() Limits {
	if l.MaxDepth <= 0 {
		l.MaxDepth = MaxDepth
	}
	if l.MaxTokens <= 0 {
		l.MaxTokens = math.MaxInt
	}
	if l.MaxAttachments <= 0 {
		l.MaxAttachments = math.MaxInt
	}
	return l
}

// ToJSON is the function ToJSON within limits.
func (l Limits) ToJSON(dst, b []byte, atts []adapter.Attachment) (json []byte, out []adapter.Attachment, rest []byte, err error) {
	d := decoder{out: dst, atts: atts, limits: l.withDefaults()}
	rest, err = d.value(b, 0)
	return d.out, d.atts, rest, err
}

// ToPlainJSON is ToJSON for places that take no attachments: binary becomes
// {"type":"Buffer","data":[...]}, as JSON.stringify writes a Node.js Buffer.
func ToPlainJSON(dst, b []byte) (json, rest []byte, err error) {
	return Limits{}.ToPlainJSON(dst, b)
}

// ToPlainJSON is the function ToPlainJSON within limits. The bytes of binary
// count as tokens, because each becomes a number.
func (l Limits) ToPlainJSON(dst, b []byte) (json, rest []byte, err error) {
	d := decoder{out: dst, plain: true, limits: l.withDefaults()}
	rest, err = d.value(b, 0)
	return d.out, rest, err
}

type decoder struct {
	out   []byte
	atts  []adapter.Attachment
	plain bool

	limits Limits
	tokens int
}

// count adds n values or keys.
func (d *decoder) count(n int) error {
	if n > d.limits.MaxTokens-d.tokens {
		return ErrTokens
	}
	d.tokens += n
	return nil
}

func (d *decoder) value(b []byte, depth int) ([]byte, error) {
	h, err := readHead(b)
	if err != nil {
		return b, err
	}
	if err := d.count(1); err != nil {
		return b, err
	}
	switch h.kind {
	case kindNil:
		d.out = append(d.out, "null"...)
	case kindBool:
		d.out = strconv.AppendBool(d.out, b[0] == 0xc3)
	case kindNumber:
		return d.number(b, h)
	case kindString:
		d.out = AppendQuoted(d.out, b[h.head:h.size])
	case kindBinary:
		err = d.binary(b[h.head:h.size])
	case kindExt:
		err = d.ext(b[0] >= 0xd4, int8(b[h.head-1]), b[h.head:h.size], depth)
	case kindArray:
		return d.array(b[h.size:], h.items, depth)
	case kindMap:
		return d.object(b[h.size:], h.items/2, depth)
	}
	return b[h.size:], err
}

func (d *decoder) number(b []byte, h head) ([]byte, error) {
	switch b[0] {
	case 0xca, 0xcb:
		f, rest, err := msgp.ReadFloat64Bytes(b)
		d.out = appendFloat(d.out, f)
		return rest, err
	case 0xcf:
		u, rest, err := msgp.ReadUint64Bytes(b)
		if u > maxSafe {
			d.out = appendFloat(d.out, float64(u))
		} else {
			d.out = strconv.AppendUint(d.out, u, 10)
		}
		return rest, err
	}
	n, rest, err := msgp.ReadInt64Bytes(b)
	if n < -maxSafe || n > maxSafe {
		d.out = appendFloat(d.out, float64(n))
	} else {
		d.out = strconv.AppendInt(d.out, n, 10)
	}
	return rest, err
}

func (d *decoder) array(b []byte, n, depth int) ([]byte, error) {
	if depth >= d.limits.MaxDepth {
		return b, ErrDepth
	}
	d.out = append(d.out, '[')
	for i := range n {
		if i > 0 {
			d.out = append(d.out, ',')
		}
		var err error
		if b, err = d.value(b, depth+1); err != nil {
			return b, err
		}
	}
	d.out = append(d.out, ']')
	return b, nil
}

func (d *decoder) object(b []byte, n, depth int) ([]byte, error) {
	if depth >= d.limits.MaxDepth {
		return b, ErrDepth
	}
	d.out = append(d.out, '{')
	first := len(d.out)
	for range n {
		before := len(d.out)
		if before > first {
			d.out = append(d.out, ',')
		}
		var err error
		if b, err = d.key(b); err != nil {
			return b, err
		}
		if n := undefined(b); n > 0 {
			d.out, b = d.out[:before], b[n:]
			continue
		}
		d.out = append(d.out, ':')
		if b, err = d.value(b, depth+1); err != nil {
			return b, err
		}
	}
	d.out = append(d.out, '}')
	return b, nil
}

// undefined returns the length of the JavaScript value undefined in notepack.io 2
// when b starts with it, else 0.
func undefined(b []byte) int {
	if len(b) >= 3 && b[0] == 0xd4 && b[1] == 0 {
		return 3
	}
	return 0
}

// key writes a map's key; numbers become strings, as in a JavaScript object.
func (d *decoder) key(b []byte) ([]byte, error) {
	h, err := readHead(b)
	if err != nil {
		return b, err
	}
	if err := d.count(1); err != nil {
		return b, err
	}
	switch h.kind {
	case kindString:
		d.out = AppendQuoted(d.out, b[h.head:h.size])
		return b[h.size:], nil
	case kindNumber:
		d.out = append(d.out, '"')
		rest, err := d.number(b, h)
		d.out = append(d.out, '"')
		return rest, err
	}
	return b, ErrMalformed
}

func (d *decoder) binary(data []byte) error {
	if !d.plain {
		if len(d.atts) >= d.limits.MaxAttachments {
			return ErrAttachments
		}
		d.atts = append(d.atts, adapter.Attachment{At: len(d.out), Data: data})
		d.out = append(d.out, `{"_placeholder":true,"num":`...)
		d.out = strconv.AppendInt(d.out, int64(len(d.atts)-1), 10)
		d.out = append(d.out, '}')
		return nil
	}
	if err := d.count(len(data)); err != nil {
		return err
	}
	d.out = append(d.out, `{"type":"Buffer","data":[`...)
	for i, c := range data {
		if i > 0 {
			d.out = append(d.out, ',')
		}
		d.out = strconv.AppendUint(d.out, uint64(c), 10)
	}
	d.out = append(d.out, "]}"...)
	return nil
}

// ext covers what notepack.io's decode.js gives a meaning: type -1 is a
// timestamp, type 0 is undefined (1 byte) or a date (8 bytes) where the header is
// one of fixed size, else an ArrayBuffer; any other type is a pair of the type
// and its bytes.
func (d *decoder) ext(fixed bool, typ int8, data []byte, depth int) error {
	switch {
	case typ == -1:
		ms, ok := timestamp(data)
		d.date(ms, ok)
	case typ == 0 && fixed && len(data) == 1:
		d.out = append(d.out, "null"...)
	case typ == 0 && fixed && len(data) == 8:
		d.date(float64(int64(binary.BigEndian.Uint64(data))), true)
	case typ == 0:
		return d.binary(data)
	case depth >= d.limits.MaxDepth:
		return ErrDepth
	default:
		d.out = append(d.out, '[')
		d.out = strconv.AppendInt(d.out, int64(typ), 10)
		d.out = append(d.out, ',')
		if err := d.binary(data); err != nil {
			return err
		}
		d.out = append(d.out, ']')
	}
	return nil
}

// timestamp adds up in float64, as the reference does: 999999999 ns round up.
func timestamp(data []byte) (ms float64, ok bool) {
	switch len(data) {
	case 4:
		return float64(binary.BigEndian.Uint32(data)) * 1e3, true
	case 8:
		v := binary.BigEndian.Uint64(data)
		return float64(v&(1<<34-1))*1e3 + float64(v>>34)/1e6, true
	case 12:
		ns := float64(binary.BigEndian.Uint32(data))
		s := float64(int64(binary.BigEndian.Uint64(data[4:])))
		return s*1e3 + ns/1e6, true
	}
	return 0, false
}

// maxDate is the largest time value of a JavaScript Date, in milliseconds.
const maxDate = 8.64e15

// date writes what Date.prototype.toJSON returns.
func (d *decoder) date(ms float64, ok bool) {
	if !ok || ms > maxDate || ms < -maxDate {
		d.out = append(d.out, "null"...)
		return
	}
	t := time.UnixMilli(int64(ms)).UTC()
	d.out = append(d.out, '"')
	year := t.Year()
	switch {
	case year < 0:
		d.out = append(d.out, '-')
		d.out = appendPadded(d.out, -year, 6)
	case year > 9999:
		d.out = append(d.out, '+')
		d.out = appendPadded(d.out, year, 6)
	default:
		d.out = appendPadded(d.out, year, 4)
	}
	d.out = t.AppendFormat(d.out, `-01-02T15:04:05.000Z"`)
}

func appendPadded(dst []byte, n, width int) []byte {
	for limit := int(math.Pow10(width - 1)); limit > 1 && n < limit; limit /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, int64(n), 10)
}
