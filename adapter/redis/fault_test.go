package redis

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

const patience = 45 * time.Second

// node is one node with one socket, which is in the room "all".
type node struct {
	tb    testing.TB
	p     *cluster.Provider
	a     adapter.Adapter
	sock  *adaptertest.Socket
	host  *adaptertest.Host
	mu    sync.Mutex
	gaps  []Gap
	ended sync.Once
}

// variants are the adapters of this package.
var variants = []string{"classic", "sharded", "streams"}

// openVariant opens an adapter over a client that it owns.
func openVariant(tb testing.TB, variant string, client goredis.UniversalClient, o Options) *cluster.Provider {
	tb.Helper()
	var p *cluster.Provider
	var err error
	switch ctx := context.Background(); variant {
	case "classic":
		p, err = open(ctx, client, &o, true)
	case "sharded":
		p, err = openSharded(ctx, client, &ShardedOptions{Options: o}, true)
	case "streams":
		p, err = openStreams(ctx, client, &StreamsOptions{Options: o, Stream: o.Key, MaxLen: 1000}, true)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func startNode(tb testing.TB, addr, key, namespace, id string) *node {
	tb.Helper()
	return startVariant(tb, "classic", goredis.NewClient(&goredis.Options{Addr: addr}), key, namespace, id)
}

func startVariant(tb testing.TB, variant string, client goredis.UniversalClient, key, namespace, id string) *node {
	tb.Helper()
	return startWith(tb, variant, client, Options{Key: key}, namespace, id)
}

func startWith(tb testing.TB, variant string, client goredis.UniversalClient, o Options, namespace, id string) *node {
	tb.Helper()
	n := &node{tb: tb, host: adaptertest.NewHost(namespace, id), sock: adaptertest.NewSocket(id)}
	o.Logger = slog.New(slog.DiscardHandler)
	o.OnGap = func(g Gap) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.gaps = append(n.gaps, g)
	}
	n.p = openVariant(tb, variant, client, o)
	n.open()
	return n
}

// openNodes makes nodes of providers, for tests that open these by a URL.
func openNodes(tb testing.TB, open func(tb testing.TB, n int) []adapter.Provider, count int) []*node {
	tb.Helper()
	var list []*node
	for i, p := range open(tb, count) {
		id := string(rune('a' + i))
		n := &node{tb: tb, host: adaptertest.NewHost("/", id), sock: adaptertest.NewSocket(id), p: p.(*cluster.Provider)}
		n.open()
		list = append(list, n)
	}
	return list
}

// open joins the namespace of n's host.
func (n *node) open() {
	n.tb.Helper()
	var err error
	if n.a, err = n.p.Open(context.Background(), n.host); err != nil {
		n.tb.Fatal(err)
	}
	n.tb.Cleanup(n.close)
	n.a.Join(n.sock, n.sock.ID(), "all")
}

func (n *node) close() { n.ended.Do(func() { closeNode(n.tb, n.p) }) }

func (n *node) reportedGaps() []Gap {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]Gap(nil), n.gaps...)
}

func (n *node) got(event string) bool { return n.gotAny(event + `"`) }

// gotAny reports whether an event came whose name begins with prefix.
func (n *node) gotAny(prefix string) bool {
	for _, r := range n.sock.Received() {
		if strings.HasPrefix(string(r.Packet.Data), `["`+prefix) {
			return true
		}
	}
	return false
}

func (n *node) emit(event string) {
	_ = n.a.Broadcast(packetOf(`["`+event+`"]`), adapter.Target{Rooms: []string{"all"}}) // an outage may refuse it
}

// poll waits until ok, and returns how long that took.
func poll(tb testing.TB, what string, ok func() bool) time.Duration {
	tb.Helper()
	began := time.Now()
	for tick := time.NewTicker(5 * time.Millisecond); !ok(); <-tick.C {
		if time.Since(began) > patience {
			tb.Fatalf("not within %v: %s", patience, what)
		}
	}
	return time.Since(began)
}

