package parser

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
)

var rawMessageType = reflect.TypeFor[json.RawMessage]()

// Decode decodes raw, one value that starts at offset base of a packet's Data,
// into v, a pointer. atts are the attachments of the whole packet; those inside
// raw end up where their placeholders stand: in []byte and named byte slices, and
// as []byte in interfaces. They are shared, not copied, between all values
// decoded from one packet. A placeholder where a string is wanted is an error; a
// json.RawMessage or a type that decodes itself sees the base64 text, unless the
// type is part of one that also holds interfaces: then such a type sees a random
// string. Numbers in interfaces are float64.
func (c Codec) Decode(raw []byte, atts []Attachment, base int, v any) error {
	holes := holesIn(raw, atts, base)
	if len(holes) == 0 {
		return c.plain(raw, v)
	}
	if rv := reflect.ValueOf(v); rv.Kind() != reflect.Pointer || rv.IsNil() {
		return c.unmarshal(raw, v) // which says what is wrong with v
	}
	if len(holes) == 1 && holes[0].from == 0 && holes[0].to == len(raw) {
		switch p := v.(type) {
		case *[]byte:
			*p = holes[0].data
			return nil
		case *any:
			*p = holes[0].data
			return nil
		}
	}
	if tr := traitsOf(reflect.TypeOf(v)); tr.custom && !tr.dynamic {
		return c.unmarshal(fill(raw, holes, func(i int) string {
			return base64.StdEncoding.EncodeToString(holes[i].data)
		}), v)
	}
	r := restorer{holes: holes}
	rand.Read(r.nonce[:])
	if err := c.unmarshal(fill(raw, holes, r.token), v); err != nil {
		return err
	}
	return r.walk(reflect.ValueOf(v), 0)
}

// plain decodes text without attachments.
func (c Codec) plain(raw []byte, v any) error {
	if p, ok := v.(*string); ok && len(raw) >= 2 && raw[0] == '"' && plainEnd(raw) == len(raw)-1 {
		*p = string(raw[1 : len(raw)-1])
		return nil
	}
	return c.unmarshal(raw, v)
}

func (c Codec) unmarshal(text []byte, v any) error {
	unmarshal := c.Unmarshal
	if unmarshal == nil {
		unmarshal = json.Unmarshal
	}
	if err := unmarshal(text, v); err != nil {
		return fmt.Errorf("parser: decode into %T: %w", v, err)
	}
	return nil
}

// hole is a placeholder in a raw value and what belongs there.
type hole struct {
	from, to int
	data     []byte
}

func holesIn(raw []byte, atts []Attachment, base int) []hole {
	var holes []hole
	last := 0
	for _, a := range atts {
		at := a.At - base
		if at < last || at >= len(raw) || raw[at] != '{' {
			continue
		}
		last = skipValue(raw, at)
		holes = append(holes, hole{from: at, to: last, data: a.Data})
	}
	return holes
}

// fill returns raw with the string text(i) in place of hole i. The text must
// need no escaping.
func fill(raw []byte, holes []hole, text func(i int) string) []byte {
	out := make([]byte, 0, len(raw))
	from := 0
	for i, h := range holes {
		out = append(append(out, raw[from:h.from]...), '"')
		out = append(append(out, text(i)...), '"')
		from = h.to
	}
	return append(out, raw[from:]...)
}

// restorer puts attachments into a decoded value. Each stood in the text as a
// token: a random string no peer can guess, which is also valid base64, so that
// encoding/json puts it into a string, an interface or bytes alike.
type restorer struct {
	holes []hole
	nonce [15]byte // 20 characters of base64
}

const tokenBytes = 18

func (r *restorer) token(i int) string {
	b := append(r.nonce[:len(r.nonce):len(r.nonce)], byte(i>>16), byte(i>>8), byte(i))
	return base64.StdEncoding.EncodeToString(b)
}

