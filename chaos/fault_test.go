package chaos

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/internal/testutil"
)

// fault is something that breaks, and what is promised all the same.
type fault struct {
	name     string
	topology string // empty: any
	modes    string // empty: all
	maxLen   int    // the stream has to be this short
	do       func(w *world)
	// gap lists the modes in which some node must report a gap of this kind.
	gap map[string]string
	// whole lists the modes in which nothing may be missing, with a reason or without.
	whole string
	// back lists the modes in which every client that came back is recovered, and
	// at least one did.
	back string
}

const pubsub = "classic sharded"

// gaps is a gap of one kind over pub/sub.
func gaps(kind string) map[string]string {
	return map[string]string{"classic": kind, "sharded": kind}
}

// faults are in the order of the fault table of the design.
var faults = []fault{
	{name: "none", whole: "streams", do: func(w *world) { w.hold(300*time.Millisecond, 400*time.Millisecond) }},
	{name: "redis restarts at once", topology: "single", gap: gaps("connection"), whole: "streams", do: func(w *world) { w.redis.Restart(w.tb) }},
	{name: "redis is away", topology: "single", gap: gaps("connection"), whole: "streams", do: func(w *world) {
		w.redis.Kill(w.tb)
		w.hold(time.Second, 2500*time.Millisecond)
		w.redis.Restart(w.tb)
	}},
	{name: "redis restarts without its data", topology: "single", do: func(w *world) {
		w.redis.Kill(w.tb)
		w.emptyRedis()
		w.hold(0, 500*time.Millisecond)
		w.redis.Restart(w.tb)
	}, gap: map[string]string{"classic": "connection", "sharded": "connection", "streams": "rewound"}},
	{name: "redis is stopped", topology: "single", gap: gaps("connection"), whole: "streams", do: func(w *world) {
		w.redis.Pause(w.tb)
		w.holdUntilDown(1500*time.Millisecond, 2500*time.Millisecond, w.nodes...)
		w.redis.Resume(w.tb)
	}},
	{name: "redis cuts subscribers", topology: "single", gap: gaps("connection"), whole: "streams", do: func(w *world) {
		w.redis.CLI(w.tb, "client", "kill", "type", "pubsub")
	}},
	{name: "redis cuts a slow subscriber", topology: "single", modes: pubsub, gap: gaps("connection"), do: (*world).overflow},
	{name: "node does not hear redis", topology: "single", gap: gaps("connection"), whole: "streams", do: func(w *world) {
		w.hole(testutil.Down)
	}},
	{name: "redis does not hear node", topology: "single", whole: "streams", do: func(w *world) {
		w.hole(testutil.Up)
	}},
	{name: "node and redis are partitioned", topology: "single", gap: gaps("connection"), do: func(w *world) {
		w.hole(testutil.Up, testutil.Down)
	}},
	{name: "connections to redis are reset", topology: "single", gap: gaps("connection"), whole: "streams", do: func(w *world) {
		w.anyProxy().Reset()
	}},
	{name: "redis is slow", topology: "single", whole: "streams", do: func(w *world) {
		p := w.anyProxy()
		p.Latency(w.between(20*time.Millisecond, 100*time.Millisecond))
		w.hold(500*time.Millisecond, time.Second)
		p.Latency(0)
	}},
	{name: "node is killed", back: "streams", do: func(w *world) {
		n := w.anyNode()
		n.kill()
		w.hold(0, 500*time.Millisecond)
		n.start(w.tb)
	}},
	{name: "node is stopped", whole: "streams", do: func(w *world) {
		n := w.anyNode()
		n.signal(w.tb, syscall.SIGSTOP)
		w.hold(500*time.Millisecond, 1500*time.Millisecond)
		n.signal(w.tb, syscall.SIGCONT)
	}},
	{name: "client loses its connection", whole: "streams", back: "streams", do: func(w *world) {
		w.clients[w.rnd.IntN(len(w.clients))].flap()
	}},
	{name: "two nodes have one id", do: func(w *world) {
		i := w.rnd.IntN(len(w.nodes))
		w.nodes[i].cfg.NodeID = w.nodes[(i+1)%len(w.nodes)].cfg.NodeID
		w.nodes[i].kill()
		w.nodes[i].start(w.tb)
	}},
	{name: "stream is trimmed", topology: "single", modes: "streams", maxLen: 10, do: func(w *world) {
		p, before := w.anyProxy(), w.added()
		p.BlackHole(testutil.Down, true)
		w.wait(func() bool { return w.added() > before+400 })
		p.BlackHole(testutil.Down, false)
	}, gap: map[string]string{"streams": "trimmed"}},
	{name: "master is killed", topology: "sentinel", gap: gaps("connection"), do: func(w *world) {
		w.inSync()
		master := w.master()
		master.Kill(w.tb)
		w.wait(func() bool { return w.master() != master })
		master.Restart(w.tb)
	}},
	{name: "failover", topology: "sentinel", gap: map[string]string{
		"classic": "failover", "sharded": "failover", "streams": "failover",
	}, do: func(w *world) {
		w.inSync()
		master := w.master()
		w.wait(func() bool { // not while the Sentinel is busy with the last one
			return strings.Contains(w.sentinel.Sentinel.CLI(w.tb, "sentinel", "failover", w.sentinel.Name), "OK")
		})
		w.wait(func() bool { return w.master() != master })
	}},
	{name: "slot moves", topology: "cluster", do: func(w *world) {
		slot := w.slotInUse()
		from := w.cluster.Owner(w.tb, slot)
		for i, s := range w.cluster.Nodes {
			if s == from {
				w.moveSlot(slot, w.cluster.Nodes[(i+1)%len(w.cluster.Nodes)])
				return
			}
		}
	}, gap: map[string]string{"sharded": "moved"}},
	{name: "master of a cluster is away", topology: "cluster", do: func(w *world) {
		s := w.cluster.Nodes[w.rnd.IntN(len(w.cluster.Nodes))]
		s.Kill(w.tb)
		w.hold(500*time.Millisecond, time.Second)
		s.Restart(w.tb)
	}},
}

