package nats

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
func openNode(tb testing.TB, rawURL, prefix string, params ...string) adapter.Provider {
	tb.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		tb.Fatal(err)
	}
	q := u.Query()
	q.Set("prefix", prefix)
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

func harness(server string, params ...string) adaptertest.Harness {
	return adaptertest.Harness{
		Nodes: func(tb testing.TB, n int) []adapter.Provider {
			prefix := newPrefix()
			nodes := make([]adapter.Provider, n)
			for i := range nodes {
				nodes[i] = openNode(tb, server, prefix, params...)
			}
			return nodes
		},
	}
}

func TestAdapterSuite(t *testing.T) {
	t.Parallel()
	server := testutil.NATS(t).URL
	for _, mode := range []SubscriptionMode{Dynamic, DynamicPrivate, Static} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			adaptertest.Run(t, harness(server, "mode", string(mode)))
		})
	}
}

func TestAdapterSuiteOverJetStream(t *testing.T) {
	t.Parallel()
	server := testutil.JetStream(t).URL
	adaptertest.Run(t, harness(server, "jetstream", "true", "memory", "true", "max_bytes", "1048576"))
}

func TestSessionSuiteOverJetStream(t *testing.T) {
	t.Parallel()
	server := testutil.JetStream(t).URL
	adaptertest.RunSessions(t, harness(server, "jetstream", "true", "memory", "true", "max_bytes", "1048576"))
}

// The whole suite, with recovery at work beneath it.
func TestAdapterSuiteWithRecoveryOverJetStream(t *testing.T) {
	t.Parallel()
	h := harness(testutil.JetStream(t).URL, "jetstream", "true", "memory", "true", "max_bytes", "1048576")
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

func closeNode(tb testing.TB, p adapter.Provider) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		tb.Error(err)
	}
}
