package redis

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/socketfleet/socketfleet/cluster"
)

// Options are the settings of New. The zero value holds the defaults.
type Options struct {
	// Key is the prefix of all channels. All nodes of a deployment use the same.
	// Empty means "socket.io", as in the reference.
	Key string
	// SpecificResponseChannel sends answers to the node that asked instead of to
	// all; it is publishOnSpecificResponseChannel of the reference. Nodes with and
	// without it understand each other.
	SpecificResponseChannel bool
	// Subscription says which broadcasts a node on the classic wire hears. Empty
	// means SubscribeAll. Nodes with different settings, and Node.js nodes,
	// understand each other. It does not count for sharded pub/sub, which has a
	// mode of its own, and for streams.
	Subscription Subscription
	// ProbeInterval is how long the subscription may be silent before the node
	// probes it; a deaf one is replaced after twice that. 0 means 2 s, a negative
	// value disables probes.
	ProbeInterval time.Duration
	// OnGap is told of every time in which messages of other nodes may have been
	// missed, or those of this node by the others (GapPublish). It must not block. nil means nobody.
	OnGap func(Gap)
	// Cluster holds what does not depend on Redis: the timeout of requests and
	// the bounds of the outbound queue.
	Cluster cluster.Options
	// Logger receives the loss and the return of the connection (warn, info) and
	// dropped messages (debug). nil means slog.Default().
	Logger *slog.Logger

	gaps *gapHook
}

// Subscription says which broadcasts a node on the classic wire hears.
type Subscription string

const (
	// SubscribeAll hears all broadcasts of a namespace through one pattern, as the
	// reference does, and drops those for rooms that have no member here.
	SubscribeAll Subscription = "all"
	// SubscribeAdaptive hears the broadcasts to one room only while that room has a
	// member here: Redis sends each node no more than its sockets need. It costs
	// Redis one subscription for every room and every socket of a node. A room is
	// heard from the moment Redis has confirmed its subscription, a round trip after
	// the first join (see adapter.RoomAwaiter), to some seconds after the last leave.
	SubscribeAdaptive Subscription = "adaptive"
)

// check reports the first setting that is none of its values.
func (o *Options) check() error {
	if _, err := cluster.ParseGapPolicy(string(o.Cluster.GapPolicy)); err != nil {
		return err
	}
	if err := o.Subscription.check(); err != nil {
		return err
	}
	if o.Subscription == SubscribeAdaptive {
		return o.canRecover("subscribe=" + string(o.Subscription))
	}
	return o.canRecover("")
}

// canRecover reports whether Cluster.Recovery is on without what it needs. perRoom
// is the setting that makes nodes hear only the rooms they have; empty for none.
func (o *Options) canRecover(perRoom string) error {
	switch {
	case !o.Cluster.Recovery:
		return nil
	case o.Cluster.NoExtensions:
		return errors.New("socketio: redis: recovery needs extensions: messages have no numbers without them")
	case perRoom != "":
		return fmt.Errorf("socketio: redis: recovery is not possible with %s: a node has to hear every room", perRoom)
	}
	return nil
}

func (s Subscription) check() error {
	switch s {
	case "", SubscribeAll, SubscribeAdaptive:
		return nil
	}
	return fmt.Errorf("socketio: redis: subscribe %q is not all or adaptive", s)
}

// GapKind says why messages may have been missed. There is cluster.GapSequence
// too.
type GapKind = cluster.GapKind

const (
	// GapConnection: the subscription was lost, or deaf, and is up again.
	GapConnection GapKind = "connection"
	// GapOverrun: messages arrived faster than this node could take them.
	GapOverrun GapKind = "overrun"
	// GapMoved: a slot of Redis Cluster moved, and ended subscriptions.
	GapMoved GapKind = "moved"
	// GapPublish: messages of this node may not have reached the others, because the
	// connection broke before Redis had confirmed them, or because Redis refused them.
	GapPublish GapKind = "publish"
	// GapTrimmed: the stream dropped entries before this node had read them.
	GapTrimmed GapKind = "trimmed"
	// GapRewound: the stream lost its end, or all of it, as after a failover or a
	// restart without persistence. What it has instead is read.
	GapRewound GapKind = "rewound"
	// GapFailover: Sentinel named another master. What the old one was sent last, by
	// this node too, may not have reached the others.
	GapFailover GapKind = "failover"
)

// Gap is a time in which messages of other nodes may have been missed.
type Gap = cluster.Gap

// gapHook passes gaps on to the provider of the bus that found them, which counts
// them and tells OnGap.
type gapHook struct {
	user func(Gap) // nil: nobody
	fn   atomic.Pointer[func(Gap)]
}

func (h *gapHook) set(fn func(Gap)) { h.fn.Store(&fn) }

func (h *gapHook) report(g Gap) {
	switch fn := h.fn.Load(); {
	case fn != nil:
		(*fn)(g)
	case h.user != nil:
		h.user(g)
	}
}

// bothGaps returns a function that calls those of a and b that are not nil.
func bothGaps(a, b func(Gap)) func(Gap) {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(g Gap) {
		a(g)
		b(g)
	}
}

const (
	defaultKey           = "socket.io"
	defaultProbeInterval = 2 * time.Second

	// startTimeout bounds New, and the wait for the first subscriptions of a
	// namespace.
	startTimeout = 5 * time.Second

	// maxEnvelope is the largest message that is decoded.
	maxEnvelope = 16 << 20
)

func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	if out.Key == "" {
		out.Key = defaultKey
	}
	if out.ProbeInterval == 0 {
		out.ProbeInterval = defaultProbeInterval
	}
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	if out.gaps == nil {
		out.gaps = &gapHook{user: out.OnGap}
		out.Cluster.OnGap = bothGaps(out.Cluster.OnGap, out.OnGap)
		out.OnGap = out.gaps.report
	}
	if out.Cluster.Logger == nil {
		out.Cluster.Logger = out.Logger
	}
	return out
}
