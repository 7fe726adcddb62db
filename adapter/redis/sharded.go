package redis

import (
	"context"
	"fmt"
	"net/url"
	"unicode/utf8"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/cluster/wire"
)

// SubscriptionMode says which rooms have a channel of their own. All nodes of a
// deployment must use the same: one in another mode misses broadcasts.
type SubscriptionMode string

const (
	// Dynamic gives a channel to every room but those of single sockets, which are
	// told by the length of their names, 20 characters. It is the default.
	Dynamic SubscriptionMode = "dynamic"
	// DynamicPrivate gives a channel to every room.
	DynamicPrivate SubscriptionMode = "dynamic-private"
	// Static has one channel for the whole namespace.
	Static SubscriptionMode = "static"
)

// ShardedOptions are the settings of NewSharded. The zero value holds the
// defaults.
type ShardedOptions struct {
	// Options holds what all adapters have in common; its Key is the channelPrefix
	// of the reference. SpecificResponseChannel does not count: answers always go
	// to the node that asked.
	Options
	// Mode is the subscriptionMode of the reference. Empty means Dynamic.
	Mode SubscriptionMode
}

// NewSharded returns a provider that joins nodes through sharded pub/sub, which
// spreads the load over the masters of a Redis Cluster; the wire is the one of
// createShardedAdapter. It needs Redis 7.0. What New says of client holds here
// too.
//
// With a channel per room, a node hears a room from the moment Redis has confirmed
// its subscription, a round trip after the first join.
func NewSharded(client goredis.UniversalClient, opts *ShardedOptions) (adapter.Provider, error) {
	p, err := openSharded(context.Background(), client, opts, false)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// openSharded takes over client when owned, also when it fails.
func openSharded(ctx context.Context, client goredis.UniversalClient, opts *ShardedOptions, owned bool) (*cluster.Provider, error) {
	o := ShardedOptions{}
	if opts != nil {
		o = *opts
	}
	o.Options = o.Options.withDefaults()
	own, err := o.Mode.channels()
	if err == nil {
		err = o.canRecover()
	}
	if err != nil {
		return nil, closing(client, owned, err)
	}
	l, release, err := connect(ctx, client, owned, true)
	if err != nil {
		return nil, err
	}
	return cluster.NewProvider(newShardedBus(l, o, own, release), o.Cluster), nil
}

// openShardedURL is the adapter.Opener of redis+sharded and rediss+sharded. Its
// parameters: those of openURL without specific_response_channel, and mode
// (dynamic, dynamic-private, static); recovery=true needs static.
func openShardedURL(ctx context.Context, u *url.URL) (adapter.Provider, error) {
	client, opts, err := parseShardedURL(u)
	if err != nil {
		return nil, err
	}
	opts.Logger = adapter.Logger(ctx)
	p, err := openSharded(ctx, client, opts, true)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func parseShardedURL(u *url.URL) (goredis.UniversalClient, *ShardedOptions, error) {
	p := adapter.NewParams(u)
	uo, base := commonParams(u, p)
	o := &ShardedOptions{Options: base, Mode: SubscriptionMode(p.String("mode", string(Dynamic)))}
	o.Cluster.Recovery = p.Bool("recovery", false)
	if _, err := o.Mode.channels(); err != nil {
		return nil, nil, err
	}
	if err := o.canRecover(); err != nil {
		return nil, nil, err
	}
	client, err := dial(u, p, uo)
	return client, o, err
}

func (o *ShardedOptions) canRecover() error {
	if o.Mode == Static {
		return o.Options.canRecover("")
	}
	return o.Options.canRecover("a mode other than static")
}

// channels returns which rooms have a channel.
func (m SubscriptionMode) channels() (func(adapter.Room) bool, error) {
	switch m {
	case Dynamic, "":
		return func(r adapter.Room) bool { return !looksLikeSocket(r) }, nil
	case DynamicPrivate:
		return func(adapter.Room) bool { return true }, nil
	case Static:
		return func(adapter.Room) bool { return false }, nil
	}
	return nil, fmt.Errorf("socketio: redis: mode %q is not dynamic, dynamic-private or static", m)
}

// socketIDLength is how the reference tells the room of one socket, when it
// publishes. It counts UTF-16 units.
const socketIDLength = 20

func looksLikeSocket(r adapter.Room) bool {
	n := utf8.RuneCountInString(r)
	if n > socketIDLength || len(r) < socketIDLength {
		return false
	}
	for _, c := range r {
		if c > 0xffff {
			n++
		}
	}
	return n == socketIDLength
}

func newShardedBus(l *link, o ShardedOptions, own func(adapter.Room) bool, release func() error) *wireBus {
	b := newWireBus(l, shard, o.Options, release)
	d := &envelopes{key: o.Key, kind: shard, append: wire.Append, ownChannel: own}
	b.dialect = d
	b.post.write = func(ctx context.Context, m *cluster.Message) (letter, error) { return d.letter(ctx, b, m) }
	b.start()
	return b
}