var serial atomic.Int64

// flows waits until emits of from, made from now on, arrive at to, and until nothing
// of them is on its way: the last one comes behind all others.
func flows(tb testing.TB, from, to *node) {
	tb.Helper()
	what := "messages flow from " + from.sock.ID() + " to " + to.sock.ID()
	again := func(every time.Duration) {
		run, last := fmt.Sprintf("flow-%d-", serial.Add(1)), time.Time{}
		poll(tb, what, func() bool {
			if time.Since(last) > every { // an outage may have swallowed those before
				last = time.Now()
				from.emit(fmt.Sprint(run, serial.Add(1)))
			}
			return to.gotAny(run)
		})
	}
	again(40 * time.Millisecond)
	again(5 * time.Second)
}

// eachVariant runs a test on every adapter with two nodes; the second reaches its
// Redis through a proxy.
func eachVariant(t *testing.T, run func(t *testing.T, variant string, server *testutil.RedisServer, proxy *testutil.Proxy, a, b *node)) {
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) {
			t.Parallel()
			server := testutil.LocalRedis(t)
			proxy := testutil.NewProxy(t, server.Addr())
			a := startVariant(t, variant, goredis.NewClient(&goredis.Options{Addr: server.Addr()}), "k", "/", "a")
			b := startVariant(t, variant, goredis.NewClient(&goredis.Options{Addr: proxy.Addr()}), "k", "/", "b")
			flows(t, a, b)
			flows(t, b, a)
			run(t, variant, server, proxy, a, b)
		})
	}
}

func (n *node) up() bool { return n.p.Health().Up }

func (n *node) hasGap(kind GapKind) bool { return n.gapsOf(kind) > 0 }

func (n *node) gapsOf(kind GapKind) (count int) {
	for _, g := range n.reportedGaps() {
		if g.Kind == kind && g.From.Before(g.To) {
			count++
		}
	}
	return count
}

func TestNodesRecoverFromARestartOfRedis(t *testing.T) {
	t.Parallel()
	eachVariant(t, func(t *testing.T, variant string, server *testutil.RedisServer, _ *testutil.Proxy, a, b *node) {
		server.Kill(t)
		poll(t, "the loss is noticed", func() bool { return !a.up() && !b.up() })
		a.emit("during")
		if !a.got("during") {
			t.Error("local delivery depends on Redis")
		}
		server.Restart(t)
		took := poll(t, "both nodes are up", func() bool { return a.up() && b.up() })
		flows(t, a, b)
		flows(t, b, a)
		if n, err := a.a.ServerCount(context.Background()); n != 2 || err != nil {
			t.Errorf("%d nodes, %v", n, err)
		}
		for _, n := range []*node{a, b} {
			if h := n.p.Health(); h.Reconnects < 1 || h.Resubscribes != h.Reconnects || h.LastError == "" {
				t.Errorf("health %+v", h)
			}
			poll(t, "the gap is reported", func() bool { return n.hasGap(GapConnection) })
			if g := n.reportedGaps(); variant != "streams" && len(g) != 1 {
				t.Errorf("gaps %+v", g)
			}
			if variant == "streams" && !n.hasGap(GapRewound) {
				t.Errorf("nobody says that the stream is gone: %+v", n.reportedGaps())
			}
		}
		t.Logf("up %v after the restart", took.Round(time.Millisecond))
	})
}

func TestNodesRecoverWhenRedisCutsTheirSubscriptions(t *testing.T) {
	t.Parallel()
	eachVariant(t, func(t *testing.T, variant string, server *testutil.RedisServer, _ *testutil.Proxy, a, b *node) {
		c := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
		defer c.Close()
		for range 3 {
			before := b.p.Health().Resubscribes
			if err := c.ClientKillByFilter(context.Background(), "TYPE", "pubsub").Err(); err != nil {
				t.Fatal(err)
			}
			poll(t, "subscribed again", func() bool { return b.up() && b.p.Health().Resubscribes > before })
			flows(t, a, b)
			flows(t, b, a)
		}
		subscribedOnce(t, c, variant)
	})
}

