package cluster

import (
	"log/slog"
	"time"

	"github.com/socketfleet/socketfleet/adapter/memory"
)

// Options are the settings of NewProvider. The zero value holds the defaults.
type Options struct {
	// RequestsTimeout bounds requests whose context has no deadline, and answers
	// to requests that do not say how long they wait. 0 means 5 s.
	RequestsTimeout time.Duration
	// MaxOutboundBytes and MaxOutboundMessages bound the queue of messages that
	// are not published yet, in estimated wire bytes and in messages, for all
	// namespaces together. 0 means 8 MiB and 10,000. The queue of answers to other
	// nodes has the same bound in bytes and ten times that in messages.
	MaxOutboundBytes    int
	MaxOutboundMessages int
	// MaxOutboundAge is how long a message may wait for the bus to work again.
	// Older ones are dropped when publishing fails, and new ones are refused
	// while the oldest is older. 0 means 5 s.
	MaxOutboundAge time.Duration
	// Lease is how long a node that is waited for may give no sign of life before
	// the wait ends without it. 0 means 3 s.
	Lease time.Duration
	// Heartbeat is how often a node announces itself in each namespace, and so
	// within which time the loss of the last message before a silence is noticed.
	// A node without a sign of life for three times that is forgotten. 0 means 5 s;
	// with more than 50 namespaces it is 100 ms for each.
	Heartbeat time.Duration
	// NoExtensions keeps messages exactly as the reference's. It turns off
	// heartbeats, sequence numbers and adapter.Meta. Peers of the reference ignore
	// extensions; nodes with and without them understand each other.
	NoExtensions bool
	// Recovery recovers sessions on a bus that is no Log, for hosts that want it; a
	// Log needs no such option. It is for deployments where every node is of this kind and has the option
	// on, and where every node hears every message; the package comment says how it
	// works. Open fails where the bus cannot do it, and with NoExtensions. Events
	// then reach the sockets of the emitting node when the bus has taken them.
	Recovery bool
	// OnGap is told of every time in which messages of other nodes may have been
	// missed. It must not block. nil means nobody.
	OnGap func(Gap)
	// GapPolicy says what else happens then. Empty means GapNotify.
	GapPolicy GapPolicy
	// Rooms is told of changes of local rooms.
	Rooms memory.Options
	// Logger receives failures to publish. nil means slog.Default().
	Logger *slog.Logger
}

const (
	defaultRequestsTimeout = 5 * time.Second
	defaultOutboundBytes   = 8 << 20
	defaultOutboundCount   = 10_000
	defaultOutboundAge     = 5 * time.Second
	defaultLease           = 3 * time.Second
	defaultHeartbeat       = 5 * time.Second

	// maxAnswerTimeout bounds how long a remote requester can make this node keep
	// the acknowledgements of its sockets.
	maxAnswerTimeout = 10 * time.Minute
)

func (o Options) withDefaults() Options {
	o.RequestsTimeout = positive(o.RequestsTimeout, defaultRequestsTimeout)
	o.MaxOutboundBytes = positive(o.MaxOutboundBytes, defaultOutboundBytes)
	o.MaxOutboundMessages = positive(o.MaxOutboundMessages, defaultOutboundCount)
	o.MaxOutboundAge = positive(o.MaxOutboundAge, defaultOutboundAge)
	o.Lease = positive(o.Lease, defaultLease)
	o.Heartbeat = positive(o.Heartbeat, defaultHeartbeat)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

func positive[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
