package cluster_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/cluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func loopbackNodes(_ testing.TB, n int) []adapter.Provider {
	loop := cluster.NewLoopback()
	list := make([]adapter.Provider, n)
	for i := range list {
		list[i] = cluster.NewProvider(loop.Bus(), cluster.Options{})
	}
	return list
}

func TestConformance(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adaptertest.Harness{AllRooms: true, Nodes: loopbackNodes})
}
