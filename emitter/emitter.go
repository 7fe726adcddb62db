package emitter

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/cluster/wire"
	"github.com/socketfleet/socketfleet/internal/parser"
)

// Options are the settings of New. The zero value is for the classic adapter with
// its default key.
type Options struct {
	// Key is the prefix of the channels, as the nodes have it. Empty means
	// "socket.io". Streams do not use it.
	Key string
	// Stream is the key of the stream, for nodes on the streams adapter. Empty
	// means that the nodes use the classic adapter.
	Stream string
	// MaxLen is about how many entries the stream keeps. 0 means 10000.
	MaxLen int
}

const (
	defaultName   = "socket.io"
	defaultMaxLen = 10_000
)

// Emitter emits into one deployment. It is also the Operator of all sockets of
// the namespace "/".
type Emitter struct {
	Operator
	release func() error
}

// New returns an emitter over client, which it does not close. A client that
// repeats commands (MaxRetries) may publish an event twice. nil options mean the
// defaults.
func New(client goredis.UniversalClient, opts *Options) *Emitter {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Key == "" {
		o.Key = defaultName
	}
	if o.MaxLen <= 0 {
		o.MaxLen = defaultMaxLen
	}
	return &Emitter{
		Operator: Operator{out: &output{client: client, opts: o}, namespace: "/"},
		release:  func() error { return nil },
	}
}

// Close releases what Open opened.
func (e *Emitter) Close() error {
	if err := e.release(); err != nil && !errors.Is(err, goredis.ErrClosed) {
		return fmt.Errorf("socketio: close emitter: %w", err)
	}
	return nil
}

// Operator selects sockets of one namespace on all nodes. It is a value: every
// method that narrows the selection returns a copy.
type Operator struct {
	out       *output
	namespace string
	target    adapter.Target
}

// Of returns the operator of all sockets of a namespace. The leading slash may be
// left out.
func (o Operator) Of(namespace string) Operator {
	if namespace == "" || namespace[0] != '/' {
		namespace = "/" + namespace
	}
	return Operator{out: o.out, namespace: namespace}
}

// To adds rooms: sockets in any of them are selected. A socket's id is a room.
func (o Operator) To(rooms ...string) Operator {
	o.target.Rooms = slices.Concat(o.target.Rooms, rooms)
	return o
}

// Except leaves out the sockets that are in any of rooms.
func (o Operator) Except(rooms ...string) Operator {
	o.target.Except = slices.Concat(o.target.Except, rooms)
	return o
}

// Volatile lets the nodes drop the event for clients that cannot take it now.
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

// Emit sends an event to the selected sockets. It returns when Redis has it, and
// fails when the arguments cannot be encoded, the name is reserved, or Redis does
// not answer. []byte anywhere in args arrives as binary.
func (o Operator) Emit(ctx context.Context, event string, args ...any) error {
	if parser.IsReserved(event) {
		return fmt.Errorf("socketio: emit %q: the name is reserved", event)
	}
	p, err := packet(event, args)
	if err != nil {
		return err
	}
	return o.publish(ctx, &cluster.Message{Kind: cluster.Broadcast, Packet: p})
}

// SocketsJoin makes the selected sockets join rooms. It returns when Redis has the
// request.
func (o Operator) SocketsJoin(ctx context.Context, rooms ...string) error {
	return o.publish(ctx, &cluster.Message{Kind: cluster.SocketsJoin, Rooms: rooms})
}

// SocketsLeave makes the selected sockets leave rooms. It returns when Redis has
// the request.
func (o Operator) SocketsLeave(ctx context.Context, rooms ...string) error {
	return o.publish(ctx, &cluster.Message{Kind: cluster.SocketsLeave, Rooms: rooms})
}

// DisconnectSockets disconnects the selected sockets; closeConn ends their whole
// connections. It returns when Redis has the request.
func (o Operator) DisconnectSockets(ctx context.Context, closeConn bool) error {
	return o.publish(ctx, &cluster.Message{Kind: cluster.DisconnectSockets, Close: closeConn})
}

