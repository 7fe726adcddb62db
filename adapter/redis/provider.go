package redis

import (
	"context"
	"errors"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

// New returns a provider that joins nodes through the servers client knows: a
// *redis.Client (one server, or NewFailoverClient) or a *redis.ClusterClient. nil
// options mean the defaults. It fails within 5 s when Redis does not answer.
//
// The provider opens its own connections with the client's addresses,
// credentials, TLS settings and dialer, and with timeouts of its own; client
// itself is not used and not closed, and its hooks do not see our commands. A
// client of NewFailoverClient has to stay open, because it finds the master.
func New(client goredis.UniversalClient, opts *Options) (adapter.Provider, error) {
	p, err := open(context.Background(), client, opts, false)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// open takes over client when owned, also when it fails.
func open(ctx context.Context, client goredis.UniversalClient, opts *Options, owned bool) (*cluster.Provider, error) {
	o := opts.withDefaults()
	if err := o.check(); err != nil {
		return nil, closing(client, owned, err)
	}
	l, release, err := connect(ctx, client, owned, false)
	if err != nil {
		return nil, err
	}
	return cluster.NewProvider(newClassicBus(l, o, release), o.Cluster), nil
}

// connect derives our link from client and checks that the server answers and,
// where that is needed, has sharded pub/sub. release closes client when it is
// owned; a failure does too.
func connect(ctx context.Context, client goredis.UniversalClient, owned, shards bool) (l *link, release func() error, err error) {
	if client == nil {
		return nil, nil, errors.New("socketio: redis: the client is nil")
	}
	if l, err = newLink(client); err != nil {
		return nil, nil, closing(client, owned, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err = l.ping(ctx); err == nil && shards {
		err = l.needShards(ctx)
	}
	if err != nil {
		_ = l.close() // the error says it all
		return nil, nil, closing(client, owned, err)
	}
	return l, func() error { return closing(client, owned, nil) }, nil
}

// closing closes client when it is owned, and joins what that says to err.
func closing(client goredis.UniversalClient, owned bool, err error) error {
	if !owned || client == nil {
		return err
	}
	return errors.Join(err, client.Close())
}
