package nats

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

// SubscriptionMode says which rooms have a subject of their own. All nodes of a
// deployment must use the same: one in another mode misses broadcasts.
type SubscriptionMode string

const (
	// Dynamic gives a subject to every room but those of single sockets, which are
	// told by the length of their names, 20 characters. It is the default.
	Dynamic SubscriptionMode = "dynamic"
	// DynamicPrivate gives a subject to every room.
	DynamicPrivate SubscriptionMode = "dynamic-private"
	// Static has one subject for the whole namespace.
	Static SubscriptionMode = "static"
)

// Options are the settings of New. The zero value holds the defaults.
type Options struct {
	// Prefix begins all subjects. All nodes of a deployment use the same. It
	// consists of letters, digits, "_" and "-", and of dots between them. Empty
	// means "socketio".
	Prefix string
	// Mode says which rooms have a subject of their own. Empty means Dynamic.
	Mode SubscriptionMode
	// HeartbeatInterval is how often a node says that it lives and checks its
	// connection. A connection that does not answer for twice that is replaced, a
	// node that is silent for three times that is dead to the others. All nodes
	// should use the same. 0 means 2 s, the least is 10 ms.
	HeartbeatInterval time.Duration
	// JetStream, when not nil, keeps broadcasts, joins, leaves and disconnects in a
	// JetStream stream, so that a node that was away for a moment gets them late
	// instead of never. All nodes of a deployment must agree.
	JetStream *JetStream
	// OnGap is told of every time in which messages of other nodes may have been
	// missed. It must not block. nil means nobody.
	OnGap func(Gap)
	// Cluster holds what does not depend on NATS: the timeout of requests and the
	// bounds of the outbound queue.
	Cluster cluster.Options
	// Logger receives the loss and the return of the connection and gaps (warn,
	// info), and dropped messages (debug). nil means slog.Default().
	Logger *slog.Logger
}

// GapKind says why messages may have been missed.
type GapKind string

const (
	// GapConnection: this node's connection was lost, and is up again.
	GapConnection GapKind = "connection"
	// GapSender: messages of one other node are missing, because its connection
	// was lost, or one between two servers.
	GapSender GapKind = "sender"
	// GapOverrun: messages arrived faster than this node could take them.
	GapOverrun GapKind = "overrun"
	// GapTrimmed: the stream dropped entries before this node had read them.
	GapTrimmed GapKind = "trimmed"
	// GapRewound: the stream lost its end, or was made anew.
	GapRewound GapKind = "rewound"
)

// Gap is a time in which messages of other nodes may have been missed.
type Gap struct {
	Kind     GapKind
	From, To time.Time
	// Dropped counts the messages that are missing; 0 when the number is unknown.
	Dropped uint64
	// Node is the sender whose messages are missing; empty when it is not one only.
	Node adapter.NodeID
	// Reason is a short text for logs.
	Reason string
}

const (
	defaultPrefix    = "socketio"
	defaultHeartbeat = 2 * time.Second
	minHeartbeat     = 10 * time.Millisecond

	// A node that was silent for this many heartbeats is dead.
	deadBeats = 3

	// startTimeout bounds New, and the wait for the first subscriptions of a
	// namespace.
	startTimeout = 5 * time.Second
)

func (o *Options) withDefaults() (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	if out.Prefix == "" {
		out.Prefix = defaultPrefix
	}
	if err := checkPrefix(out.Prefix); err != nil {
		return out, err
	}
	if _, err := out.Mode.rooms(); err != nil {
		return out, err
	}
	if out.HeartbeatInterval == 0 {
		out.HeartbeatInterval = defaultHeartbeat
	}
	if out.HeartbeatInterval < minHeartbeat {
		return out, fmt.Errorf("socketio: nats: the heartbeat interval is at least %v, not %v", minHeartbeat, out.HeartbeatInterval)
	}
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	if out.Cluster.Logger == nil {
		out.Cluster.Logger = out.Logger
	}
	if out.JetStream != nil {
		js, err := out.JetStream.withDefaults(out.Prefix)
		if err != nil {
			return out, err
		}
		out.JetStream = &js
	}
	return out, nil
}

const maxPrefix = 128

func checkPrefix(prefix string) error {
	if len(prefix) > maxPrefix {
		return fmt.Errorf("socketio: nats: the prefix is longer than %d bytes", maxPrefix)
	}
	for part := range strings.SplitSeq(prefix, ".") {
		if !plain(part) {
			return errors.New("socketio: nats: the prefix consists of letters, digits, _ and -, and of dots between them")
		}
	}
	return nil
}

// rooms returns which rooms have a subject.
func (m SubscriptionMode) rooms() (func(adapter.Room) bool, error) {
	switch m {
	case Dynamic, "":
		return func(r adapter.Room) bool { return utf8.RuneCountInString(r) != socketIDLength }, nil
	case DynamicPrivate:
		return func(adapter.Room) bool { return true }, nil
	case Static:
		return func(adapter.Room) bool { return false }, nil
	}
	return nil, fmt.Errorf("socketio: nats: mode %q is not dynamic, dynamic-private or static", m)
}

// socketIDLength tells the room of one socket from others.
const socketIDLength = 20
