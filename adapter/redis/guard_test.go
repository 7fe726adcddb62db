package redis

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// What go-redis does to a subscription, what is done about it, and the test that
// fails without it.
//
//	its health check sends PING and waits for no answer  probes have to come back              TestADeafSubscriptionIsReplaced
//	its reader blocks when nobody takes messages         the reader drops and reports a gap    TestASlowNodeKeepsItsSubscription
//	it ignores a sunsubscribe it did not ask for         the channel is placed again           TestChannelsFollowTheirSlots
//	it repeats SSUBSCRIBE for all slots in one command   one command for each slot             TestShardedChannelsOfManySlotsSurviveACut
//	it subscribes anew by itself and tells nobody        a seal keeps it from dialing          TestABrokenConnectionIsNotMended
//	it leaves subscriptions at a master that was         probes go to the master of the day    TestASubscriptionAtTheWrongServerIsFound
//	  replaced
//	it repeats commands whose answers are lost           no retries                            TestAPublishWhoseAnswerIsLostIsNotRepeated
//	its RESP3 parser lost messages before 9.20.1         RESP2, and a floor for the version    TestOurConnectionsHaveOurSettings
//	it connected PubSubs of sharded channels to any      a client for each server              TestChannelsFollowTheirSlots
//	  server before 9.20.0                                                                     TestOurConnectionsHaveOurSettings
//	answers changed places after CLIENT SETINFO          no CLIENT SETINFO                     TestOurConnectionsHaveOurSettings
//	  timed out
//	Subscribe dials with a lock held                     joins only note what is wanted        TestJoinsDoNotWaitForRedis
//	on Redis Cluster a channel picked by chance decides  a random channel is named first       TestClassicNodesSpreadOverTheCluster
//	  where a connection goes

func TestASlowNodeKeepsItsSubscription(t *testing.T) {
	t.Parallel()
	addr := testutil.SharedRedis(t).Addr()
	ctx := t.Context()
	client := goredis.NewClient(&goredis.Options{Addr: addr})
	defer client.Close()
	l, err := newLink(client)
	if err != nil {
		t.Fatal(err)
	}
	var lost, got atomic.Uint64
	o := (&Options{Key: testutil.Prefix(t), ProbeInterval: -1, OnGap: func(g Gap) {
		if g.Kind == GapOverrun {
			lost.Add(g.Dropped)
		}
	}}).withDefaults()
	b := newClassicBus(l, o, func() error { return nil })
	defer b.Close(ctx)
	gate := make(chan struct{})
	_, err = b.Attach(ctx, cluster.Attach{Namespace: "/", Self: "slow", HasRoom: func(adapter.Room) bool { return true },
		Receive: func(*cluster.Message, adapter.Offset) { got.Add(1); <-gate }})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := encode(&cluster.Message{Kind: cluster.Broadcast, From: "AbCdEf", Namespace: "/", Packet: packetOf(`["x"]`)})
	if err != nil {
		t.Fatal(err)
	}
	const n = 3 * intakeMessages
	for range n / 512 {
		pipe := client.Pipeline()
		for range 512 {
			pipe.Publish(ctx, o.Key+"#/#", payload)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			t.Fatal(err)
		}
	}
	poll(t, "all is read although nobody takes it", func() bool { return b.Health().Received == n })
	close(gate)
	poll(t, "the rest is reported as dropped", func() bool { return got.Load()+lost.Load() == n })
	if h := b.Health(); h.Reconnects != 0 || h.Dropped != lost.Load() || lost.Load() == 0 {
		t.Errorf("lost %d, health %+v", lost.Load(), h)
	}
}

