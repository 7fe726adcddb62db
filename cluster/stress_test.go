package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/cluster"
)

// TestEverythingAtOnceEnds has three nodes do every operation concurrently while
// one of them closes: nothing may deadlock, and requests of the others must end.
func TestEverythingAtOnceEnds(t *testing.T) {
	t.Parallel()
	nodes := fleet(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	room := adapter.Target{Rooms: []adapter.Room{"room"}}
	var wg sync.WaitGroup
	for i, m := range nodes {
		check := func(err error) {
			if err != nil && i != 2 && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, adapter.ErrQueueFull) {
				t.Errorf("node %d: %v", i, err)
			}
		}
		for g := range 3 {
			wg.Go(func() {
				s := adaptertest.NewSocket(fmt.Sprintf("extra-%d-%d", i, g))
				for k := range 60 {
					m.a.Join(s, s.ID(), "extra")
					check(m.a.Broadcast(packet(k), room))
					check(m.a.SocketsJoin(ctx, room, "a", "b"))
					check(m.a.SocketsLeave(ctx, room, "a"))
					check(m.a.ServerSideEmit(packet(k)))
					short, done := context.WithTimeout(ctx, time.Second)
					_, err := m.a.FetchSockets(short, room)
					check(err)
					for _, err := range m.a.BroadcastWithAck(short, packet(k), room) {
						check(err)
						if k%2 == 0 {
							break
						}
					}
					done()
					m.a.LeaveAll(s)
				}
			})
		}
	}
	wg.Go(func() {
		awaitCount(t, nodes[2].sock, 100)
		if err := nodes[2].p.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	wg.Wait()
	if ctx.Err() != nil {
		t.Error("the operations did not end in time")
	}
	for i, m := range nodes[:2] {
		if s := m.p.Stats(); s.Dropped != 0 || s.PublishErrors != 0 || s.Received[cluster.AdapterClose] == 0 {
			t.Errorf("node %d: %+v", i, s)
		}
	}
}
