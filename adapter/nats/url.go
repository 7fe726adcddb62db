package nats

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"strings"

	natsgo "github.com/nats-io/nats.go"

	"github.com/socketfleet/socketfleet/adapter"
)

func init() {
	for _, scheme := range []string{"nats", "tls"} {
		adapter.Register(scheme, openURL)
	}
	adapter.Register("nats+jetstream", openURL)
	adapter.Register("tls+jetstream", openURL)
}

// openURL is the adapter.Opener of all schemes. Its parameters: addr (repeated) for
// more servers, prefix, mode, heartbeat_interval, requests_timeout and token; with
// jetstream=true, or a scheme that ends in +jetstream, also stream, max_age,
// max_msgs, max_bytes, replicas and memory. A comma separates servers too.
func openURL(ctx context.Context, u *url.URL) (adapter.Provider, error) {
	user, opts, err := parseURL(u)
	if err != nil {
		return nil, err
	}
	opts.Logger = adapter.Logger(ctx)
	return open(ctx, user, opts)
}

func parseURL(u *url.URL) (natsgo.Options, *Options, error) {
	p := adapter.NewParams(u)
	user := natsgo.GetDefaultOptions()
	user.Token = p.String("token", "")
	opts := &Options{
		Prefix:            p.String("prefix", ""),
		Mode:              SubscriptionMode(p.String("mode", "")),
		HeartbeatInterval: p.Duration("heartbeat_interval", 0),
	}
	opts.Cluster.RequestsTimeout = p.Duration("requests_timeout", 0)
	family, kind, _ := strings.Cut(u.Scheme, "+")
	if p.Bool("jetstream", kind == "jetstream") {
		opts.JetStream = &JetStream{
			Stream:   p.String("stream", ""),
			MaxAge:   p.Duration("max_age", 0),
			MaxMsgs:  int64(p.Int("max_msgs", 0)),
			MaxBytes: int64(p.Int("max_bytes", 0)),
			Replicas: p.Int("replicas", 0),
			Memory:   p.Bool("memory", false),
		}
	}
	if u.User != nil {
		user.User = u.User.Username()
		user.Password, _ = u.User.Password()
	}
	if family == "tls" {
		user.Secure, user.TLSConfig = true, &tls.Config{MinVersion: tls.VersionTLS12}
	}
	hosts := append(strings.Split(u.Host, ","), p.Strings("addr")...)
	if err := p.Err(); err != nil {
		return user, nil, err
	}
	if strings.Trim(u.Path, "/") != "" {
		return user, nil, errors.New("socketio: nats: the URL has no path")
	}
	for _, host := range hosts {
		user.Servers = append(user.Servers, family+"://"+hostPort(host))
	}
	return user, opts, nil
}

// hostPort completes a server's address.
func hostPort(s string) string {
	u := url.URL{Host: s}
	host, port := u.Hostname(), u.Port()
	if host == "" {
		host = "localhost"
	}
	if port == "" {
		port = "4222"
	}
	return net.JoinHostPort(host, port)
}