func TestABrokenConnectionIsNotMended(t *testing.T) {
	t.Parallel()
	proxy := testutil.NewProxy(t, testutil.SharedRedis(t).Addr())
	client := goredis.NewClient(&goredis.Options{Addr: proxy.Addr()})
	defer client.Close()
	l, err := newLink(client)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	var seal atomic.Bool
	ctx := withSeal(t.Context(), &seal)
	ps := l.pubsub(ctx)
	defer ps.Close()
	if err := ps.Subscribe(ctx, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := ps.ReceiveTimeout(ctx, 0); err != nil {
		t.Fatal(err)
	}
	seal.Store(true)
	proxy.Reset()
	if _, err := ps.ReceiveTimeout(ctx, 0); err == nil {
		t.Fatal("the connection is not broken")
	}
	if err := ps.Subscribe(ctx, "y"); !errors.Is(err, errSealed) {
		t.Errorf("subscribed on a new connection: %v", err)
	}
}

func TestShardedChannelsOfManySlotsSurviveACut(t *testing.T) {
	t.Parallel()
	rc := testutil.LocalRedisCluster(t, 3)
	start := func(id string) *node {
		return startVariant(t, "sharded", goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: rc.Addrs()}), "k", "/", id)
	}
	a, b := start("a"), start("b")
	rooms := make([]string, 30)
	for i := range rooms {
		rooms[i] = fmt.Sprintf("room-%d", i)
	}
	b.a.Join(b.sock, rooms...)
	await(t, b, rooms...)
	before := b.p.Health().Reconnects
	for _, s := range rc.Nodes {
		s.CLI(t, "client", "kill", "type", "pubsub")
	}
	poll(t, "all connections are replaced", func() bool { return b.p.Health().Reconnects >= before+3 && b.up() })
	for _, room := range rooms {
		heard(t, a, b, room)
	}
	if h := b.p.Health(); strings.Contains(h.LastError, "CROSSSLOT") || !b.hasGap(GapConnection) {
		t.Errorf("health %+v, gaps %+v", h, b.reportedGaps())
	}
}

// A subscription stays at a server that is not the master any more, as it does when
// Sentinel could not tell that one.
func TestASubscriptionAtTheWrongServerIsFound(t *testing.T) {
	t.Parallel()
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) {
			t.Parallel()
			old, master := testutil.LocalRedis(t), testutil.LocalRedis(t)
			var dialed atomic.Int64
			client := goredis.NewClient(&goredis.Options{Addr: master.Addr(), Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if ctx.Value(sealKey{}) != nil && dialed.Add(1) == 1 {
					addr = old.Addr()
				}
				return new(net.Dialer).DialContext(ctx, network, addr)
			}})
			b := startVariant(t, variant, client, "k", "/", "b")
			a := startVariant(t, variant, goredis.NewClient(&goredis.Options{Addr: master.Addr()}), "k", "/", "a")
			poll(t, "the subscription moves", func() bool { return dialed.Load() >= 2 && b.up() })
			flows(t, a, b)
			if h := b.p.Health(); h.ProbeFailures < 2 || !b.hasGap(GapConnection) {
				t.Errorf("health %+v, gaps %+v", h, b.reportedGaps())
			}
		})
	}
}

// lossyConn loses the answer to what is written next once lose is set, and its
// connection with it.
type lossyConn struct {
	net.Conn
	lose *atomic.Bool
	lost atomic.Bool
}

func (c *lossyConn) Write(p []byte) (int, error) {
	lose := c.lose.CompareAndSwap(true, false)
	c.lost.Store(lose)
	n, err := c.Conn.Write(p)
	if lose {
		_ = c.Conn.Close()
	}
	return n, err
}

func (c *lossyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.lost.Load() {
		return 0, io.EOF
	}
	return n, err
}

// lossyClient returns a client all connections of which can lose an answer.
func lossyClient(addr string) (client *goredis.Client, lose *atomic.Bool) {
	lose = new(atomic.Bool)
	return goredis.NewClient(&goredis.Options{Addr: addr, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &lossyConn{Conn: c, lose: lose}, nil
	}}), lose
}

