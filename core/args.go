package core

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/parser"
)

// Args are the arguments of an event or of an acknowledgement, still encoded: an
// argument is decoded when it is asked for. As the type of a handler's parameter
// Args receives all arguments; as its result, or as an argument of an emit in
// ArgsOf form, it sends several. The zero Args has none.
type Args struct {
	codec parser.Codec
	in    parser.Args // indexed, so that reading it changes nothing
	vals  []any       // set instead of in for Args made by ArgsOf
}

// ArgsOf returns Args to send: each value becomes one argument.
func ArgsOf(values ...any) Args { return Args{vals: values} }

// newArgs indexes the JSON array data, leaving out its first skip elements.
func newArgs(codec parser.Codec, data []byte, atts []parser.Attachment, skip int) Args {
	a := Args{codec: codec, in: parser.Args{Data: data, Attachments: atts, Skip: skip}}
	a.in.Len()
	return a
}

// argsOfPacket indexes a packet's data.
func argsOfPacket(codec parser.Codec, p *adapter.Packet, skip int) Args {
	if p == nil {
		return Args{}
	}
	return newArgs(codec, p.Data, parserAttachments(p.Attachments), skip)
}

// Len returns the number of arguments.
func (a Args) Len() int {
	if a.vals != nil {
		return len(a.vals)
	}
	return a.in.Len()
}

// Decode decodes argument i into v, which must be a pointer, as encoding/json
// does; binary arguments decode into []byte. An argument that was not sent
// leaves v unchanged.
func (a Args) Decode(i int, v any) error {
	if a.vals != nil {
		return fmt.Errorf("socketio: decode argument %d: arguments to be sent cannot be decoded", i)
	}
	if i < 0 || i >= a.in.Len() {
		return nil
	}
	if err := a.in.Decode(a.codec, i, v); err != nil {
		return fmt.Errorf("socketio: decode argument %d: %w", i, err)
	}
	return nil
}

// Raw returns the JSON text of argument i, with placeholders where binary was
// sent, or nil when it was not sent. The text must not be changed.
func (a Args) Raw(i int) json.RawMessage {
	raw, _ := a.in.Raw(i)
	return raw
}

// Values decodes all arguments: numbers as float64, binary as []byte.
func (a Args) Values() ([]any, error) {
	if a.vals != nil {
		return a.vals, nil
	}
	out := make([]any, a.in.Len())
	for i := range out {
		if err := a.Decode(i, &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// resend returns the arguments in a form an emit takes: text stays text, and only
// arguments that hold binary are decoded.
func (a Args) resend() ([]any, error) {
	if a.vals != nil {
		return a.vals, nil
	}
	out := make([]any, a.in.Len())
	for i := range out {
		raw, base := a.in.Raw(i)
		if !a.hasBinary(base, base+len(raw)) {
			out[i] = json.RawMessage(raw)
		} else if err := a.Decode(i, &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// hasBinary reports whether an attachment stands between two offsets.
func (a Args) hasBinary(from, to int) bool {
	return slices.ContainsFunc(a.in.Attachments, func(att parser.Attachment) bool { return from <= att.At && att.At < to })
}

// decodeAs decodes the first argument as a T; a T that is Args receives all.
func decodeAs[T any](a Args) (T, error) {
	var v T
	if p, ok := any(&v).(*Args); ok {
		*p = a
		return v, nil
	}
	err := a.Decode(0, &v)
	return v, err
}

// flatten replaces Args among values by what they hold.
func flatten(values []any) ([]any, error) {
	isArgs := func(v any) bool { _, ok := v.(Args); return ok }
	if !slices.ContainsFunc(values, isArgs) {
		return values, nil
	}
	var out []any
	for _, v := range values {
		a, ok := v.(Args)
		if !ok {
			out = append(out, v)
			continue
		}
		vals, err := a.resend()
		if err != nil {
			return nil, err
		}
		out = append(out, vals...)
	}
	return out, nil
}
