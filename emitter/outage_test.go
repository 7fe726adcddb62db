package emitter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/redis"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// away returns an emitter into a stream, which shows what was published, on a
// server that has been killed.
func away(t *testing.T, queue cluster.Options) (*Emitter, *testutil.RedisServer, *goredis.Client) {
	t.Helper()
	server := testutil.LocalRedis(t)
	c := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	t.Cleanup(func() { c.Close() })
	log := slog.New(slog.DiscardHandler)
	queue.Logger = log
	p, err := redis.NewStreams(c, &redis.StreamsOptions{Options: redis.Options{Cluster: queue, Logger: log}, Stream: "s"})
	must(t, err)
	e, err := New(p, nil)
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = e.Close(ctx) // most tests have closed it
	})
	server.Kill(t)
	return e, server, c
}

// published returns the events in the stream, each once: an entry may be added
// twice when its confirmation is lost.
func published(t *testing.T, c *goredis.Client) (events []string) {
	t.Helper()
	list, err := c.XRange(t.Context(), "s", "-", "+").Result()
	must(t, err)
	for _, entry := range list {
		data, _ := entry.Values["data"].(string)
		_, data, _ = strings.Cut(data, `"data":["`)
		event, _, _ := strings.Cut(data, `"`)
		if !slices.Contains(events, event) {
			events = append(events, event)
		}
	}
	return events
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestTheQueueIsBoundedAndGoesOutWhenRedisIsBack(t *testing.T) {
	t.Parallel()
	const bound = 10
	e, server, c := away(t, cluster.Options{MaxOutboundMessages: bound, MaxOutboundAge: 10 * time.Minute})
	var taken []string
	var err error
	for i := 0; err == nil && i <= 2*bound; i++ {
		event := fmt.Sprint("event-", i)
		if err = e.Emit(event); err == nil {
			taken = append(taken, event)
		}
	}
	if len(taken) != bound || !errors.Is(err, adapter.ErrQueueFull) {
		t.Fatalf("%d events were taken, then %v", len(taken), err)
	}
	if err := e.Volatile().Emit("volatile"); err != nil {
		t.Errorf("a volatile event that does not fit: %v", err)
	}
	if err := e.Flush(within(t, 50*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("flush without Redis: %v", err)
	}
	server.Restart(t)
	must(t, e.Flush(within(t, patience)))
	if got := published(t, c); !slices.Equal(got, taken) {
		t.Errorf("published %v\nwant %v", got, taken)
	}
	must(t, e.Emit("again"))
	closeAll(t, e)
	if got := published(t, c); !slices.Contains(got, "again") {
		t.Errorf("Close did not publish what was queued: %v", got)
	}
}

func TestEventsThatAreTooOldAreReportedAsLost(t *testing.T) {
	t.Parallel()
	e, _, _ := away(t, cluster.Options{MaxOutboundAge: 50 * time.Millisecond})
	for range 3 {
		must(t, e.Emit("x"))
	}
	var lost *LostError
	if err := e.Flush(within(t, patience)); !errors.As(err, &lost) || lost.Messages != 3 {
		t.Errorf("flush: %v", err)
	}
	if err := e.Flush(within(t, patience)); err != nil {
		t.Errorf("they are reported twice: %v", err)
	}
}

func TestCloseWithoutRedisReportsWhatWasQueued(t *testing.T) {
	t.Parallel()
	e, _, _ := away(t, cluster.Options{MaxOutboundAge: 10 * time.Minute})
	for range 3 {
		must(t, e.Emit("x"))
	}
	var lost *LostError
	if err := e.Close(within(t, 50*time.Millisecond)); !errors.As(err, &lost) || lost.Messages != 3 {
		t.Errorf("close: %v", err)
	}
	if err := e.Emit("x"); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("emit after Close: %v", err)
	}
}

func TestOnRedisCluster(t *testing.T) {
	t.Parallel()
	rc := testutil.LocalRedisCluster(t, 3)
	addrs := rc.Addrs()
	for name, wire := range wires {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rawURL := urlOf(t, wire, addrs[0], "cluster", "true", "addr", addrs[1], "addr", addrs[2])
			nodes := []*node{startNode(t, rawURL, "a", "/"), startNode(t, rawURL, "b", "/")}
			e := start(t, rawURL, &Options{Replies: true})
			for _, n := range nodes {
				must(t, e.SocketsJoin(t.Context(), "r"))
				heard(t, e.To("r"), n)
			}
			ctx := within(t, patience)
			poll(t, "both nodes are counted", func() bool { n, err := e.ServerCount(ctx); return n == 2 && err == nil })
			if got := collect(t, BroadcastWithAck[string](ctx, e.Operator, "ask")); !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("answers %v", got)
			}
			if list, err := e.FetchSockets(ctx); len(list) != 2 || err != nil {
				t.Errorf("sockets %v, %v", list, err)
			}
			if got := collect(t, ServerSideEmitWithAck[string](ctx, e.Operator, "ask")); !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("answers of nodes %v", got)
			}
			if n, err := nodes[0].a.ServerCount(ctx); n != 2 || err != nil {
				t.Errorf("%d nodes, %v: an emitter is none", n, err)
			}
		})
	}
}

