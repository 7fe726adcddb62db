package testutil

import (
	"context"
	"errors"
	"fmt"

	"github.com/socketfleet/socketfleet/internal/parser"
)

// Args is what arrived with an event or an acknowledgement.
type Args struct {
	// Name of the event; empty for an acknowledgement.
	Name string

	packet parser.Packet
	list   parser.Args
	socket *Socket
}

func newArgs(s *Socket, p parser.Packet) Args {
	a := Args{packet: p, list: p.Args(), socket: s}
	if p.Type == parser.Event {
		a.Name, _, _ = parser.EventName(p.Data)
	}
	a.list.Len() // computes the index, so that copies can be read concurrently
	return a
}

// Len returns the number of arguments.
func (a Args) Len() int { return a.list.Len() }

// Decode decodes argument i into v, a pointer, as the server package does.
func (a Args) Decode(i int, v any) error { return a.list.Decode(parser.Codec{}, i, v) }

// At returns argument i the way encoding/json decodes into an interface, binary
// as []byte; nil when there is none.
func (a Args) At(i int) any {
	var v any
	_ = a.Decode(i, &v)
	return v
}

// All returns every argument as At does.
func (a Args) All() []any {
	all := make([]any, a.Len())
	for i := range all {
		all[i] = a.At(i)
	}
	return all
}

// JSON returns the payload as it came, an event's name included.
func (a Args) JSON() string { return string(a.packet.Data) }

// lastString returns the last element of the payload, event name included, when
// it is a string, else old. This is how clients find the offset.
func (a Args) lastString(old string) string {
	last := a.Name
	if a.Len() > 0 {
		last, _ = a.At(a.Len() - 1).(string)
	}
	if last == "" {
		return old
	}
	return last
}

// ID returns the acknowledgement id; false when the sender wants none.
func (a Args) ID() (uint64, bool) { return a.packet.ID, a.packet.HasID }

// Ack answers the event. It can be called any number of times, to misbehave.
func (a Args) Ack(vals ...any) error {
	if !a.packet.HasID {
		return errors.New("testutil: the sender wants no acknowledgement")
	}
	data, atts, err := parser.Codec{}.AppendArray(nil, vals...)
	if err != nil {
		return err
	}
	return a.socket.client.sendPacket(context.Background(), a.socket.nsp, parser.Ack, a.packet.ID, true, data, atts)
}

// String is for failure messages.
func (a Args) String() string {
	return fmt.Sprintf("%s with %d attachments", a.packet.Data, len(a.packet.Attachments))
}
