package redis

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// checkRegistry walks a node through its life.
func checkRegistry(t *testing.T, client goredis.UniversalClient, variant string) {
	t.Helper()
	key := testutil.Prefix(t)
	p := openVariant(t, variant, client, Options{Key: key, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { closeNode(t, p) })
	g := p.Registry()
	if g == nil {
		t.Fatal("the provider has no registry")
	}
	ctx := t.Context()
	want := cluster.Node{ID: "node-1.epoch", URL: "http://10.0.0.1:3000", Started: time.Now().Truncate(time.Second).UTC()}
	if _, err := g.Lookup(ctx, want.ID); !errors.Is(err, cluster.ErrNodeUnknown) {
		t.Errorf("before it was announced: %v", err)
	}
	for _, draining := range []bool{false, true} {
		want.Draining = draining
		if err := g.Announce(ctx, want, time.Minute); err != nil {
			t.Fatal(err)
		}
		if got, err := g.Lookup(ctx, want.ID); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	for _, id := range []string{"node-1.other", "node-2.epoch", "", "*"} {
		if got, err := g.Lookup(ctx, id); !errors.Is(err, cluster.ErrNodeUnknown) {
			t.Errorf("%q: %+v, %v", id, got, err)
		}
	}
	for range 2 {
		if err := g.Withdraw(ctx, want.ID); err != nil {
			t.Error(err)
		}
	}
	if _, err := g.Lookup(ctx, want.ID); !errors.Is(err, cluster.ErrNodeUnknown) {
		t.Errorf("after it was withdrawn: %v", err)
	}
}

func TestEveryAdapterHasARegistry(t *testing.T) {
	t.Parallel()
	addr := testutil.SharedRedis(t).Addr()
	for _, variant := range variants {
		checkRegistry(t, goredis.NewClient(&goredis.Options{Addr: addr}), variant)
	}
}

func TestTheRegistryOnRedisCluster(t *testing.T) {
	t.Parallel()
	c := testutil.LocalRedisCluster(t, 3)
	checkRegistry(t, goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: c.Addrs()}), "sharded")
}

func TestTheRegistryBehindSentinel(t *testing.T) {
	t.Parallel()
	g := testutil.LocalRedisSentinel(t)
	checkRegistry(t, goredis.NewFailoverClient(&goredis.FailoverOptions{MasterName: g.Name, SentinelAddrs: []string{g.Sentinel.Addr()}}), "classic")
}

func TestALeaseEnds(t *testing.T) {
	t.Parallel()
	client := goredis.NewClient(&goredis.Options{Addr: testutil.SharedRedis(t).Addr()})
	p := openVariant(t, "classic", client, Options{Key: testutil.Prefix(t), Logger: slog.New(slog.DiscardHandler)})
	defer closeNode(t, p)
	g := p.Registry()
	if err := g.Announce(t.Context(), cluster.Node{ID: "n.e", URL: "http://h:1"}, 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	testPatience(t, "end of the lease", func() bool {
		_, err := g.Lookup(t.Context(), "n.e")
		return errors.Is(err, cluster.ErrNodeUnknown)
	})
}

func TestARegistryWithoutRedisSaysSo(t *testing.T) {
	t.Parallel()
	server := testutil.LocalRedis(t)
	p := openVariant(t, "classic", goredis.NewClient(&goredis.Options{Addr: server.Addr()}), Options{Logger: slog.New(slog.DiscardHandler)})
	defer closeNode(t, p)
	server.Kill(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	g := p.Registry()
	if _, err := g.Lookup(ctx, "n.e"); err == nil || errors.Is(err, cluster.ErrNodeUnknown) {
		t.Errorf("lookup: %v", err)
	}
	if err := g.Announce(ctx, cluster.Node{ID: "n.e"}, time.Second); err == nil {
		t.Error("announce: no error")
	}
	if err := g.Withdraw(ctx, "n.e"); err == nil {
		t.Error("withdraw: no error")
	}
}

// testPatience polls cond with a deadline.
func testPatience(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s after %v", what, patience)
		}
		<-tick.C
	}
}
