package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

func init() {
	for scheme, open := range map[string]adapter.Opener{
		"redis": openURL, "redis+sharded": openShardedURL, "redis+streams": openStreamsURL,
	} {
		adapter.Register(scheme, open)
		adapter.Register("rediss"+strings.TrimPrefix(scheme, "redis"), open)
	}
}

// openURL is the adapter.Opener of both schemes. Its parameters: key, subscribe
// (all, adaptive), requests_timeout, lease, heartbeat, extensions (true, false),
// gap_policy (notify, ignore, disconnect), specific_response_channel,
// recovery (true, false), probe_interval; addr (repeated)
// and cluster=true for Redis Cluster; master, addr, sentinel_username and
// sentinel_password for Sentinel; tls_ca, tls_cert, tls_key and tls_server_name
// with rediss.
func openURL(ctx context.Context, u *url.URL) (adapter.Provider, error) {
	client, opts, err := parseURL(u)
	if err != nil {
		return nil, err
	}
	opts.Logger = adapter.Logger(ctx)
	p, err := open(ctx, client, opts, true)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func parseURL(u *url.URL) (goredis.UniversalClient, *Options, error) {
	p := adapter.NewParams(u)
	uo, opts := commonParams(u, p)
	opts.SpecificResponseChannel = p.Bool("specific_response_channel", false)
	opts.Subscription = Subscription(p.String("subscribe", ""))
	opts.Cluster.Recovery = p.Bool("recovery", false)
	if err := opts.check(); err != nil {
		return nil, nil, err
	}
	client, err := dial(u, p, uo)
	return client, &opts, err
}

// commonParams reads the parameters all schemes have.
func commonParams(u *url.URL, p *adapter.Params) (*servers, Options) {
	opts := Options{
		Key:           p.String("key", ""),
		ProbeInterval: p.Duration("probe_interval", 0),
	}
	opts.Cluster.RequestsTimeout = p.Duration("requests_timeout", 0)
	opts.Cluster.Lease = p.Duration("lease", 0)
	opts.Cluster.Heartbeat = p.Duration("heartbeat", 0)
	opts.Cluster.NoExtensions = !p.Bool("extensions", true)
	opts.Cluster.GapPolicy = cluster.GapPolicy(p.String("gap_policy", ""))
	return serverParams(u, p), opts
}

// servers are the parameters that say which servers to use, and how.
type servers struct {
	goredis.UniversalOptions
	tls tlsParams
}

func serverParams(u *url.URL, p *adapter.Params) *servers {
	return &servers{tls: readTLSParams(p), UniversalOptions: goredis.UniversalOptions{
		MasterName:            p.String("master", ""),
		Addrs:                 append([]string{hostPort(u)}, p.Strings("addr")...),
		SentinelUsername:      p.String("sentinel_username", ""),
		SentinelPassword:      p.String("sentinel_password", ""),
		IsClusterMode:         p.Bool("cluster", false),
		MaxRetries:            -1,
		ContextTimeoutEnabled: true,
	}}
}

// dial makes the client that u and the parameters describe. All parameters must
// have been read.
func dial(u *url.URL, p *adapter.Params, uo *servers) (goredis.UniversalClient, error) {
	if err := p.Err(); err != nil {
		return nil, err
	}
	if u.User != nil {
		uo.Username = u.User.Username()
		uo.Password, _ = u.User.Password()
	}
	var err error
	if uo.TLSConfig, err = uo.tls.config(u); err != nil {
		return nil, err
	}
	if uo.DB, err = database(u); err != nil {
		return nil, err
	}
	if uo.IsClusterMode && uo.MasterName != "" {
		return nil, errors.New("socketio: redis: parameters cluster and master exclude each other")
	}
	if uo.DB != 0 && uo.MasterName == "" && (uo.IsClusterMode || len(uo.Addrs) > 1) {
		return nil, errors.New("socketio: redis: Redis Cluster has no database but 0")
	}
	return goredis.NewUniversalClient(&uo.UniversalOptions), nil
}

func hostPort(u *url.URL) string {
	host, port := u.Hostname(), u.Port()
	if host == "" {
		host = "localhost"
	}
	if port == "" {
		port = "6379"
	}
	return net.JoinHostPort(host, port)
}

func database(u *url.URL) (int, error) {
	path := strings.Trim(u.Path, "/")
	if path == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(path)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("socketio: redis: the path is the number of a database, got %q", path)
	}
	return n, nil
}
