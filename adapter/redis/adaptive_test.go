package redis

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestAdapterSuiteAdaptive(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, harness("subscribe", "adaptive"))
}

// Nodes with the pattern and nodes without understand each other.
func TestAdapterSuiteOfMixedSubscriptions(t *testing.T) {
	t.Parallel()
	h := harness()
	h.Nodes = func(tb testing.TB, n int) []adapter.Provider {
		rawURL, key := testutil.SharedRedis(tb).URL, testutil.Prefix(tb)
		nodes := make([]adapter.Provider, n)
		for i := range nodes {
			nodes[i] = openNode(tb, rawURL, key, "subscribe", []string{"adaptive", "all"}[i%2])
		}
		return nodes
	}
	adaptertest.Run(t, h)
}

func startAdaptive(tb testing.TB, addr, key, id string, s Subscription) *node {
	tb.Helper()
	o := Options{Key: key, Subscription: s}
	o.Cluster.Heartbeat = time.Hour // messages are counted
	return startWith(tb, "classic", goredis.NewClient(&goredis.Options{Addr: addr}), o, "/", id)
}

func await(tb testing.TB, n *node, rooms ...string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.a.(adapter.RoomAwaiter).AwaitRooms(ctx, rooms...); err != nil {
		tb.Fatal(err)
	}
}

// What a node gets from Redis: messages, and bytes on the wire through a proxy.
type traffic struct{ messages, bytes int64 }

// Three nodes with a hundred rooms each, and one broadcast to every room.
func TestAdaptiveNodesGetWhatTheirSocketsNeed(t *testing.T) {
	t.Parallel()
	const nodes, rooms, rounds = 3, 300, 5
	measure := func(s Subscription) (got [nodes]traffic) {
		server := testutil.LocalRedis(t)
		var list [nodes]*node
		var proxies [nodes]*testutil.Proxy
		for i := range list {
			proxies[i] = testutil.NewProxy(t, server.Addr())
			list[i] = startAdaptive(t, proxies[i].Addr(), "k", fmt.Sprintf("socket-%d", i), s)
		}
		for r := range rooms {
			n := list[r%nodes]
			n.a.Join(n.sock, fmt.Sprintf("room-%d", r))
		}
		for r := range rooms {
			await(t, list[r%nodes], fmt.Sprintf("room-%d", r))
		}
		for i, n := range list {
			await(t, n, fmt.Sprintf("socket-%d", i), "all")
			got[i] = traffic{-received(n), -proxies[i].Bytes(testutil.Down)}
		}
		p := packetOf(`["update",{"text":"` + strings.Repeat("x", 200) + `"}]`)
		for range rounds {
			for r := range rooms {
				from := list[(r+1)%nodes] // never where the room is
				send(from, p, adapter.Target{Rooms: []string{fmt.Sprintf("room-%d", r)}})
			}
		}
		for _, from := range list { // the last of each comes behind all others
			from.emit("last-" + from.sock.ID())
		}
		for _, n := range list {
			for _, from := range list {
				poll(t, "everything has arrived", func() bool { return n.got("last-" + from.sock.ID()) })
			}
			if got := len(n.sock.Received()); got != rounds*rooms/nodes+nodes {
				t.Errorf("a socket got %d broadcasts", got)
			}
		}
		for i, n := range list {
			got[i].messages += received(n)
			got[i].bytes += proxies[i].Bytes(testutil.Down)
		}
		return got
	}
	all, adaptive := measure(SubscribeAll), measure(SubscribeAdaptive)
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "node\tmessages all\tadaptive\tbytes all\tadaptive\t")
	for i := range nodes {
		fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t\n", i, all[i].messages, adaptive[i].messages, all[i].bytes, adaptive[i].bytes)
	}
	w.Flush()
	t.Logf("%d nodes, %d rooms, %d broadcasts to each:\n%s", nodes, rooms, rounds, text.String())
	for i := range nodes {
		// And the last ones, and a heartbeat or probe now and then.
		if n := adaptive[i].messages; n < rounds*rooms/nodes || n > rounds*rooms/nodes+10*nodes {
			t.Errorf("node %d got %d messages, its sockets %d", i, adaptive[i].messages, rounds*rooms/nodes)
		}
		if all[i].messages < rounds*rooms {
			t.Errorf("node %d got %d of %d messages through the pattern", i, all[i].messages, rounds*rooms)
		}
		if all[i].bytes < 2*adaptive[i].bytes {
			t.Errorf("node %d got %d bytes, all of them are %d", i, adaptive[i].bytes, all[i].bytes)
		}
	}
}

func received(n *node) int64 { return int64(n.p.Health().Received) }