// After a failover an emitter that knows the Sentinels reaches the new master.
func TestWithSentinel(t *testing.T) {
	t.Parallel()
	g := testutil.LocalRedisSentinel(t)
	rawURL := urlOf(t, wires["classic"], g.Sentinel.Addr(), "master", g.Name)
	n := startNode(t, rawURL, "a", "/")
	e := start(t, rawURL, &Options{Replies: true})
	heard(t, e.Operator, n)
	if list, err := e.FetchSockets(within(t, patience)); len(list) != 1 || err != nil {
		t.Errorf("sockets %v, %v", list, err)
	}
	g.Master.Kill(t)
	poll(t, "an event arrives through the new master", func() bool {
		event := fmt.Sprint("after-", serial.Add(1))
		if err := e.Emit(event); err != nil && !errors.Is(err, adapter.ErrQueueFull) {
			t.Fatal(err)
		}
		<-time.After(50 * time.Millisecond)
		return n.got(event) != nil
	})
	poll(t, "a request is answered", func() bool {
		list, err := e.FetchSockets(within(t, time.Second))
		return len(list) == 1 && err == nil
	})
	_ = e.Flush(within(t, patience)) // what was lost meanwhile is no failure of this test
}

// A subscription to answers that has broken is replaced, and found deaf when it
// hangs.
func TestAnswersComeAgainAfterTheConnectionHung(t *testing.T) {
	t.Parallel()
	for name, wire := range wires {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := testutil.SharedRedis(t).Addr()
			proxy := testutil.NewProxy(t, addr)
			rawURL := urlOf(t, wire, addr, "probe_interval", "200ms")
			startNode(t, rawURL, "a", "/")
			u, err := url.Parse(rawURL)
			must(t, err)
			u.Host = proxy.Addr()
			e := start(t, u.String(), &Options{Replies: true})
			fetch := func() bool {
				list, err := e.FetchSockets(within(t, 2*time.Second))
				return len(list) == 1 && err == nil
			}
			poll(t, "a request is answered", fetch)
			before := e.hub.src.Stats().Bus
			proxy.BlackHole(testutil.Down, true)
			poll(t, "the subscription is found deaf", func() bool {
				return e.hub.src.Stats().Bus.Reconnects > before.Reconnects
			})
			proxy.BlackHole(testutil.Down, false)
			poll(t, "a request is answered again", fetch)
		})
	}
}

// A quiet subscription is not taken for a deaf one: its probes come back.
func TestQuietSubscriptionsStay(t *testing.T) {
	t.Parallel()
	for name, wire := range wires {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rawURL := urlOf(t, wire, testutil.SharedRedis(t).Addr(), "probe_interval", "500ms")
			e := start(t, rawURL, &Options{Replies: true})
			must(t, second(e.FetchSockets(t.Context())))
			<-time.After(2 * time.Second) // the time in which nothing must happen
			if h := e.hub.src.Stats().Bus; h.Reconnects != 0 || h.ProbeFailures != 0 {
				t.Errorf("%+v", h)
			}
		})
	}
}
