package emitter

import (
	"context"
	"fmt"
	"slices"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/parser"
)

// Operator selects sockets of one namespace on all nodes. It is a value: every
// method that narrows the selection returns a copy.
type Operator struct {
	hub       *hub
	namespace string
	target    adapter.Target
}

// Of returns the operator of all sockets of a namespace. The leading slash may be
// left out.
func (o Operator) Of(namespace string) Operator {
	if namespace == "" || namespace[0] != '/' {
		namespace = "/" + namespace
	}
	return Operator{hub: o.hub, namespace: namespace}
}

// To adds rooms: sockets in any of them are selected, each once. A socket's id is
// a room. Without any room the whole namespace is selected.
func (o Operator) To(rooms ...string) Operator {
	o.target.Rooms = slices.Concat(o.target.Rooms, rooms)
	return o
}

// In is To.
func (o Operator) In(rooms ...string) Operator { return o.To(rooms...) }

// Except leaves out the sockets that are in any of rooms.
func (o Operator) Except(rooms ...string) Operator {
	o.target.Except = slices.Concat(o.target.Except, rooms)
	return o
}

// Volatile lets the event be dropped: by the nodes for clients that cannot take it
// now, and here when the queue is full.
func (o Operator) Volatile() Operator {
	o.target.Flags |= adapter.Volatile
	return o
}

// Compress says whether transports may compress the event. The default is true.
func (o Operator) Compress(compress bool) Operator {
	o.target.Flags &^= adapter.NoCompress
	if !compress {
		o.target.Flags |= adapter.NoCompress
	}
	return o
}

// Emit sends an event to the selected sockets. It never blocks. It fails when the
// arguments cannot be encoded, the name is reserved (ErrReserved), or the event
// cannot be queued (adapter.ErrQueueFull, adapter.ErrClosed). []byte anywhere in
// args arrives as binary.
func (o Operator) Emit(event string, args ...any) error {
	p, err := clientEvent(event, args)
	if err != nil {
		return err
	}
	return o.publish(&cluster.Message{Kind: cluster.Broadcast, Packet: p})
}

// SocketsJoin makes the selected sockets join rooms. It does not wait for them; ctx
// is there for the sake of the nodes' own operators.
func (o Operator) SocketsJoin(_ context.Context, rooms ...string) error {
	return o.publish(&cluster.Message{Kind: cluster.SocketsJoin, Rooms: slices.Clone(rooms)})
}

// SocketsLeave makes the selected sockets leave rooms, as SocketsJoin does.
func (o Operator) SocketsLeave(_ context.Context, rooms ...string) error {
	return o.publish(&cluster.Message{Kind: cluster.SocketsLeave, Rooms: slices.Clone(rooms)})
}

// DisconnectSockets disconnects the selected sockets, as SocketsJoin does;
// closeConn ends their whole connections.
func (o Operator) DisconnectSockets(_ context.Context, closeConn bool) error {
	return o.publish(&cluster.Message{Kind: cluster.DisconnectSockets, Close: closeConn})
}

// ServerSideEmit sends an event to all nodes of the namespace, whatever sockets
// are selected. It never blocks; its errors are those of Emit.
func (o Operator) ServerSideEmit(event string, args ...any) error {
	p, err := serverEvent(event, args)
	if err != nil {
		return err
	}
	return o.publish(&cluster.Message{Kind: cluster.ServerSideEmit, Packet: p})
}

// publish queues m, which shares nothing with the caller but lists of rooms no
// operator changes.
func (o Operator) publish(m *cluster.Message) error {
	m.Namespace = o.namespace
	if m.Kind != cluster.ServerSideEmit {
		m.Target = o.target
	}
	if err := o.hub.src.Emit(m); err != nil {
		return fmt.Errorf("socketio: emitter: %w", err)
	}
	return nil
}

func clientEvent(event string, args []any) (*adapter.Packet, error) {
	if parser.IsReserved(event) {
		return nil, fmt.Errorf("socketio: emit %q: %w", event, ErrReserved)
	}
	return packet(event, args)
}

// serverReserved are the names the reference keeps from server-side emits
// (socket.io lib/namespace.ts).
var serverReserved = []string{"connect", "connection", "new_namespace"}

func serverEvent(event string, args []any) (*adapter.Packet, error) {
	if slices.Contains(serverReserved, event) {
		return nil, fmt.Errorf("socketio: emit %q: %w", event, ErrReserved)
	}
	return packet(event, args)
}

func packet(event string, args []any) (*adapter.Packet, error) {
	data, atts, err := parser.Codec{}.AppendEvent(nil, event, args...)
	if err != nil {
		return nil, fmt.Errorf("socketio: emit %q: %w", event, err)
	}
	p := &adapter.Packet{Data: data}
	for _, a := range atts {
		p.Attachments = append(p.Attachments, adapter.Attachment{At: a.At, Data: a.Data})
	}
	return p, nil
}