// bytes returns the attachment whose token b is.
func (r *restorer) bytes(b []byte) ([]byte, bool) {
	if len(b) != tokenBytes || !bytes.Equal(b[:len(r.nonce)], r.nonce[:]) {
		return nil, false
	}
	i := int(b[15])<<16 | int(b[16])<<8 | int(b[17])
	if i >= len(r.holes) {
		return nil, false
	}
	return r.holes[i].data, true
}

// text is bytes for a token that is still text.
func (r *restorer) text(s string) ([]byte, bool) {
	if len(s) != base64.StdEncoding.EncodedLen(tokenBytes) {
		return nil, false
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, false
	}
	return r.bytes(b)
}

// dynamic returns x, something encoding/json put into an interface, with its
// tokens replaced.
func (r *restorer) dynamic(x any) any {
	switch x := x.(type) {
	case string:
		if data, ok := r.text(x); ok {
			return data
		}
	case []any:
		for i := range x {
			x[i] = r.dynamic(x[i])
		}
	case map[string]any:
		for k, e := range x {
			x[k] = r.dynamic(e)
		}
	}
	return x
}

// walk replaces the tokens below v.
func (r *restorer) walk(v reflect.Value, depth int) error {
	if depth > maxWalk {
		return errTooDeep
	}
	t := v.Type()
	if t == rawMessageType {
		return r.rawMessage(v)
	}
	if t.Kind() != reflect.Pointer && decodesItself(t) {
		return nil
	}
	switch t.Kind() {
	case reflect.String:
		if _, ok := r.text(v.String()); ok {
			return fmt.Errorf("parser: decode into %s: binary where a string is wanted", t)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return r.walk(v.Elem(), depth+1)
		}
	case reflect.Interface:
		return r.walkInterface(v, depth)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			r.walkBytes(v)
			return nil
		}
		return r.walkElements(v, depth)
	case reflect.Array:
		return r.walkElements(v, depth)
	case reflect.Map:
		return r.walkMap(v, depth)
	case reflect.Struct:
		return r.walkFields(v, depth)
	}
	return nil
}

func (r *restorer) rawMessage(v reflect.Value) error {
	text := v.Bytes()
	for i, h := range r.holes {
		if token := r.token(i); bytes.Contains(text, []byte(token)) {
			text = bytes.Replace(text, []byte(token), base64.StdEncoding.AppendEncode(nil, h.data), 1)
		}
	}
	v.SetBytes(text)
	return nil
}

func (r *restorer) walkInterface(v reflect.Value, depth int) error {
	if v.IsNil() {
		return nil
	}
	if v.Elem().Kind() == reflect.Pointer { // the caller's, decoded in place
		return r.walk(v.Elem(), depth+1)
	}
	if v.CanSet() {
		v.Set(reflect.ValueOf(r.dynamic(v.Interface())))
	}
	return nil
}

func (r *restorer) walkBytes(v reflect.Value) {
	if data, ok := r.bytes(v.Bytes()); ok && v.CanSet() {
		v.SetBytes(data)
	}
}

func (r *restorer) walkElements(v reflect.Value, depth int) error {
	if k := v.Type().Elem().Kind(); k <= reflect.Complex128 {
		return nil // bools and numbers
	}
	for i := range v.Len() {
		if err := r.walk(v.Index(i), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// walkMap copies each value, because map elements cannot be set in place.
func (r *restorer) walkMap(v reflect.Value, depth int) error {
	if k := v.Type().Elem().Kind(); k <= reflect.Complex128 {
		return nil
	}
	for it := v.MapRange(); it.Next(); {
		elem := reflect.New(v.Type().Elem()).Elem()
		elem.Set(it.Value())
		if err := r.walk(elem, depth+1); err != nil {
			return err
		}
		v.SetMapIndex(it.Key(), elem)
	}
	return nil
}

func (r *restorer) walkFields(v reflect.Value, depth int) error {
	for _, f := range fieldsOf(v.Type()) {
		fv, ok := fieldByIndex(v, f.index)
		if !ok {
			continue
		}
		if err := r.walk(fv, depth+1); err != nil {
			return err
		}
	}
	return nil
}
