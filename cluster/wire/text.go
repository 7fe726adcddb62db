package wire

import (
	"strconv"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/msgpack"
)

// Text builds a message as JSON text with attachments. The zero value is empty
// and ready to use.
type Text struct {
	b    []byte
	atts []adapter.Attachment
}

// Raw appends s as it stands.
func (t *Text) Raw(s string) *Text {
	t.b = append(t.b, s...)
	return t
}

// Quote appends s as a JSON string.
func (t *Text) Quote(s string) *Text {
	t.b = msgpack.AppendQuoted(t.b, s)
	return t
}

// Int appends n.
func (t *Text) Int(n int) *Text {
	t.b = strconv.AppendInt(t.b, int64(n), 10)
	return t
}

// Bool appends v.
func (t *Text) Bool(v bool) *Text {
	t.b = strconv.AppendBool(t.b, v)
	return t
}

// JSON appends a JSON value; an empty one becomes null.
func (t *Text) JSON(v []byte) *Text {
	if len(v) == 0 {
		return t.Raw("null")
	}
	t.b = append(t.b, v...)
	return t
}

// List appends an array of strings.
func (t *Text) List(ss []string) *Text {
	t.Raw("[")
	for i, s := range ss {
		if i > 0 {
			t.Raw(",")
		}
		t.Quote(s)
	}
	return t.Raw("]")
}

// Args appends the array p holds.
func (t *Text) Args(p *adapter.Packet) *Text {
	if p == nil || len(p.Data) == 0 {
		return t.Raw("[]")
	}
	t.attach(p.Attachments, 0, len(p.Data))
	t.b = append(t.b, p.Data...)
	return t
}

// One appends the member name with the first element of the array p holds; it
// appends nothing when there is none, as JSON.stringify does for undefined.
func (t *Text) One(name string, p *adapter.Packet) *Text {
	if p == nil {
		return t
	}
	from, to, ok := msgpack.FirstElement(p.Data)
	if !ok {
		return t
	}
	t.Raw(",").Quote(name).Raw(":")
	t.attach(p.Attachments, from, to)
	t.b = append(t.b, p.Data[from:to]...)
	return t
}

// attach adopts the attachments between two offsets of a text that is about to
// be appended from the first of them on.
func (t *Text) attach(atts []adapter.Attachment, from, to int) {
	for _, a := range atts {
		if a.At >= from && a.At < to {
			a.At += len(t.b) - from
			t.atts = append(t.atts, a)
		}
	}
}

// Options appends the rooms of a target, and its flags too where the message
// carries them.
func (t *Text) Options(to adapter.Target, timeout time.Duration, flags bool) *Text {
	t.Raw(`{"rooms":`).List(to.Rooms).Raw(`,"except":`).List(to.Except)
	if flags {
		t.Raw(`,"flags":{`)
		n := len(t.b)
		if to.Flags.Has(adapter.Volatile) {
			t.Raw(`"volatile":true,`)
		}
		if to.Flags.Has(adapter.NoCompress) {
			t.Raw(`"compress":false,`)
		}
		if ms := timeout.Milliseconds(); ms > 0 {
			t.Raw(`"timeout":`).Int(int(ms)).Raw(",")
		}
		if len(t.b) > n {
			t.b = t.b[:len(t.b)-1]
		}
		t.Raw("}")
	}
	return t.Raw("}")
}

// Sockets appends the answer to a request for sockets.
func (t *Text) Sockets(list []adapter.Remote) *Text {
	t.Raw("[")
	for i := range list {
		s := &list[i]
		if i > 0 {
			t.Raw(",")
		}
		t.Raw(`{"id":`).Quote(s.ID).Raw(`,"handshake":`).JSON(s.Handshake)
		t.Raw(`,"rooms":`).List(s.Rooms)
		if len(s.Data) > 0 {
			t.Raw(`,"data":`).JSON(s.Data)
		}
		t.Raw("}")
	}
	return t.Raw("]")
}

// Binary reports whether the text has attachments, which only MessagePack can
// carry.
func (t *Text) Binary() bool { return len(t.atts) > 0 }

// Text returns the JSON text.
func (t *Text) Text() []byte { return t.b }

// AppendPacked appends the MessagePack form to dst.
func (t *Text) AppendPacked(dst []byte) ([]byte, error) {
	return msgpack.AppendJSON(dst, t.b, t.atts)
}
