package memory_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/adapter/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adaptertest.Harness{MaxNodes: 1, AllRooms: true, Nodes: func(_ testing.TB, n int) []adapter.Provider {
		list := make([]adapter.Provider, n)
		for i := range list {
			list[i] = memory.NewProvider(memory.Options{})
		}
		return list
	}})
}
