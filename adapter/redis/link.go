package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// What every connection of ours uses, whatever the user's client does: the
// defaults of go-redis changed between releases. Commands are never repeated,
// because a repeated PUBLISH is a duplicate.
const (
	dialTimeout = 2 * time.Second
	ioTimeout   = 3 * time.Second
	poolSize    = 4
)

// link is our client and how its topology wants to be used.
type link struct {
	// Immutable.
	single  *goredis.Client        // one server, or the master of a Sentinel group
	cluster *goredis.ClusterClient // nil unless Redis Cluster
	seed    string                 // picks the cluster node this process publishes to
	addr    string                 // for errors
	masters *masters               // nil unless single is of a Sentinel group
}

// newLink derives a client from the user's: same servers, credentials and
// dialer, our timeouts, no retries, no hooks.
func newLink(c goredis.UniversalClient) (*link, error) {
	l := &link{seed: rand.Text()}
	switch c := c.(type) {
	case *goredis.Client:
		o := *c.Options()
		l.addr = o.Addr
		if o.Addr == failoverAddr {
			l.masters = watchMasters(o.Dialer)
			o.Dialer = l.masters.dial
		}
		tune(&o)
		l.single = goredis.NewClient(&o)
	case *goredis.ClusterClient:
		o := *c.Options()
		l.addr = fmt.Sprint(o.Addrs)
		tuneCluster(&o)
		l.cluster = goredis.NewClusterClient(&o)
	default:
		return nil, fmt.Errorf("socketio: redis: cannot use a client of type %T; want *redis.Client or *redis.ClusterClient", c)
	}
	return l, nil
}

// tune is for every set of options a client is made of, copies of a tuned client's
// too: go-redis turns the -1 of no retries into 0, and a 0 into its default.
func tune(o *goredis.Options) {
	o.Dialer = bounded(o.Dialer)
	o.Protocol = 2
	o.MaxRetries = -1
	o.DialTimeout, o.DialerRetries = dialTimeout, 1
	o.ReadTimeout, o.WriteTimeout = ioTimeout, ioTimeout
	o.ContextTimeoutEnabled = true
	o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = poolSize, 0, 0, 0
	o.PoolTimeout = ioTimeout
	o.PipelinePoolSize = -1
	o.DisableIdentity = true
	o.ClientSideCache, o.ClientSideCacheConfig = nil, nil
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

func tuneCluster(o *goredis.ClusterOptions) {
	if o.Dialer != nil {
		o.Dialer = bounded(o.Dialer)
	} else {
		o.Dialer = bounded(goredis.NewDialer(&goredis.Options{DialTimeout: dialTimeout, TLSConfig: o.TLSConfig}))
	}
	o.Protocol = 2
	o.MaxRetries = -1
	o.ReadOnly, o.RouteByLatency, o.RouteRandomly = false, false, false
	o.DialTimeout, o.DialerRetries = dialTimeout, 1
	o.ReadTimeout, o.WriteTimeout = ioTimeout, ioTimeout
	o.ContextTimeoutEnabled = true
	o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = poolSize, 0, 0, 0
	o.PoolTimeout = ioTimeout
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

var errSealed = errors.New("connection was lost")

type sealKey struct{}

// withSeal returns a context whose bearer can dial until the seal is set. A
// PubSub of go-redis connects anew by itself when its connection breaks; ours
// must not, because then nobody knows what was missed.
func withSeal(ctx context.Context, seal *atomic.Bool) context.Context {
	return context.WithValue(ctx, sealKey{}, seal)
}

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

func bounded(dial dialer) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if seal, ok := ctx.Value(sealKey{}).(*atomic.Bool); ok && seal.Load() {
			return nil, errSealed
		}
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		return dial(ctx, network, addr)
	}
}

func (l *link) pubsub(ctx context.Context) *goredis.PubSub {
	if l.cluster != nil {
		l.failed(ctx) // a new connection is due because the old one broke
		return l.cluster.Subscribe(ctx)
	}
	return l.single.Subscribe(ctx)
}

// publisher returns the server this process publishes to. On Redis Cluster,
// where PUBLISH reaches all nodes from any, it is always the same one: over
// several, messages would overtake each other.
func (l *link) publisher(ctx context.Context) (*goredis.Client, error) {
	if l.cluster != nil {
		return l.cluster.MasterForKey(ctx, l.seed)
	}
	return l.single, nil
}

// owner returns the server that has a key, or a sharded channel.
func (l *link) owner(ctx context.Context, key string) (*goredis.Client, error) {
	if l.cluster != nil {
		return l.cluster.MasterForKey(ctx, key)
	}
	return l.single, nil
}

func (l *link) publish(ctx context.Context, channel string, payload []byte) error {
	c, err := l.publisher(ctx)
	if err != nil {
		return err
	}
	err = c.Publish(ctx, channel, payload).Err()
	if err != nil {
		l.failed(ctx)
	}
	return err
}

// subscribers counts the subscriptions of a channel. On Redis Cluster each server
// knows its own only; a replica has some after a failover turned a master into
// it, but one that does not answer is no reason to fail.
func (l *link) subscribers(ctx context.Context, t topic) (int, error) {
	count := func(ctx context.Context, c *goredis.Client) (int64, error) {
		do := c.PubSubNumSub
		if t.kind == shard {
			do = c.PubSubShardNumSub
		}
		n, err := do(ctx, t.name).Result()
		return n[t.name], err
	}
	if l.cluster == nil {
		n, err := count(ctx, l.single)
		return int(n), err
	}
	var total atomic.Int64
	add := func(ctx context.Context, c *goredis.Client) error {
		n, err := count(ctx, c)
		total.Add(n)
		return err
	}
	if err := l.cluster.ForEachMaster(ctx, add); err != nil {
		return 0, err
	}
	_ = l.cluster.ForEachSlave(ctx, add)
	return int(total.Load()), nil
}

// needShards fails when the server has no sharded pub/sub.
func (l *link) needShards(ctx context.Context) error {
	c, err := l.publisher(ctx)
	if err == nil {
		err = c.PubSubShardNumSub(ctx, "x").Err()
	}
	var refused goredis.Error
	if errors.As(err, &refused) && strings.Contains(strings.ToLower(refused.Error()), "unknown") {
		return fmt.Errorf("socketio: redis at %s has no sharded pub/sub: Redis 7.0 or newer is needed: %w", l.addr, err)
	}
	if err != nil {
		return fmt.Errorf("socketio: redis at %s: %w", l.addr, err)
	}
	return nil
}

// failed makes a cluster client look at the topology again, since our errors do
// not pass through it.
func (l *link) failed(ctx context.Context) {
	if l.cluster != nil {
		l.cluster.ReloadState(ctx)
	}
}

func (l *link) ping(ctx context.Context) error {
	c, err := l.publisher(ctx)
	if err == nil {
		err = c.Ping(ctx).Err()
	}
	if err != nil {
		return fmt.Errorf("socketio: redis at %s does not answer: %w", l.addr, err)
	}
	return nil
}

func (l *link) close() error {
	if l.masters != nil {
		l.masters.close()
	}
	if l.cluster != nil {
		return l.cluster.Close()
	}
	return l.single.Close()
}
