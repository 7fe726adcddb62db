package adaptertest

import (
	"context"
	"fmt"
	"testing"

	"github.com/socketfleet/socketfleet/adapter"
)

// Harness tells the suite how to make nodes.
type Harness struct {
	// Nodes starts n nodes of one deployment that no other test shares, one
	// provider each. The suite closes the providers; whatever else was started is
	// stopped by tb.Cleanup.
	Nodes func(tb testing.TB, n int) []adapter.Provider
	// MaxNodes is how many nodes can be joined: 1 for adapters of a single node.
	// 0 means 3.
	MaxNodes int
	// AllRooms says that the nodes can ask each other for their rooms, if the
	// adapter is an adapter.RoomLister.
	AllRooms bool
	// OwnOrders says, for RunSessions, that each node delivers in an order of its
	// own: that of each sender is kept, that between senders may differ.
	OwnOrders bool
}

type testCase struct {
	name string
	run  func(t *testing.T, w *world)
}

// Run runs the suite against h.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if h.MaxNodes == 0 {
		h.MaxNodes = 3
	}
	for _, n := range []int{1, 3} {
		if n > h.MaxNodes {
			continue
		}
		t.Run(fmt.Sprintf("nodes=%d", n), func(t *testing.T) {
			for _, cases := range [][]testCase{membershipCases, broadcastCases, targetCases, ackCases, serverCases} {
				for _, c := range cases {
					t.Run(c.name, func(t *testing.T) { c.run(t, newWorld(t, h, n, "/"+c.name)) })
				}
			}
		})
	}
}

// closing bounds the shutdown of adapters and providers.
func closing() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}
