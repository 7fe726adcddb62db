package parser

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"sync"
)

// Codec turns Go values into JSON text with attachments and back. The zero value
// uses encoding/json. Other functions must follow encoding/json where values hold
// bytes: struct tags, and base64 for []byte. What Marshal returns is checked.
type Codec struct {
	// Marshal encodes values that cannot hold binary. Nil: encoding/json without
	// HTML escaping.
	Marshal func(v any) ([]byte, error)
	// Unmarshal decodes one value. Nil: json.Unmarshal.
	Unmarshal func(data []byte, v any) error
}

// maxWalk is how deep the encoder and the decoder follow Go values, so that a
// value that contains itself is an error. encoding/json has the same bound.
const maxWalk = 1000

var errTooDeep = errors.New("parser: value is cyclic or nested too deeply")

// AppendArray appends vals as a JSON array. Every []byte in them, however deep,
// becomes a placeholder and an attachment, whose offset counts from the start of
// the array. It fails with ErrTooManyAttachments where official clients would
// reject the packet, and on values that have no JSON form.
func (c Codec) AppendArray(dst []byte, vals ...any) ([]byte, []Attachment, error) {
	e := encoder{codec: c, dst: append(dst, '['), start: len(dst)}
	return e.finish(vals)
}

// AppendEvent is AppendArray with the event's name as the first element.
func (c Codec) AppendEvent(dst []byte, event string, args ...any) ([]byte, []Attachment, error) {
	e := encoder{codec: c, dst: AppendString(append(dst, '['), event), start: len(dst)}
	if len(args) > 0 {
		e.dst = append(e.dst, ',')
	}
	return e.finish(args)
}

// encoder is one call of AppendArray.
type encoder struct {
	codec Codec
	dst   []byte
	start int // of the array in dst
	atts  []Attachment
	depth int
}

func (e *encoder) finish(vals []any) ([]byte, []Attachment, error) {
	if err := e.list(vals); err != nil {
		return e.dst[:e.start], nil, err
	}
	return append(e.dst, ']'), e.atts, nil
}

func (e *encoder) list(vals []any) error {
	for i, v := range vals {
		if i > 0 {
			e.dst = append(e.dst, ',')
		}
		if err := e.value(v); err != nil {
			return err
		}
	}
	return nil
}

// value appends v; the types events are mostly made of need no reflection.
func (e *encoder) value(v any) error {
	switch v := v.(type) {
	case nil:
		e.dst = append(e.dst, "null"...)
	case string:
		e.dst = AppendString(e.dst, v)
	case bool:
		e.dst = strconv.AppendBool(e.dst, v)
	case int:
		e.dst = strconv.AppendInt(e.dst, int64(v), 10)
	case int32:
		e.dst = strconv.AppendInt(e.dst, int64(v), 10)
	case int64:
		e.dst = strconv.AppendInt(e.dst, v, 10)
	case uint64:
		e.dst = strconv.AppendUint(e.dst, v, 10)
	case float64:
		return e.float(v)
	case []byte:
		return e.binary(v)
	case json.RawMessage:
		return e.raw(v)
	case []any:
		return e.slice(v)
	case map[string]any:
		return e.object(v)
	default:
		return e.other(v)
	}
	return nil
}

func (e *encoder) float(f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Errorf("parser: %v has no JSON form", f)
	}
	e.dst = appendFloat(e.dst, f)
	return nil
}

func (e *encoder) binary(b []byte) error {
	if b == nil {
		e.dst = append(e.dst, "null"...)
		return nil
	}
	if len(e.atts) == MaxAttachments {
		return ErrTooManyAttachments
	}
	e.atts = append(e.atts, Attachment{At: len(e.dst) - e.start, Data: b})
	e.dst = appendPlaceholder(e.dst, len(e.atts)-1)
	return nil
}

// raw appends text that is said to be JSON.
func (e *encoder) raw(text json.RawMessage) error {
	if text == nil {
		e.dst = append(e.dst, "null"...)
		return nil
	}
	s := scanner{data: text, maxDepth: maxWalk}
	if err := s.scan(); err != nil {
		return fmt.Errorf("parser: invalid json.RawMessage: %w", err)
	}
	e.dst = append(e.dst, text...)
	return nil
}

func (e *encoder) enter() error {
	if e.depth++; e.depth > maxWalk {
		return errTooDeep
	}
	return nil
}

func (e *encoder) slice(v []any) error {
	if v == nil {
		e.dst = append(e.dst, "null"...)
		return nil
	}
	if err := e.enter(); err != nil {
		return err
	}
	e.dst = append(e.dst, '[')
	if err := e.list(v); err != nil {
		return err
	}
	e.dst = append(e.dst, ']')
	e.depth--
	return nil
}

// object appends v with sorted keys, as encoding/json does.
func (e *encoder) object(v map[string]any) error {
	if v == nil {
		e.dst = append(e.dst, "null"...)
		return nil
	}
	if err := e.enter(); err != nil {
		return err
	}
	var few [16]string
	keys := few[:0]
	for k := range v {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	sep := byte('{')
	for _, k := range keys {
		e.dst = AppendString(append(e.dst, sep), k)
		e.dst = append(e.dst, ':')
		if err := e.value(v[k]); err != nil {
			return err
		}
		sep = ','
	}
	e.dst = closeObject(e.dst, sep)
	e.depth--
	return nil
}

// closeObject ends an object whose next separator would be sep.
func closeObject(dst []byte, sep byte) []byte {
	if sep == '{' {
		dst = append(dst, '{')
	}
	return append(dst, '}')
}

func (e *encoder) other(v any) error {
	if encodesBinary(reflect.TypeOf(v)) {
		return e.reflect(reflect.ValueOf(v))
	}
	return e.marshal(v)
}

// marshal appends a value that holds no binary.
func (e *encoder) marshal(v any) error {
	if e.codec.Marshal == nil {
		return e.marshalDefault(v)
	}
	text, err := e.codec.Marshal(v)
	if err != nil {
		return fmt.Errorf("parser: encode %T: %w", v, err)
	}
	s := scanner{data: text, maxDepth: maxWalk}
	if err := s.scan(); err != nil {
		return fmt.Errorf("parser: encode %T: the codec's output: %w", v, err)
	}
	e.dst = append(e.dst, text...)
	return nil
}

// jsonBuffer is a json.Encoder without HTML escaping and what it writes to.
type jsonBuffer struct {
	buf bytes.Buffer
	enc *json.Encoder
}

var jsonBuffers = sync.Pool{New: func() any {
	b := new(jsonBuffer)
	b.enc = json.NewEncoder(&b.buf)
	b.enc.SetEscapeHTML(false)
	return b
}}

// maxPooled is the capacity up to which a jsonBuffer is used again.
const maxPooled = 64 << 10

func (e *encoder) marshalDefault(v any) error {
	b := jsonBuffers.Get().(*jsonBuffer)
	b.buf.Reset()
	err := b.enc.Encode(v)
	if err != nil {
		err = fmt.Errorf("parser: encode %T: %w", v, err)
	} else {
		e.dst = append(e.dst, bytes.TrimSuffix(b.buf.Bytes(), []byte{'\n'})...)
	}
	if b.buf.Cap() <= maxPooled {
		jsonBuffers.Put(b)
	}
	return err
}
