package nats

import (
	"context"
	"errors"

	natsgo "github.com/nats-io/nats.go"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

// New returns a provider that joins nodes through the servers conn knows. nil
// options mean the defaults. It fails within 5 s when no server answers, or when
// JetStream is wanted and the server has none.
//
// The provider opens its own connection with conn's addresses, credentials, TLS
// settings and dialer, because it needs one that neither replays nor loses messages
// without a word; conn itself is not used and not closed, and its handlers do not
// see ours.
func New(conn *natsgo.Conn, opts *Options) (adapter.Provider, error) {
	if conn == nil {
		return nil, errors.New("socketio: nats: the connection is nil")
	}
	user := conn.Opts
	if len(user.Servers) == 0 && user.Url == "" {
		user.Servers = conn.Servers()
	}
	return open(context.Background(), user, opts)
}

func open(ctx context.Context, user natsgo.Options, opts *Options) (adapter.Provider, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	b, err := openBus(ctx, user, o, channelSize)
	if err != nil {
		return nil, err
	}
	if b.journal != nil {
		return cluster.NewProvider(logBus{b}, o.Cluster), nil
	}
	return cluster.NewProvider(b, o.Cluster), nil
}
