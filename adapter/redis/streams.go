package redis

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"
	"unicode/utf16"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/cluster/wire"
)

// Defaults and bounds of StreamsOptions.
const (
	defaultStream    = "socket.io"
	defaultSessions  = "sio:session:"
	defaultMaxLen    = 10_000
	defaultReadCount = 100
	defaultBlock     = 2 * time.Second
	maxStreams       = 64
)

// StreamsOptions are the settings of NewStreams. The zero value holds the
// defaults.
type StreamsOptions struct {
	// Options holds what all adapters have in common; its Key is the channelPrefix
	// of the reference. SpecificResponseChannel does not count: answers always go
	// to the node that asked.
	Options
	// Stream is the key of the stream, streamName in the reference. Empty means
	// "socket.io".
	Stream string
	// StreamCount spreads namespaces over this many streams, named Stream-0 and so
	// on. 0 means 1, the most is 64. All nodes must use the same.
	StreamCount int
	// MaxLen is about how many entries a stream keeps, and so how long a node can
	// be away without missing any. 0 means 10000.
	MaxLen int
	// ReadCount is the most entries read at once. 0 means 100.
	ReadCount int
	// Block is how long one read waits for entries; a connection that does not
	// answer is replaced 3 s after that. 0 means 2 s (the reference: 5 s).
	Block time.Duration
	// ShardedPubSub sends what does not go into the stream through sharded pub/sub
	// (Redis 7.0), as useShardedPubSub does. All nodes must use the same.
	ShardedPubSub bool
	// SessionKeyPrefix is the prefix of the keys that hold sessions, where the host
	// has recovery on; sessionKeyPrefix in the reference. Empty means
	// "sio:session:". All nodes must use the same.
	SessionKeyPrefix string
}

// NewStreams returns a provider that joins nodes through Redis streams; the wire
// is the one of @socket.io/redis-streams-adapter. Broadcasts, joins, leaves and
// disconnects lie in a stream, so that a node that lost its connection gets what
// it missed; requests and their answers go through pub/sub. What New says of
// client holds here too.
//
// Without Options.Recovery of the server, a broadcast is delivered to the sockets
// of this node at once and goes into the stream after that, in the order of the
// emits. With it clients can be recovered on any node, those of Node.js included,
// and the sockets of this node get a broadcast when it has been read back from the
// stream, which is its order for everybody; the package comment says more.
//
// An entry of which nobody knows
// whether Redis took it is added again: nodes may get it twice.
//
// With a StreamCount above 1 the reference adds the entries of a namespace whose
// hash is negative (every other one) to a stream none of its nodes read. This
// adapter uses the same stream, and reads it.
func NewStreams(client goredis.UniversalClient, opts *StreamsOptions) (adapter.Provider, error) {
	p, err := openStreams(context.Background(), client, opts, false)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// openStreams takes over client when owned, also when it fails.
func openStreams(ctx context.Context, client goredis.UniversalClient, opts *StreamsOptions, owned bool) (*cluster.Provider, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, closing(client, owned, err)
	}
	l, release, err := connect(ctx, client, owned, o.ShardedPubSub)
	if err != nil {
		return nil, err
	}
	return cluster.NewProvider(newStreamsBus(l, o, release), o.Cluster), nil
}

func (o *StreamsOptions) withDefaults() (StreamsOptions, error) {
	var out StreamsOptions
	if o != nil {
		out = *o
	}
	if out.StreamCount < 0 || out.StreamCount > maxStreams {
		return out, fmt.Errorf("socketio: redis: the number of streams is 1 to %d, not %d", maxStreams, out.StreamCount)
	}
	if out.MaxLen < 0 || out.ReadCount < 0 || out.Block < 0 || out.Block > 0 && out.Block < time.Millisecond {
		return out, errors.New("socketio: redis: max_len, read_count and block must be positive")
	}
	out.Options = out.Options.withDefaults()
	if out.Stream == "" {
		out.Stream = defaultStream
	}
	if out.SessionKeyPrefix == "" {
		out.SessionKeyPrefix = defaultSessions
	}
	for _, f := range []struct {
		value *int
		def   int
	}{{&out.StreamCount, 1}, {&out.MaxLen, defaultMaxLen}, {&out.ReadCount, defaultReadCount}} {
		if *f.value == 0 {
			*f.value = f.def
		}
	}
	if out.Block == 0 {
		out.Block = defaultBlock
	}
	return out, nil
}

