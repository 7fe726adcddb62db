package redis

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// slack is how much older than a gap a message may be that was on its way when the
// gap began.
const slack = 5 * time.Second

// witness emits numbered broadcasts from one node all the time, and knows in the
// end which of them another node never got.
type witness struct {
	from, to *node
	stop     chan struct{}
	running  sync.WaitGroup

	mu   sync.Mutex // guards the following
	sent map[int]time.Time
}

func observe(from, to *node) *witness {
	w := &witness{from: from, to: to, stop: make(chan struct{}), sent: make(map[int]time.Time)}
	w.running.Go(w.emit)
	return w
}

func (w *witness) emit() {
	tick := time.NewTicker(4 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		at := time.Now()
		if w.from.a.Broadcast(packetOf(fmt.Sprintf(`["w",%d]`, i)), adapter.Target{Rooms: []string{"all"}}) == nil {
			w.mu.Lock()
			w.sent[i] = at
			w.mu.Unlock()
		}
		select {
		case <-tick.C:
		case <-w.stop:
			return
		}
	}
}

// check ends the emits and compares. twice says that messages may arrive twice.
func (w *witness) check(t *testing.T, lossless, twice bool) {
	t.Helper()
	flows(t, w.from, w.to)
	close(w.stop)
	w.running.Wait()
	flows(t, w.from, w.to)
	times, last := make(map[int]int), -1
	for _, r := range w.to.sock.Received() {
		text, ok := strings.CutPrefix(string(r.Packet.Data), `["w",`)
		if !ok {
			continue
		}
		i, err := strconv.Atoi(strings.TrimSuffix(text, "]"))
		if err != nil {
			t.Fatal(err)
		}
		if times[i]++; times[i] > 1 && !twice {
			t.Errorf("message %d arrived %d times", i, times[i])
		}
		if i < last && times[i] == 1 {
			t.Errorf("message %d arrived after %d", i, last)
		}
		last = max(last, i)
	}
	missing := 0
	for i, at := range w.sent {
		if times[i] > 0 {
			continue
		}
		missing++
		if lossless {
			t.Errorf("message %d of %v is missing; gaps %+v", i, at, w.to.reportedGaps())
			continue
		}
		poll(t, fmt.Sprintf("message %d of %v lies in a gap", i, at), func() bool { return w.covered(at) })
	}
	t.Logf("%d of %d messages are missing", missing, len(w.sent))
}

func (w *witness) covered(at time.Time) bool {
	for _, g := range w.to.reportedGaps() {
		if at.After(g.From.Add(-slack)) && !at.After(g.To) {
			return true
		}
	}
	for _, g := range w.from.reportedGaps() {
		if g.Kind == GapPublish && at.After(g.From.Add(-slack)) && !at.After(g.To) {
			return true
		}
	}
	return false
}

// settled waits until both nodes are up.
func settled(t *testing.T, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		poll(t, n.sock.ID()+" is up", n.up)
	}
}

// What is not delivered lies in a reported gap, whatever happens to Redis or to the
// way there. A fault ends with both nodes able to talk.
func TestThePromise(t *testing.T) {
	t.Parallel()
	faults := []struct {
		name string
		do   func(t *testing.T, server *testutil.RedisServer, proxy *testutil.Proxy, a, b *node)
		// lost says that a stream loses messages too.
		lost bool
	}{
		{"killed and restarted at once", func(t *testing.T, server *testutil.RedisServer, _ *testutil.Proxy, a, b *node) {
			server.Restart(t)
			poll(t, "the loss is noticed", func() bool { return a.p.Health().Reconnects > 0 && b.p.Health().Reconnects > 0 })
		}, true},
		{"away for longer than messages are kept", func(t *testing.T, server *testutil.RedisServer, _ *testutil.Proxy, a, b *node) {
			server.Kill(t)
			poll(t, "messages are given up", func() bool { return a.p.Stats().Dropped > 10 })
			server.Restart(t)
		}, true},
		{"stopped", func(t *testing.T, server *testutil.RedisServer, _ *testutil.Proxy, a, b *node) {
			server.Pause(t)
			poll(t, "the loss is noticed", func() bool { return !a.up() && !b.up() })
			server.Resume(t)
		}, true}, // a gives up what it could not publish in time
		{"cuts its subscribers", func(t *testing.T, server *testutil.RedisServer, _ *testutil.Proxy, a, b *node) {
			server.CLI(t, "client", "kill", "type", "pubsub")
			poll(t, "the loss is noticed", func() bool { return b.p.Health().Reconnects > 0 })
		}, false},
		{"black hole to Redis", blackHole(testutil.Up), false},
		{"black hole from Redis", blackHole(testutil.Down), false},
		{"black hole both ways", blackHole(testutil.Up, testutil.Down), false},
		{"connections are reset", func(t *testing.T, _ *testutil.RedisServer, proxy *testutil.Proxy, _, b *node) {
			for range 3 {
				before := b.p.Health().Reconnects
				proxy.Reset()
				poll(t, "the loss is noticed", func() bool { return b.p.Health().Reconnects > before })
				settled(t, b)
			}
		}, false},
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			for _, variant := range variants {
				t.Run(variant, func(t *testing.T) {
					t.Parallel()
					server := testutil.LocalRedis(t)
					proxy := testutil.NewProxy(t, server.Addr())
					o := Options{Key: "k", ProbeInterval: time.Second}
					o.Cluster.MaxOutboundAge = time.Second
					a := startWith(t, variant, goredis.NewClient(&goredis.Options{Addr: server.Addr()}), o, "/", "a")
					b := startWith(t, variant, goredis.NewClient(&goredis.Options{Addr: proxy.Addr()}), o, "/", "b")
					flows(t, a, b)
					flows(t, b, a)
					w := observe(a, b)
					f.do(t, server, proxy, a, b)
					settled(t, a, b)
					w.check(t, variant == "streams" && !f.lost, variant == "streams")
					flows(t, b, a)
				})
			}
		})
	}
}

