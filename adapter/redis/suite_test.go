package redis

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// openNode opens a provider through the registry, as programs do. params are
// pairs of a name and a value.
func openNode(tb testing.TB, rawURL, key string, params ...string) adapter.Provider {
	tb.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		tb.Fatal(err)
	}
	q := u.Query()
	q.Set("key", key)
	for i := 0; i < len(params); i += 2 {
		q.Set(params[i], params[i+1])
	}
	u.RawQuery = q.Encode()
	p, err := adapter.Open(context.Background(), u.String())
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func TestAdapterSuite(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, harness())
}

func TestAdapterSuiteWithOwnResponseChannels(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, harness("specific_response_channel", "true"))
}

func harness(params ...string) adaptertest.Harness {
	return adaptertest.Harness{
		AllRooms: true,
		Nodes: func(tb testing.TB, n int) []adapter.Provider {
			rawURL, key := testutil.SharedRedis(tb).URL, testutil.Prefix(tb)
			nodes := make([]adapter.Provider, n)
			for i := range nodes {
				nodes[i] = openNode(tb, rawURL, key, params...)
			}
			return nodes
		},
	}
}

func closeNode(tb testing.TB, p adapter.Provider) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		tb.Error(err)
	}
}