// openStreamsURL is the adapter.Opener of redis+streams and rediss+streams. Its
// parameters: those of openURL without specific_response_channel, and stream,
// stream_count, max_len, read_count, block, sharded_pubsub and session_key_prefix.
func openStreamsURL(ctx context.Context, u *url.URL) (adapter.Provider, error) {
	client, opts, err := parseStreamsURL(u)
	if err != nil {
		return nil, err
	}
	opts.Logger = adapter.Logger(ctx)
	p, err := openStreams(ctx, client, opts, true)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func parseStreamsURL(u *url.URL) (goredis.UniversalClient, *StreamsOptions, error) {
	p := adapter.NewParams(u)
	uo, base := commonParams(u, p)
	o := &StreamsOptions{
		Options:       base,
		Stream:        p.String("stream", ""),
		StreamCount:   p.Int("stream_count", 0),
		MaxLen:        p.Int("max_len", 0),
		ReadCount:     p.Int("read_count", 0),
		Block:         p.Duration("block", 0),
		ShardedPubSub: p.Bool("sharded_pubsub", false),

		SessionKeyPrefix: p.String("session_key_prefix", ""),
	}
	if _, err := o.withDefaults(); err != nil {
		return nil, nil, err
	}
	client, err := dial(u, p, uo)
	return client, o, err
}

// streamsBus is a wireBus with streams, which are its log.
type streamsBus struct {
	*wireBus
	opts StreamsOptions // immutable
}

var _ cluster.Log = (*streamsBus)(nil)

func newStreamsBus(l *link, o StreamsOptions, release func() error) *streamsBus {
	kind := plain
	if o.ShardedPubSub {
		kind = shard
	}
	b := newWireBus(l, kind, o.Options, release)
	d := &envelopes{key: o.Key, kind: kind, append: wire.AppendPacked}
	b.dialect = d
	b.streams = newStreamSet(l, &o, b.receiveEntry)
	b.streams.reached, b.streams.rewound = b.reached, b.rewound
	b.post.write = func(ctx context.Context, m *cluster.Message) (letter, error) {
		if inStream(m) {
			return b.entryOf(ctx, m, &o)
		}
		return d.letter(ctx, b, m)
	}
	b.start()
	return &streamsBus{b, o}
}

// inStream reports whether m is worth keeping: an answer that comes after the
// request has ended is not.
func inStream(m *cluster.Message) bool {
	switch m.Kind {
	case cluster.Broadcast:
		return m.RequestID == ""
	case cluster.SocketsJoin, cluster.SocketsLeave, cluster.DisconnectSockets,
		cluster.Takeover, cluster.Hole, cluster.Hello:
		return true
	case cluster.ServerSideEmit:
		return m.From == cluster.EmitterID // as redis-streams-emitter does
	}
	return false
}

func (b *wireBus) entryOf(ctx context.Context, m *cluster.Message, o *StreamsOptions) (letter, error) {
	args, err := o.adding(m)
	if err != nil {
		return letter{}, err
	}
	to, err := b.link.owner(ctx, args.Stream)
	if err != nil {
		return letter{}, errNoServer{fmt.Errorf("socketio: redis: publish: %w", err)}
	}
	add := func(ctx context.Context, p goredis.Pipeliner) goredis.Cmder { return p.XAdd(ctx, args) }
	return letter{to: to, add: add, repeat: true}, nil
}

// adding returns the command that adds m to its stream.
func (o *StreamsOptions) adding(m *cluster.Message) (*goredis.XAddArgs, error) {
	values, err := entryValues(m)
	if err != nil {
		return nil, err
	}
	return &goredis.XAddArgs{Stream: o.streamOf(m.Namespace), MaxLen: int64(o.MaxLen), Approx: true, Values: values}, nil
}

// entryValues returns the fields of m's entry and their values. The reference
// ignores the fields it does not have, and the types.
func entryValues(m *cluster.Message) ([]string, error) {
	typ, data, err := strconv.Itoa(int(m.Kind)), "", error(nil)
	if m.Kind < cluster.Takeover {
		typ, data, err = wire.Entry(m)
	}
	if err != nil {
		return nil, err
	}
	values := []string{"uid", m.From, "nsp", m.Namespace, "type", typ}
	if data != "" {
		values = append(values, "data", data)
	}
	if m.Kind == cluster.Takeover && len(m.Rooms) == 1 {
		values = append(values, "sid", m.Rooms[0])
	}
	if m.Token != 0 {
		values = append(values, "token", strconv.FormatUint(m.Token, 10))
	}
	if wire.HasExt(m) {
		values = append(values, "ext", wire.Ext(m))
	}
	return values, nil
}

// streamOf returns the stream of a namespace, as computeStreamName of the
// reference does: its remainder of a negative hash is negative.
func (o *StreamsOptions) streamOf(namespace string) string {
	if o.StreamCount == 1 {
		return o.Stream
	}
	var hash int32
	for _, unit := range utf16.Encode([]rune(namespace)) {
		hash = hash*31 + int32(unit)
	}
	return o.Stream + "-" + strconv.Itoa(int(hash)%o.StreamCount)
}

// streams returns the streams that are always read.
func (o *StreamsOptions) streams() []string {
	if o.StreamCount == 1 {
		return []string{o.Stream}
	}
	list := make([]string, o.StreamCount)
	for i := range list {
		list[i] = o.Stream + "-" + strconv.Itoa(i)
	}
	return list
}
