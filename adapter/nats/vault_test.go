package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// With replicas on three servers, of many claims on three nodes one gets a session.
// While a server is dying it may be none.
func TestASessionWithReplicasIsTakenOnce(t *testing.T) {
	t.Parallel()
	servers := testutil.JetStreamCluster(t, 3)
	prefix := newPrefix()
	var nodes []*testNode
	var b *bus
	wait(t, "the servers have a leader and make the stream", func() bool {
		o := Options{Prefix: prefix, HeartbeatInterval: testInterval, JetStream: &JetStream{Replicas: 3}}
		full, err := o.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		if b, err = openBus(t.Context(), testServers(servers[0].URL), full, channelSize); err != nil {
			t.Log(err)
		}
		return err == nil
	})
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, s := range servers {
		urls := []string{s.URL, servers[(i+1)%3].URL}
		nodes = append(nodes, newNode(t, prefix, fmt.Sprint("node", i), urls, func(o *Options) { o.JetStream = &JetStream{Replicas: 3} }))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	const last = 9
	for round := range last + 1 {
		if round == last {
			servers[2].Kill(t)
		}
		pid := fmt.Sprint("pid", round)
		s := &cluster.StoredSession{Session: adapter.Session{ID: "s" + pid}, Namespace: "/"}
		wait(t, "the session is stored", func() bool {
			try, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return nodes[0].b.vault.write(try, []cluster.SessionWrite{{PID: pid, Session: s, TTL: time.Minute}}) == nil
		})
		taken := new(atomic.Int32)
		var running sync.WaitGroup
		for i := range 18 {
			running.Go(func() {
				got, err := nodes[i%3].b.vault.take(ctx, pid)
				switch {
				case err == nil && got.ID == s.ID:
					taken.Add(1)
				case err == nil:
					t.Errorf("got %+v", got)
				case !errors.Is(err, adapter.ErrNoSession):
					t.Logf("not taken: %v", err)
				}
			})
		}
		running.Wait()
		if n := taken.Load(); n > 1 || n == 0 && round < last {
			t.Errorf("round %d: the session was taken %d times", round, n)
		}
	}
}
