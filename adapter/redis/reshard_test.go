package redis

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// What MOVED, ASK and CLUSTERDOWN refuse is published later, in order.
func TestPublishingGoesOnWhileSlotsMove(t *testing.T) {
	t.Parallel()
	rc := testutil.LocalRedisCluster(t, 3)
	o := func(variant string) Options {
		o := Options{Key: "k-" + variant}
		o.Cluster.MaxOutboundAge = time.Minute
		return o
	}
	keys := map[string]string{"classic": "k-classic", "sharded": "k-sharded#/#all#", "streams": "k-streams"}
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) {
			start := func(id string) *node {
				client := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: rc.Addrs()})
				return startWith(t, variant, client, o(variant), "/", id)
			}
			a, b := start("a"), start("b")
			flows(t, a, b)
			w := observe(a, b)
			slot := slotOf(keys[variant])
			for range 3 {
				next := rc.Nodes[(slices.Index(rc.Nodes, rc.Owner(t, slot))+1)%3]
				rc.MoveSlot(t, slot, next)
				flows(t, a, b)
			}
			w.check(t, variant != "sharded", variant == "streams")
			if s := a.p.Stats(); s.Dropped != 0 {
				t.Errorf("messages were given up: %+v", s)
			}
		})
	}
}

// A master of a Redis Cluster dies and comes back. What the masters owe each other
// on the classic wire they lose without a word, so that nothing is promised there.
func TestPublishingGoesOnAfterAMasterWasAway(t *testing.T) {
	t.Parallel()
	rc := testutil.LocalRedisCluster(t, 3)
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) {
			start := func(id string) *node {
				client := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: rc.Addrs()})
				return startWith(t, variant, client, Options{Key: "k-" + variant}, "/", id)
			}
			a, b := start("a"), start("b")
			flows(t, a, b)
			var w *witness
			if variant != "classic" {
				w = observe(a, b)
			}
			key := map[string]string{"classic": "k-classic-request#/#", "sharded": "k-sharded#/#all#", "streams": "k-streams"}[variant]
			owner := rc.Owner(t, slotOf(key))
			owner.Kill(t)
			poll(t, "messages are given up, or go elsewhere", func() bool {
				return a.p.Stats().PublishErrors > 0 || b.p.Health().Reconnects > 0 || variant == "classic"
			})
			owner.Restart(t)
			if w != nil {
				w.check(t, false, variant == "streams")
			}
			flows(t, a, b)
			flows(t, b, a)
		})
	}
}

// A master that is only a replica for a while refuses entries; none is lost, and
// their order stays.
func TestEntriesWaitUntilAReplicaIsPromoted(t *testing.T) {
	t.Parallel()
	server := testutil.LocalRedis(t)
	o := Options{Key: "k"}
	o.Cluster.MaxOutboundAge = time.Minute
	start := func(id string) *node {
		return startWith(t, "streams", goredis.NewClient(&goredis.Options{Addr: server.Addr()}), o, "/", id)
	}
	a, b := start("a"), start("b")
	flows(t, a, b)
	w := observe(a, b)
	server.CLI(t, "replicaof", "127.0.0.1", "1")
	poll(t, "entries are refused", func() bool {
		return a.p.Stats().PublishErrors > 2
	})
	server.CLI(t, "replicaof", "no", "one")
	w.check(t, true, false)
}