// hole makes a proxy swallow what one node and Redis say, in some directions, for
// longer than it takes to notice.
func (w *world) hole(ways ...testutil.Direction) {
	i := w.rnd.IntN(len(w.proxies))
	p := w.proxies[i]
	for _, d := range ways {
		p.BlackHole(d, true)
	}
	if slices.Contains(ways, testutil.Down) {
		w.holdUntilDown(1500*time.Millisecond, 2500*time.Millisecond, w.nodes[i])
	} else {
		w.hold(1500*time.Millisecond, 2500*time.Millisecond)
	}
	for _, d := range ways {
		p.BlackHole(d, false)
	}
}

// overflow keeps a node from reading until Redis has more for it than it may have,
// which is what Redis does with the output buffer of a slow subscriber.
func (w *world) overflow() {
	w.redis.CLI(w.tb, "config", "set", "client-output-buffer-limit", "pubsub 1mb 0 0")
	p := w.anyProxy()
	p.BlackHole(testutil.Down, true)
	defer p.BlackHole(testutil.Down, false)
	c := goredis.NewClient(&goredis.Options{Addr: w.redis.Addr()})
	defer c.Close()
	publish := c.Publish
	if w.plan.mode == "sharded" {
		publish = c.SPublish
	}
	chunk := strings.Repeat("x", 100<<10)
	for range 300 { // the kernel takes some megabytes for the node
		if n, err := publish(context.Background(), "socket.io#/#", chunk).Result(); err != nil || n < nodeCount {
			return
		}
	}
}

func (w *world) master() *testutil.RedisServer {
	out := w.sentinel.Sentinel.CLI(w.tb, "sentinel", "get-master-addr-by-name", w.sentinel.Name)
	for _, s := range []*testutil.RedisServer{w.sentinel.Master, w.sentinel.Replica} {
		if strings.Join(strings.Fields(out), ":") == s.Addr() {
			return s
		}
	}
	return nil
}

// inSync waits until the Sentinel has demoted the master before this one, as it does
// 10 s later. Otherwise it would make that one the master again, with what it took
// last, which some have got and some have not.
func (w *world) inSync() {
	w.wait(func() bool {
		return slices.ContainsFunc([]*testutil.RedisServer{w.sentinel.Master, w.sentinel.Replica}, func(s *testutil.RedisServer) bool {
			return strings.Contains(s.CLI(w.tb, "info", "replication"), "master_link_status:up")
		})
	})
}

// slotInUse returns the slot of what the mode uses most.
func (w *world) slotInUse() int {
	name := "socket.io#/#"
	if w.plan.mode == "streams" {
		name = "socket.io"
	}
	slot, err := strconv.Atoi(strings.TrimSpace(w.cluster.Nodes[0].CLI(w.tb, "cluster", "keyslot", name)))
	if err != nil {
		w.tb.Fatal(err)
	}
	return slot
}

// moveSlot gives a slot and the keys in it to another master.
func (w *world) moveSlot(slot int, to *testutil.RedisServer) {
	n, from := strconv.Itoa(slot), w.cluster.Owner(w.tb, slot)
	id := func(s *testutil.RedisServer) string { return strings.TrimSpace(s.CLI(w.tb, "cluster", "myid")) }
	to.CLI(w.tb, "cluster", "setslot", n, "importing", id(from))
	from.CLI(w.tb, "cluster", "setslot", n, "migrating", id(to))
	_, port, _ := strings.Cut(to.Addr(), ":")
	for _, key := range strings.Fields(from.CLI(w.tb, "cluster", "getkeysinslot", n, "100")) {
		from.CLI(w.tb, "migrate", "127.0.0.1", port, key, "0", "5000")
	}
	w.cluster.MoveSlot(w.tb, slot, to)
}

// added returns how many entries the stream has ever had.
func (w *world) added() int {
	fields := strings.Fields(w.redis.CLI(w.tb, "xinfo", "stream", "socket.io"))
	n, _ := strconv.Atoi(fields[slices.Index(fields, "entries-added")+1])
	return n
}
