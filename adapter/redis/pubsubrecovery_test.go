package redis

import (
	"strings"
	"testing"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
)

func TestSessionSuiteOverPubSub(t *testing.T) {
	t.Parallel()
	h := harness("recovery", "true")
	h.OwnOrders = true
	adaptertest.RunSessions(t, h)
}

func TestSessionSuiteOverShardedPubSub(t *testing.T) {
	t.Parallel()
	h := wireHarness("redis+sharded", "recovery", "true", "mode", "static")
	h.OwnOrders = true
	adaptertest.RunSessions(t, h)
}

// The whole suite, with recovery at work beneath it.
func TestAdapterSuiteWithRecoveryOverPubSub(t *testing.T) {
	t.Parallel()
	h := harness("recovery", "true")
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

func TestRecoveryIsRefusedWhereItCannotBeProved(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ url, want string }{
		{"redis://h?recovery=true&subscribe=adaptive", "hear every room"},
		{"redis://h?recovery=true&extensions=false", "needs extensions"},
		{"redis+sharded://h?recovery=true", "hear every room"},
		{"redis+sharded://h?recovery=true&mode=dynamic-private", "hear every room"},
		{"redis+sharded://h?recovery=true&mode=static&extensions=false", "needs extensions"},
	} {
		if _, err := adapter.Open(t.Context(), tt.url); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q in it", tt.url, err, tt.want)
		}
	}
}