func blackHole(ways ...testutil.Direction) func(*testing.T, *testutil.RedisServer, *testutil.Proxy, *node, *node) {
	return func(t *testing.T, _ *testutil.RedisServer, proxy *testutil.Proxy, _, b *node) {
		for _, d := range ways {
			proxy.BlackHole(d, true)
		}
		poll(t, "the loss is noticed", func() bool {
			b.emit("anybody?") // a subscription still works when nothing gets through to Redis
			return b.p.Health().Reconnects > 0 || b.p.Stats().PublishErrors > 0
		})
		for _, d := range ways {
			proxy.BlackHole(d, false)
		}
	}
}

// Redis cuts a subscriber that does not read.
func TestASubscriberIsCutForItsOutputBuffer(t *testing.T) {
	t.Parallel()
	for _, variant := range []string{"classic", "sharded"} {
		t.Run(variant, func(t *testing.T) {
			t.Parallel()
			server := testutil.LocalRedisWith(t, "--client-output-buffer-limit", "pubsub 256kb 0 0")
			proxy := testutil.NewProxy(t, server.Addr())
			o := Options{Key: "k", ProbeInterval: -1} // nothing else may find it
			a := startWith(t, variant, goredis.NewClient(&goredis.Options{Addr: server.Addr()}), o, "/", "a")
			b := startWith(t, variant, goredis.NewClient(&goredis.Options{Addr: proxy.Addr()}), o, "/", "b")
			flows(t, a, b)
			w := observe(a, b)
			proxy.BlackHole(testutil.Down, true)
			large := packetOf(`["large","` + strings.Repeat("x", 64<<10) + `"]`)
			subscribers := func() int { return strings.Count(server.CLI(t, "client", "list", "type", "pubsub"), "addr=") }
			before := subscribers()
			poll(t, "Redis cuts the subscriber", func() bool {
				_ = a.a.Broadcast(large, adapter.Target{Rooms: []string{"all"}, Except: []string{"a"}})
				return subscribers() < before
			})
			proxy.BlackHole(testutil.Down, false)
			poll(t, "the cut is noticed", func() bool { return b.p.Health().Reconnects > 0 })
			settled(t, a, b)
			w.check(t, false, false)
		})
	}
}

// A stream that Redis has written to disk survives its death.
func TestAStreamOnDiskLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := testutil.LocalRedisWith(t, "--dir", dir, "--appendonly", "yes", "--appendfsync", "always", "--appenddirname", filepath.Base(dir))
	o := Options{Key: "k"}
	o.Cluster.MaxOutboundAge = time.Minute
	start := func(id string) *node {
		return startWith(t, "streams", goredis.NewClient(&goredis.Options{Addr: server.Addr()}), o, "/", id)
	}
	a, b := start("a"), start("b")
	flows(t, a, b)
	w := observe(a, b)
	for i := range 3 {
		server.Restart(t)
		poll(t, "the loss is noticed", func() bool { return b.p.Health().Reconnects > uint64(i) })
		settled(t, a, b)
	}
	w.check(t, true, true)
}