// All other connections work, so that a second attempt would reach Redis.
func TestAPublishWhoseAnswerIsLostIsNotRepeated(t *testing.T) {
	t.Parallel()
	client, lose := lossyClient(testutil.SharedRedis(t).Addr())
	b, _, ps := startBusOver(t, client, Options{ProbeInterval: -1})
	one := []*cluster.Message{{Kind: cluster.Broadcast, From: "AbCdEf", Namespace: "/", Packet: packetOf(`["one"]`)}}
	two := []*cluster.Message{{Kind: cluster.Broadcast, From: "AbCdEf", Namespace: "/", Packet: packetOf(`["two"]`)}}
	if _, err := b.Publish(t.Context(), two); err != nil {
		t.Fatal(err) // and the connection is there
	}
	nextPublished(t, ps, b.opts.Key)
	lose.Store(true)
	var pe *cluster.PublishError
	if _, err := b.Publish(t.Context(), one); !errors.As(err, &pe) || pe.Sent != 1 {
		t.Errorf("error %v, want that one message may be lost", err)
	}
	if _, err := b.Publish(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one", "two"} {
		if _, wire := nextPublished(t, ps, b.opts.Key); !strings.Contains(wire, hex.EncodeToString([]byte(want))) {
			t.Errorf("got %q, want %s once", wire, want)
		}
	}
}

// A stream takes an entry twice rather than not at all, and every node reads it
// once: the number tells.
func TestAnEntryThatIsAddedTwiceIsReadOnce(t *testing.T) {
	t.Parallel()
	addr := testutil.LocalRedis(t).Addr()
	client, lose := lossyClient(addr)
	a := startVariant(t, "streams", client, "k", "/", "a")
	b := startVariant(t, "streams", goredis.NewClient(&goredis.Options{Addr: addr}), "k", "/", "b")
	flows(t, a, b)
	for range 5 { // a heartbeat, or the reader, may lose its answer instead
		had := b.p.Stats().Duplicates
		lose.Store(true)
		for range 20 {
			a.emit("twice")
		}
		flows(t, a, b)
		if b.p.Stats().Duplicates > had {
			break
		}
	}
	direct := goredis.NewClient(&goredis.Options{Addr: addr})
	defer direct.Close()
	list, err := direct.XRange(t.Context(), "k", "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	seen, twice := make(map[string]int), uint64(0)
	for _, e := range list {
		number := fmt.Sprint(e.Values["uid"], e.Values["ext"])
		if seen[number]++; seen[number] > 1 {
			twice++
		}
	}
	if got := b.p.Stats().Duplicates; twice == 0 || got != twice {
		t.Errorf("%d entries are in the stream twice, %d were dropped", twice, got)
	}
}

// What is lost on pub/sub although both connections stay is counted.
func TestALostMessageIsCounted(t *testing.T) {
	t.Parallel()
	for _, variant := range []string{"classic", "sharded"} {
		t.Run(variant, func(t *testing.T) {
			t.Parallel()
			addr := testutil.LocalRedis(t).Addr()
			var lose atomic.Bool
			client := goredis.NewClient(&goredis.Options{Addr: addr, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
				var d net.Dialer
				c, err := d.DialContext(ctx, network, addr)
				return swallowing{c, &lose}, err
			}})
			a := startVariant(t, variant, client, "k", "/", "a")
			b := startVariant(t, variant, goredis.NewClient(&goredis.Options{Addr: addr}), "k", "/", "b")
			flows(t, a, b)
			lose.Store(true)
			a.emit("~~~~")
			poll(t, "the message is gone", func() bool { return !lose.Load() })
			flows(t, a, b)
			poll(t, "it is missed", func() bool { return b.p.Stats().Missing == 1 && b.hasGap(cluster.GapSequence) })
			if b.got("~~~~") {
				t.Error("the message arrived")
			}
		})
	}
}

// swallowing sends the message ~~~~ to nobody once lose is set.
type swallowing struct {
	net.Conn
	lose *atomic.Bool
}

func (c swallowing) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("~~~~")) && c.lose.CompareAndSwap(true, false) {
		q := bytes.Replace(p, []byte("#/#"), []byte("#?#"), 1) // the channel: nobody listens there
		_, err := c.Conn.Write(q)
		return len(p), err
	}
	return c.Conn.Write(p)
}