// subscribedOnce waits until Redis knows two subscribers of the channel that nodes
// are counted by.
func subscribedOnce(t *testing.T, c *goredis.Client, variant string) {
	t.Helper()
	name, do := "k#/#", c.PubSubNumSub
	switch variant {
	case "classic":
		name = "k-request#/#"
	case "sharded":
		do = c.PubSubShardNumSub
	}
	poll(t, "two nodes are subscribed to "+name, func() bool {
		got, err := do(context.Background(), name).Result()
		return err == nil && got[name] == 2
	})
}

func TestADeafSubscriptionIsReplaced(t *testing.T) {
	t.Parallel()
	eachVariant(t, func(t *testing.T, _ string, _ *testutil.RedisServer, proxy *testutil.Proxy, a, b *node) {
		proxy.BlackHole(testutil.Down, true)
		took := poll(t, "the probe finds the black hole", func() bool { return !b.up() })
		if took > 6*time.Second {
			t.Errorf("detected after %v", took)
		}
		poll(t, "probes have failed", func() bool { return b.p.Health().ProbeFailures >= 2 })
		proxy.BlackHole(testutil.Down, false)
		back := poll(t, "the node is up", b.up)
		flows(t, a, b)
		flows(t, b, a)
		poll(t, "the gap is reported", func() bool { return b.hasGap(GapConnection) })
		t.Logf("detected after %v, up %v after the network was back", took.Round(time.Millisecond), back.Round(time.Millisecond))
	})
}