// Redis gets well between two commands of one pipeline.
func TestAServerThatGetsWellDoesNotChangeTheOrder(t *testing.T) {
	t.Parallel()
	c := goredis.NewClient(&goredis.Options{Addr: testutil.SharedRedis(t).Addr(), MaxRetries: -1})
	defer c.Close()
	key := testutil.Prefix(t)
	scripts := map[string]string{
		"first": `if redis.call('INCR', KEYS[1] .. 'n') <= 2 then return redis.error_reply('LOADING again') end
			return redis.call('RPUSH', KEYS[1], 'first')`,
		"second": `if tonumber(redis.call('GET', KEYS[1] .. 'n')) < 2 then return redis.error_reply('LOADING still') end
			return redis.call('RPUSH', KEYS[1], 'second')`,
	}
	p := post{link: &link{single: c}, write: func(_ context.Context, m *cluster.Message) (letter, error) {
		return letter{to: c, add: func(ctx context.Context, pipe goredis.Pipeliner) goredis.Cmder {
			return pipe.Eval(ctx, scripts[m.RequestID], []string{key})
		}}, nil
	}}
	batch := []*cluster.Message{{RequestID: "first"}, {RequestID: "second"}}
	for range 2 {
		var pe *cluster.PublishError
		if _, err := p.publish(t.Context(), batch); !errors.As(err, &pe) || pe.Sent != 0 {
			t.Fatalf("error %v", err)
		}
	}
	if _, err := p.publish(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if got := c.LRange(t.Context(), key, 0, -1).Val(); !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("Redis got %q", got)
	}
}

// A message that Redis will never take does not hold up the others.
func TestWhatRedisRefusesForGoodHoldsUpNothing(t *testing.T) {
	t.Parallel()
	server := testutil.LocalRedis(t)
	rules := append(rights(t, "redis, adaptive"), "resetchannels", "&socket.io#~probe~*", "&socket.io#/ok#*", "&socket.io-*#/ok#*")
	grant(t, server, rules)
	b, _, _ := startBus(t, server.Addr(), Options{ProbeInterval: -1})
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr(), Username: "app", Password: "secret"})
	defer client.Close()
	l, err := newLink(client)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	d := &classic{bus: &wireBus{link: l, set: b.set, opts: (&Options{}).withDefaults()}}
	p := post{link: l, write: d.letter}
	m := func(ns string) *cluster.Message {
		return &cluster.Message{Kind: cluster.Broadcast, From: "AbCdEf", Namespace: ns, Packet: packetOf(`["x"]`), Target: adapter.Target{}}
	}
	var pe *cluster.PublishError
	if _, err := p.publish(t.Context(), []*cluster.Message{m("/ok"), m("/secret"), m("/ok")}); !errors.As(err, &pe) || pe.Sent != 3 || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("error %v", err)
	}
	if _, err := p.publish(t.Context(), []*cluster.Message{m("/ok")}); err != nil {
		t.Errorf("after a refusal: %v", err)
	}
}

// A node that only reads has nothing but its reader to notice that its view of the
// cluster is old, and whom it asks may not have heard of a move yet.
func TestAReaderAsksUntilItHearsOfAMove(t *testing.T) {
	t.Parallel()
	rc := testutil.LocalRedisCluster(t, 3)
	direct := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: rc.Addrs()})
	defer direct.Close()
	ctx := t.Context()
	slots := func(ctx context.Context) ([]goredis.ClusterSlot, error) {
		cmd := goredis.NewClusterSlotsCmd(ctx, "cluster", "slots")
		_ = direct.Process(ctx, cmd) // the command holds the error
		return cmd.Result()
	}
	before, err := slots(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var old atomic.Int64 // how many answers are old
	client := goredis.NewClusterClient(&goredis.ClusterOptions{
		Addrs:                      rc.Addrs(),
		ClusterStateReloadInterval: time.Hour,
		ClusterSlots: func(ctx context.Context) ([]goredis.ClusterSlot, error) {
			if old.Add(-1) >= 0 {
				return before, nil
			}
			return slots(ctx)
		},
	})
	defer client.Close()
	old.Store(1)
	r := startReader(t, client, "s")
	add := func(id, data string) {
		t.Helper()
		if err := direct.XAdd(ctx, &goredis.XAddArgs{Stream: "s", ID: id, Values: []string{"nsp", "/", "data", data}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	add("1", "before")
	if got := r.next(t); got != "1=before" {
		t.Fatalf("read %s", got)
	}
	old.Store(3)
	slot := slotOf("s")
	rc.MoveSlot(t, slot, rc.Nodes[(slices.Index(rc.Nodes, rc.Owner(t, slot))+1)%3])
	add("2", "after")
	if got := r.next(t); got != "2=after" {
		t.Errorf("read %s", got)
	}
	if left := old.Load(); left >= 0 {
		t.Errorf("%d answers more would have been old", left)
	}
}
