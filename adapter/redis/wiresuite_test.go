package redis

import (
	"net/url"
	"slices"
	"testing"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// wireHarness joins nodes over a scheme whose wire is the envelope's.
func wireHarness(scheme string, params ...string) adaptertest.Harness {
	return adaptertest.Harness{
		Nodes: func(tb testing.TB, n int) []adapter.Provider {
			u, err := url.Parse(testutil.SharedRedis(tb).URL)
			if err != nil {
				tb.Fatal(err)
			}
			u.Scheme = scheme
			key, args := testutil.Prefix(tb), slices.Clone(params)
			if scheme == "redis+streams" {
				args = append(args, "stream", key)
			}
			nodes := make([]adapter.Provider, n)
			for i := range nodes {
				nodes[i] = openNode(tb, u.String(), key, args...)
			}
			return nodes
		},
	}
}

func TestAdapterSuiteSharded(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"dynamic", "dynamic-private", "static"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			adaptertest.Run(t, wireHarness("redis+sharded", "mode", mode))
		})
	}
}

func TestAdapterSuiteStreams(t *testing.T) {
	t.Parallel()
	for name, params := range map[string][]string{
		"one stream": nil, "three and sharded pubsub": {"stream_count", "3", "sharded_pubsub", "true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			adaptertest.Run(t, wireHarness("redis+streams", params...))
		})
	}
}

func TestSessionSuiteStreams(t *testing.T) {
	t.Parallel()
	adaptertest.RunSessions(t, wireHarness("redis+streams"))
}

func TestAdapterSuiteStreamsWithRecovery(t *testing.T) {
	t.Parallel()
	h := wireHarness("redis+streams", "stream_count", "2")
	nodes := h.Nodes
	h.Nodes = func(tb testing.TB, n int) []adapter.Provider {
		list := nodes(tb, n)
		for i := range list {
			list[i] = adaptertest.WithRecovery(list[i])
		}
		return list
	}
	adaptertest.Run(t, h)
}
