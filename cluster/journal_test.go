package cluster_test

import (
	"testing"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/cluster"
)

func recoveringNodes(_ testing.TB, n int) []adapter.Provider {
	loop := cluster.NewLoopback()
	list := make([]adapter.Provider, n)
	for i := range list {
		list[i] = cluster.NewProvider(loop.Bus(), cluster.Options{Recovery: true})
	}
	return list
}

func TestSessionSuiteOverPubSub(t *testing.T) {
	t.Parallel()
	adaptertest.RunSessions(t, adaptertest.Harness{Nodes: recoveringNodes, OwnOrders: true})
}

func TestConformanceWithRecoveryOverPubSub(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adaptertest.Harness{AllRooms: true, Nodes: func(tb testing.TB, n int) []adapter.Provider {
		list := recoveringNodes(tb, n)
		for i := range list {
			list[i] = adaptertest.WithRecovery(list[i])
		}
		return list
	}})
}
