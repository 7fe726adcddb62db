package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/chaos/history"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// modes are the adapters, topologies the ways Redis is run.
var (
	modes      = []string{"classic", "sharded", "streams"}
	topologies = []string{"single", "sentinel", "cluster"}
)

const (
	nodeCount   = 3
	clientCount = 6
)

// plan says what a world is made of.
type plan struct {
	mode, topology string
	every          time.Duration // between two messages of an emitter; there are six
	maxLen         int           // of the stream; 0: the default
	outage         time.Duration // how long messages wait for Redis; 0: the default
}

// world is a cluster under test. Its methods belong to the goroutine of the test.
type world struct {
	tb   testing.TB
	plan plan
	log  history.Log
	rnd  *rand.Rand

	nodes   []*process
	clients []*client
	stop    context.CancelFunc
	running sync.WaitGroup

	// Of the topology single.
	redis   *testutil.RedisServer
	data    string // its folder
	proxies []*testutil.Proxy

	sentinel *testutil.RedisSentinel
	cluster  *testutil.RedisCluster
}

// newWorld starts Redis, nodes and clients, and waits until messages flow.
func newWorld(tb testing.TB, p plan, rnd *rand.Rand) *world {
	tb.Helper()
	if p.topology == "" {
		p.topology = topologies[0]
	}
	w := &world{tb: tb, plan: p, rnd: rnd}
	found := w.startRedis()
	for i := range nodeCount {
		n := &process{w: w, name: fmt.Sprintf("n%d", i+1)}
		n.cfg = nodeConfig{NodeID: n.name, Mode: p.mode, Redis: found[i], Every: p.every, MaxLen: p.maxLen, Outage: p.outage}
		w.nodes = append(w.nodes, n)
		tb.Cleanup(n.end)
		n.start(tb)
	}
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	tb.Cleanup(w.halt)
	for i := range clientCount {
		c := &client{w: w, name: fmt.Sprintf("c%d", i), home: i % nodeCount, heard: make(map[string]history.Event)}
		if i%2 == 1 {
			c.rooms = []string{oddRoom}
		}
		w.clients = append(w.clients, c)
		w.running.Go(func() { c.run(ctx) })
	}
	w.flows()
	<-time.After(w.joinGrace()) // nothing is due before
	return w
}

// joinGrace bounds the time in which Redis confirms the subscription to a room.
func (w *world) joinGrace() time.Duration {
	if w.plan.mode == "sharded" {
		return time.Second
	}
	return 0
}

// halt ends the clients.
func (w *world) halt() {
	w.stop()
	w.running.Wait()
}

// startRedis returns what each node is to connect to.
func (w *world) startRedis() []servers {
	list := make([]servers, nodeCount)
	switch w.plan.topology {
	case "sentinel":
		w.sentinel = testutil.LocalRedisSentinel(w.tb)
	case "cluster":
		w.cluster = testutil.LocalRedisCluster(w.tb, 3)
	default:
		w.data = w.tb.TempDir()
		w.redis = testutil.LocalRedisWith(w.tb, "--dir", w.data, "--appendonly", "yes", "--appendfsync", "always")
	}
	for i := range list {
		s := &list[i]
		switch w.plan.topology {
		case "sentinel":
			s.Addrs, s.Master = []string{w.sentinel.Sentinel.Addr()}, w.sentinel.Name
		case "cluster":
			s.Addrs, s.Cluster = w.cluster.Addrs(), true
		default:
			w.proxies = append(w.proxies, testutil.NewProxy(w.tb, w.redis.Addr()))
			s.Addrs = []string{w.proxies[i].Addr()}
		}
	}
	return list
}

// fault breaks something and notes it.
func (w *world) fault(kind string, do func()) {
	w.log.Add(history.Event{Kind: history.Fault, At: now(), Reason: kind})
	do()
}

// between returns a length of time, the seed's choice.
func (w *world) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.rnd.Int64N(int64(to-from)))
}

// hold keeps a fault up for a while.
func (w *world) hold(from, to time.Duration) { <-time.After(w.between(from, to)) }