func TestSilenceIsNoReasonToReconnect(t *testing.T) {
	t.Parallel()
	server := testutil.LocalRedis(t)
	p := openVariant(t, "classic", goredis.NewClient(&goredis.Options{Addr: server.Addr()}), Options{ProbeInterval: 400 * time.Millisecond})
	defer closeNode(t, p)
	if _, err := p.Open(context.Background(), adaptertest.NewHost("/", "a")); err != nil {
		t.Fatal(err)
	}
	watcher := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer watcher.Close()
	ps := watcher.PSubscribe(context.Background(), "*")
	defer ps.Close()
	for range 3 {
		m, err := ps.ReceiveMessage(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(m.Channel, "socket.io#~probe~") {
			t.Fatalf("a silent node publishes on %s", m.Channel)
		}
	}
	if h := p.Health(); !h.Up || h.Reconnects != 0 {
		t.Errorf("health %+v", h)
	}
}

func TestStartFailsSoonWithoutRedis(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // accepts, never answers
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for name, addr := range map[string]string{"refused": closed.Addr().String(), "silent": ln.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			_, err := adapter.Open(context.Background(), "redis://user:secret-word@"+addr+"/")
			if err == nil || !strings.Contains(err.Error(), addr) {
				t.Fatalf("error %v", err)
			}
			if strings.Contains(err.Error(), "secret-word") {
				t.Errorf("the password is in %q", err)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestARefusedSubscriptionFailsTheStart(t *testing.T) {
	t.Parallel()
	server := testutil.LocalRedis(t)
	admin := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer admin.Close()
	ctx := context.Background()
	if err := admin.Do(ctx, "ACL", "SETUSER", "limited", "on", ">pw", "+@all", "resetchannels", "&other*").Err(); err != nil {
		t.Fatal(err)
	}
	p, err := adapter.Open(ctx, "redis://limited:pw@"+server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer closeNode(t, p)
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := p.Open(ctx, adaptertest.NewHost("/", "a")); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("error %v", err)
	}
}

func TestGarbageOnEveryChannelIsIgnored(t *testing.T) {
	t.Parallel()
	addr, key := testutil.SharedRedis(t).Addr(), testutil.Prefix(t)
	a := startNode(t, addr, key, "/", "a")
	b := startNode(t, addr, key, "/", "b")
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	defer c.Close()
	self := a.a.(*cluster.Adapter).Self()
	for _, channel := range []string{key + "#/#", key + "#/#all#", key + "#/#all", key + "-request#/#", key + "-response#/#", key + "-response#/#" + self + "#"} {
		for _, payload := range garbage() {
			if err := c.Publish(context.Background(), channel, payload).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	flows(t, a, b)
	flows(t, b, a)
	if n := len(a.host.ServerEvents()); n != 0 {
		t.Errorf("%d server events", n)
	}
	if gone, _ := a.host.Disconnected("a"); gone {
		t.Error("garbage disconnected a socket")
	}
	if h := a.p.Health(); !h.Up || h.Reconnects != 0 {
		t.Errorf("health %+v", h)
	}
}

func TestPatternsAreLiteral(t *testing.T) {
	t.Parallel()
	addr, key := testutil.SharedRedis(t).Addr(), testutil.Prefix(t)
	for _, ns := range []string{"/x-*", "/[ab]?", `/back\slash`, "/ü{}^$"} {
		a := startNode(t, addr, key, ns, "a")
		b := startNode(t, addr, key, ns, "b")
		flows(t, a, b)
	}
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	defer c.Close()
	n, err := c.Publish(context.Background(), key+"#/x-y#", "x").Result()
	if err != nil || n != 0 {
		t.Errorf("%d nodes receive another namespace, %v", n, err)
	}
}

func TestOldRequestsAreAnswered(t *testing.T) {
	t.Parallel()
	addr, key := testutil.SharedRedis(t).Addr(), testutil.Prefix(t)
	a := startNode(t, addr, key, "/", "sid-a")
	ctx := context.Background()
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	defer c.Close()
	ps := c.Subscribe(ctx, key+"-response#/#")
	defer ps.Close()
	if _, err := ps.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	for request, want := range map[string]string{
		`{"requestId":"r2","type":2,"sid":"sid-a","room":"old"}`: `{"requestId":"r2"}`,
		`{"requestId":"r0","type":0,"rooms":["all"]}`:            `{"requestId":"r0","sockets":["sid-a"]}`,
	} {
		if err := c.Publish(ctx, key+"-request#/#", request).Err(); err != nil {
			t.Fatal(err)
		}
		if m, err := ps.ReceiveMessage(ctx); err != nil || m.Payload != want {
			t.Errorf("%s: %v, %v", request, m, err)
		}
	}
	poll(t, "the socket has joined", func() bool { return len(a.a.RoomsOf(a.sock)) == 3 })
}

// BenchmarkThroughRedis measures messages from one node to a socket of another.
func BenchmarkThroughRedis(b *testing.B) {
	for _, variant := range variants {
		b.Run(variant, func(b *testing.B) { throughRedis(b, variant) })
	}
}

func throughRedis(b *testing.B, variant string) {
	addr, key := testutil.SharedRedis(b).Addr(), testutil.Prefix(b)
	start := func(id string) *node {
		return startVariant(b, variant, goredis.NewClient(&goredis.Options{Addr: addr}), key, "/", id)
	}
	from, to := start("a"), start("b")
	flows(b, from, to)
	p := packetOf(`["message",{"id":1,"text":"` + strings.Repeat("hello ", 20) + `"}]`)
	t := adapter.Target{Rooms: []string{"all"}, Except: []string{"a"}}
	had := len(to.sock.Received())
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		for from.a.Broadcast(p, t) != nil {
			runtime.Gosched()
		}
		if n++; n%500 == 0 { // the window keeps the intake, and the stream, from overflowing
			poll(b, "all have arrived", func() bool { return len(to.sock.Received()) >= had+n-500 })
		}
	}
	poll(b, "all have arrived", func() bool { return len(to.sock.Received()) >= had+n })
}
