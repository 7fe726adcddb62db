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
	if client == nil {
		return nil, errors.New("socketio: redis: the client is nil")
	}
	p, err := open(context.Background(), client, opts, false)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// open takes over client when owned, also when it fails.
func open(ctx context.Context, client goredis.UniversalClient, opts *Options, owned bool) (*cluster.Provider, error) {
	release := func() error { return nil }
	if owned {
		release = client.Close
	}
	o := opts.withDefaults()
	l, err := newLink(client)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := l.ping(ctx); err != nil {
		_ = l.close() // the error of ping says it all
		_ = release()
		return nil, err
	}
	return cluster.NewProvider(newBus(l, o, release), o.Cluster), nil
}
