package emitter

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/redis"
)

// startTimeout bounds Open.
const startTimeout = 5 * time.Second

// Open returns an emitter over the Redis an URL names, with the schemes redis,
// rediss, redis+streams and rediss+streams and, of the parameters the nodes have
// in their adapter URL, key (classic only), stream and max_len (streams only),
// addr, cluster, master, sentinel_username and sentinel_password; any other is an
// error. It fails within 5 s when Redis does not answer. ctx bounds the opening
// only. Close closes the connections.
func Open(ctx context.Context, rawURL string) (*Emitter, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("socketio: emitter: the URL cannot be parsed")
	}
	p := adapter.NewParams(u)
	var o Options
	switch strings.Replace(u.Scheme, "rediss", "redis", 1) {
	case "redis":
		o.Key = p.String("key", "")
	case "redis+streams":
		o.Stream, o.MaxLen = p.String("stream", defaultName), p.Int("max_len", 0)
	default:
		return nil, fmt.Errorf("socketio: emitter: no emitter for the scheme %q; there is one for redis, rediss, redis+streams and rediss+streams", u.Scheme)
	}
	client, err := redis.NewClient(u, p)
	if err != nil {
		return nil, fmt.Errorf("socketio: emitter: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := client.Ping(ctx).Err(); err != nil {
		_ = client.Close() // the error of ping says it all
		return nil, fmt.Errorf("socketio: emitter: redis at %s does not answer: %w", u.Host, err)
	}
	e := New(client, &o)
	e.release = client.Close
	return e, nil
}