func TestAwaitRoomsEndsTheJoinRace(t *testing.T) {
	t.Parallel()
	addr, key := testutil.SharedRedis(t).Addr(), testutil.Prefix(t)
	a := startAdaptive(t, addr, key, "a", SubscribeAdaptive)
	b := startAdaptive(t, addr, key, "b", SubscribeAdaptive)
	flows(t, a, b)
	had := len(b.sock.Received())
	const n = 300
	for i := range n {
		room := fmt.Sprintf("race-%d", i)
		b.a.Join(b.sock, room)
		await(t, b, room)
		send(a, packetOf(fmt.Sprintf(`["n",%d]`, i)), adapter.Target{Rooms: []string{room}})
	}
	poll(t, "a broadcast arrives for each room", func() bool { return len(b.sock.Received()) == had+n })
}

func TestAwaitRoomsDoesNotWaitInVain(t *testing.T) {
	t.Parallel()
	server := testutil.LocalRedis(t)
	b := startAdaptive(t, server.Addr(), "k", "b", SubscribeAdaptive)
	await(t, b, "all", "b")
	awaiter := b.a.(adapter.RoomAwaiter)
	await(t, b, "nobody is here")
	server.Kill(t)
	poll(t, "the loss is noticed", func() bool { return !b.up() })
	b.a.Join(b.sock, "new")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := awaiter.AwaitRooms(ctx, "new"); err == nil {
		t.Error("a room is heard without Redis")
	}
	closed := make(chan error, 1)
	go func() { closed <- awaiter.AwaitRooms(context.Background(), "new") }()
	b.close()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Error("a waiter outlives the node")
	}
}

// Names that are patterns elsewhere, long, empty or somebody's id are channels like
// any other.
func TestAdaptiveRoomNames(t *testing.T) {
	t.Parallel()
	addr, key := testutil.SharedRedis(t).Addr(), testutil.Prefix(t)
	a := startAdaptive(t, addr, key, "a", SubscribeAdaptive)
	b := startAdaptive(t, addr, key, "b", SubscribeAdaptive)
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	defer c.Close()
	rooms := []string{"*", "[ab]?", "with#hash#", "ünï", strings.Repeat("long", 64), strings.Repeat("s", 20), b.a.(*cluster.Adapter).Self(), "#", " "}
	b.a.Join(b.sock, rooms...)
	await(t, b, append(rooms, "b", "all")...)
	for i, room := range rooms {
		event := fmt.Sprintf("to-%d", i)
		send(a, packetOf(`["`+event+`"]`), adapter.Target{Rooms: []string{room}})
		poll(t, fmt.Sprintf("%q is heard", room), func() bool { return b.got(event) })
	}
	b.a.Join(b.sock, "")
	await(t, b, "")
	send(a, packetOf(`["empty"]`), adapter.Target{Rooms: []string{""}})
	poll(t, "the room without a name is heard", func() bool { return b.got("empty") })
	if n, err := c.Publish(context.Background(), key+"#/#any#", "x").Result(); err != nil || n != 0 {
		t.Errorf("%d nodes hear a room nobody is in, %v", n, err)
	}
}

// A room is let go of some time after its last member has left, and not at all when
// one comes back.
func TestSubscriptionsLinger(t *testing.T) {
	t.Parallel()
	addr := testutil.SharedRedis(t).Addr()
	b, att, _ := startBus(t, addr, Options{Subscription: SubscribeAdaptive})
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	defer c.Close()
	subscribed := func(rooms ...string) func() bool {
		return func() bool {
			got, err := c.PubSubChannels(context.Background(), b.opts.Key+"#/#?*").Result()
			var want []string
			for _, r := range rooms {
				want = append(want, b.opts.Key+"#/#"+r+"#")
			}
			slices.Sort(got)
			return err == nil && slices.Equal(got, want)
		}
	}
	b.set.mu.Lock()
	b.set.linger = time.Hour
	b.set.mu.Unlock()
	att.RoomCreated("a")
	att.RoomCreated("b")
	poll(t, "both are subscribed to", subscribed("a", "b"))
	att.RoomDeleted("a")
	att.RoomDeleted("b")
	att.RoomCreated("c")
	poll(t, "they stay", subscribed("a", "b", "c"))
	att.RoomCreated("a")
	b.set.mu.Lock()
	b.set.linger = 0
	b.set.mu.Unlock()
	att.RoomCreated("d") // makes it look
	poll(t, "only the room without members is gone", subscribed("a", "c", "d"))
	if err := att.Detach(t.Context()); err != nil {
		t.Fatal(err)
	}
	poll(t, "nothing is left", subscribed())
}