func TestOurConnectionsHaveOurSettings(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	server := testutil.LocalRedis(t)
	users := &goredis.Options{Addr: server.Addr(), Protocol: 3, MaxRetries: 7, PoolSize: 99, ReadTimeout: time.Hour, ClientName: "theirs"}
	client := goredis.NewClient(users) // closed with the node
	startVariant(t, "classic", client, "k", "/", "a")
	list, err := client.Do(ctx, "CLIENT", "LIST").Text()
	if err != nil {
		t.Fatal(err)
	}
	ours := 0
	for line := range strings.Lines(list) {
		if strings.Contains(line, "cmd=client|list") {
			continue
		}
		if ours++; !strings.Contains(line, "resp=2") || strings.Contains(line, "lib-name=go-redis") {
			t.Errorf("a connection of ours: %s", line)
		}
	}
	if ours < 2 {
		t.Errorf("%d connections of ours", ours)
	}
	for _, u := range []goredis.UniversalClient{client, goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: []string{server.Addr()}, Protocol: 3, MaxRetries: 7, ReadOnly: true, TLSConfig: new(tls.Config)})} {
		l, err := newLink(u)
		if err != nil {
			t.Fatal(err)
		}
		if c := l.single; c != nil {
			o := c.Options()
			if o.Protocol != 2 || o.MaxRetries != 0 || o.PoolSize != poolSize || o.ReadTimeout != ioTimeout || !o.DisableIdentity || !o.ContextTimeoutEnabled {
				t.Errorf("options %+v", o)
			}
		}
		if c := l.cluster; c != nil {
			o := c.Options()
			if o.Protocol != 2 || o.MaxRetries > 0 || o.PoolSize != poolSize || o.ReadTimeout != ioTimeout || !o.DisableIdentity || o.ReadOnly {
				t.Errorf("options %+v", o)
			}
			u.Close()
		}
		l.close()
	}
	var v [3]int
	for i, part := range strings.SplitN(strings.TrimPrefix(goredis.Version(), "v"), ".", 3) {
		v[i], _ = strconv.Atoi(part)
	}
	if slices.Compare(v[:], []int{9, 20, 1}) < 0 {
		t.Errorf("go-redis %v loses messages", v)
	}
}

func TestJoinsDoNotWaitForRedis(t *testing.T) {
	t.Parallel()
	proxy := testutil.NewProxy(t, testutil.SharedRedis(t).Addr())
	for i, n := range []*node{
		startAdaptive(t, proxy.Addr(), testutil.Prefix(t), "a", SubscribeAdaptive),
		startVariant(t, "sharded", goredis.NewClient(&goredis.Options{Addr: proxy.Addr()}), testutil.Prefix(t), "/", "b"),
	} {
		await(t, n, "all")
		proxy.BlackHole(testutil.Up, true)
		proxy.BlackHole(testutil.Down, true)
		joined := make(chan struct{})
		go func() {
			defer close(joined)
			for i := range 1000 {
				n.a.Join(n.sock, fmt.Sprintf("room-%d", i))
			}
		}()
		select {
		case <-joined:
		case <-time.After(patience):
			t.Errorf("node %d: joins wait for Redis", i)
		}
		proxy.BlackHole(testutil.Up, false)
		proxy.BlackHole(testutil.Down, false)
		await(t, n, "room-999")
	}
}

func TestClassicNodesSpreadOverTheCluster(t *testing.T) {
	t.Parallel()
	rc := testutil.LocalRedisCluster(t, 3)
	client := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: rc.Addrs()})
	defer client.Close()
	for i := range 4 {
		l, err := newLink(client)
		if err != nil {
			t.Fatal(err)
		}
		o := (&Options{Key: fmt.Sprintf("k%d", i)}).withDefaults()
		b := newClassicBus(l, o, func() error { return nil })
		defer b.Close(t.Context())
		_, err = b.Attach(t.Context(), cluster.Attach{Namespace: "/", Self: "AbCdEf", Receive: func(*cluster.Message, adapter.Offset) {}})
		if err != nil {
			t.Fatal(err)
		}
		b.set.mu.Lock()
		probe := b.set.homes[""].probe
		b.set.mu.Unlock()
		owner := rc.Owner(t, slotOf(probe))
		for _, s := range rc.Nodes {
			has := strings.Contains(s.CLI(t, "pubsub", "channels", o.Key+"*"), o.Key+"-request#/#")
			if has != (s == owner) {
				t.Errorf("node %d: subscribed at %s: %v, its random channel is at %s", i, s.Addr(), has, owner.Addr())
			}
		}
	}
}