// holdUntilDown keeps a fault up for a while, and over pub/sub until one of the
// nodes has noticed: on a busy machine that takes its time.
func (w *world) holdUntilDown(from, to time.Duration, nodes ...*process) {
	w.hold(from, to)
	if w.plan.mode != "streams" {
		w.wait(func() bool { return slices.ContainsFunc(nodes, (*process).isDown) })
	}
}

func (w *world) anyNode() *process { return w.nodes[w.rnd.IntN(len(w.nodes))] }

func (w *world) anyProxy() *testutil.Proxy { return w.proxies[w.rnd.IntN(len(w.proxies))] }

// flows waits until every client is connected and gets what every node emits from
// now on.
func (w *world) flows() {
	w.tb.Helper()
	since := now()
	w.poll(func() string {
		return w.eachPair(func(c *client, emitter string, _ uint64) bool {
			_, begin, ready := c.newest(emitter)
			return ready && begin > since
		})
	})
}

// poll waits until missing returns nothing.
func (w *world) poll(missing func() string) {
	w.tb.Helper()
	what := ""
	if !w.wait(func() bool { what = missing(); return what == "" }) {
		w.tb.Errorf("chaos: %s, %s: after %v: %s", w.plan.mode, w.plan.topology, patience, what)
	}
}

func (w *world) wait(ok func() bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); !ok(); <-tick.C {
		if time.Since(began) > patience {
			return false
		}
	}
	return true
}

// eachPair calls ok with every client and every emitter it listens to, and the
// emitter's last number. It returns the first pair that is not.
func (w *world) eachPair(ok func(c *client, emitter string, last uint64) bool) string {
	for _, n := range w.nodes {
		life, last, _ := n.emitted()
		for _, t := range targets {
			for _, c := range w.clients {
				if e := emitter(life, t); c.in(t.room) && !ok(c, e, last) {
					return c.name + " does not get what " + e + " emits"
				}
			}
		}
	}
	return ""
}

// hasGap reports whether a node has reported a gap of a kind.
func (w *world) hasGap(kind string) bool {
	return slices.ContainsFunc(w.log.Events(), func(e history.Event) bool { return e.Kind == history.Gap && e.Reason == kind })
}

// finish stops the emits, waits for what is still on its way, ends everything and
// judges the history.
func (w *world) finish() *history.Report {
	w.tb.Helper()
	for _, n := range w.nodes {
		n.say(w.tb, "stop")
	}
	w.poll(func() string {
		for _, n := range w.nodes {
			if _, _, stopped := n.emitted(); !stopped {
				return "node " + n.name + " does not empty its queue"
			}
		}
		return ""
	})
	w.wait(func() bool { // what is still missing then is for the judge
		return w.eachPair(func(c *client, emitter string, last uint64) bool {
			seq, _, _ := c.newest(emitter)
			return seq == last
		}) == ""
	})
	w.halt()
	for _, n := range w.nodes {
		n.end() // reads the last gaps
	}
	return w.judge()
}

func (w *world) judge() *history.Report {
	w.tb.Helper()
	cfg := history.Config{Margin: time.Second, Settle: 10 * time.Second, JoinGrace: w.joinGrace(), AtMostOnce: w.plan.mode != "streams"}
	if w.plan.mode == "streams" {
		cfg.Logged = true
	}
	events := w.log.Events()
	rep := history.Check(events, cfg)
	if len(rep.Findings) == 0 {
		return rep
	}
	w.tb.Errorf("chaos: %s, %s: %d broken promises, the first: %v\nthe events around it: %s\n%s",
		w.plan.mode, w.plan.topology, len(rep.Findings), rep.Findings[0], w.save(events, rep.Findings[0]), rep)
	return rep
}

// save writes the events around a finding to a file that stays, and returns its
// path.
func (w *world) save(events []history.Event, f history.Finding) string {
	name := strings.Join([]string{"chaos", w.plan.mode, w.plan.topology, "*.jsonl"}, "-")
	file, err := os.CreateTemp("", name)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	if err := history.WriteExcerpt(file, events, f); err != nil {
		return err.Error()
	}
	return file.Name()
}

// emptyRedis removes what a killed Redis has on disk.
func (w *world) emptyRedis() {
	w.tb.Helper()
	if err := os.RemoveAll(filepath.Join(w.data, "appendonlydir")); err != nil {
		w.tb.Fatal(err)
	}
}