// ServerSideEmit sends an event to all nodes of the namespace, whatever sockets
// are selected. No answers come back.
func (o Operator) ServerSideEmit(ctx context.Context, event string, args ...any) error {
	p, err := packet(event, args)
	if err != nil {
		return err
	}
	return o.publish(ctx, &cluster.Message{Kind: cluster.ServerSideEmit, Packet: p})
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

func (o Operator) publish(ctx context.Context, m *cluster.Message) error {
	m.From, m.Namespace, m.Target = cluster.EmitterID, o.namespace, o.target
	send := o.out.toChannel
	if o.out.opts.Stream != "" {
		send = o.out.toStream
	}
	if err := send(ctx, m); err != nil {
		return fmt.Errorf("socketio: emitter: %w", err)
	}
	return nil
}

// output is where messages go.
type output struct {
	client goredis.UniversalClient
	opts   Options
}

// toStream adds the entry of the streams emitter.
func (out *output) toStream(ctx context.Context, m *cluster.Message) error {
	var t wire.Text
	switch m.Kind {
	case cluster.Broadcast:
		event(t.Raw(`{"packet":`), m)
		options(t.Raw(`,"opts":`), m)
	case cluster.ServerSideEmit:
		t.Raw(`{"packet":`).Args(m.Packet)
	case cluster.DisconnectSockets:
		options(t.Raw(`{"opts":`), m).Raw(`,"close":`).Bool(m.Close)
	default:
		options(t.Raw(`{"opts":`), m).Raw(`,"rooms":`).List(m.Rooms)
	}
	data := string(t.Raw("}").Text())
	if t.Binary() {
		packed, err := t.AppendPacked(nil)
		if err != nil {
			return err
		}
		data = base64.StdEncoding.EncodeToString(packed)
	}
	return out.client.XAdd(ctx, &goredis.XAddArgs{
		Stream: out.opts.Stream, MaxLen: int64(out.opts.MaxLen), Approx: true,
		Values: []string{"uid", m.From, "nsp", m.Namespace, "type", strconv.Itoa(int(m.Kind)), "data", data},
	}).Err()
}

// Numbers of requests, RequestType in the classic adapter.
const (
	remoteJoin       = 2
	remoteLeave      = 3
	remoteDisconnect = 4
	serverSideEmit   = 6
)

// toChannel publishes the message of the classic emitter.
func (out *output) toChannel(ctx context.Context, m *cluster.Message) error {
	var t wire.Text
	channel := out.opts.Key + "-request#" + m.Namespace + "#"
	switch m.Kind {
	case cluster.Broadcast:
		channel = out.opts.Key + "#" + m.Namespace + "#"
		if len(m.Target.Rooms) == 1 {
			channel += m.Target.Rooms[0] + "#"
		}
		event(t.Raw("[").Quote(m.From).Raw(","), m)
		options(t.Raw(","), m).Raw("]")
	case cluster.ServerSideEmit:
		t.Raw(`{"uid":`).Quote(m.From).Raw(`,"type":`).Int(serverSideEmit).Raw(`,"data":`).Args(m.Packet).Raw("}")
	case cluster.DisconnectSockets:
		request(&t, remoteDisconnect, m).Raw(`,"close":`).Bool(m.Close).Raw("}")
	case cluster.SocketsJoin:
		request(&t, remoteJoin, m).Raw(`,"rooms":`).List(m.Rooms).Raw("}")
	default:
		request(&t, remoteLeave, m).Raw(`,"rooms":`).List(m.Rooms).Raw("}")
	}
	payload := t.Text()
	if m.Kind == cluster.Broadcast || t.Binary() {
		var err error
		if payload, err = t.AppendPacked(nil); err != nil {
			return err
		}
	}
	return out.client.Publish(ctx, channel, payload).Err()
}

func request(t *wire.Text, kind int, m *cluster.Message) *wire.Text {
	return t.Raw(`{"type":`).Int(kind).Raw(`,"opts":`).Options(m.Target, 0, false)
}

func event(t *wire.Text, m *cluster.Message) *wire.Text {
	return t.Raw(`{"type":2,"data":`).Args(m.Packet).Raw(`,"nsp":`).Quote(m.Namespace).Raw("}")
}

// options appends the selection with its members in the emitters' order.
func options(t *wire.Text, m *cluster.Message) *wire.Text {
	t.Raw(`{"rooms":`).List(m.Target.Rooms).Raw(`,"flags":{`)
	volatile := m.Target.Flags.Has(adapter.Volatile)
	if volatile {
		t.Raw(`"volatile":true`)
	}
	if m.Target.Flags.Has(adapter.NoCompress) {
		if volatile {
			t.Raw(",")
		}
		t.Raw(`"compress":false`)
	}
	return t.Raw(`},"except":`).List(m.Target.Except).Raw("}")
}
