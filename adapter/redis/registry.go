package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/cluster"
)

// registry keeps one key per node, with the lease as its time to live.
type registry struct {
	link   *link
	prefix string
}

var (
	_ cluster.Registry       = registry{}
	_ cluster.RegistryHolder = (*wireBus)(nil)
)

func newRegistry(l *link, key string) registry { return registry{link: l, prefix: key + ":node:"} }

// Registry implements cluster.RegistryHolder.
func (b *wireBus) Registry() cluster.Registry { return newRegistry(b.link, b.opts.Key) }

// keys returns the client for commands with one key, which on Redis Cluster follows
// the slots.
func (l *link) keys() goredis.Cmdable {
	if l.cluster != nil {
		return l.cluster
	}
	return l.single
}

func (r registry) Announce(ctx context.Context, n cluster.Node, lease time.Duration) error {
	value, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("socketio: redis: encode the node: %w", err)
	}
	if err := r.link.keys().Set(ctx, r.prefix+n.ID, value, lease).Err(); err != nil {
		return r.failed(ctx, "announce a node", err)
	}
	return nil
}

func (r registry) Lookup(ctx context.Context, id string) (cluster.Node, error) {
	value, err := r.link.keys().Get(ctx, r.prefix+id).Bytes()
	if errors.Is(err, goredis.Nil) {
		return cluster.Node{}, cluster.ErrNodeUnknown
	}
	if err != nil {
		return cluster.Node{}, r.failed(ctx, "look a node up", err)
	}
	n := cluster.Node{ID: id}
	if err := json.Unmarshal(value, &n); err != nil {
		return cluster.Node{}, fmt.Errorf("socketio: redis: decode a node: %w", err)
	}
	return n, nil
}

func (r registry) Withdraw(ctx context.Context, id string) error {
	if err := r.link.keys().Del(ctx, r.prefix+id).Err(); err != nil {
		return r.failed(ctx, "withdraw a node", err)
	}
	return nil
}

func (r registry) failed(ctx context.Context, what string, err error) error {
	r.link.failed(ctx)
	return fmt.Errorf("socketio: redis: %s: %w", what, err)
}
