package testutil

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// clusterStartTimeout bounds the start of a Redis Cluster, or a Sentinel group.
const clusterStartTimeout = 30 * time.Second

// RedisCluster is a Redis Cluster of this machine, without replicas.
type RedisCluster struct {
	// Nodes are its masters. The slots are spread over them evenly, in order.
	Nodes []*RedisServer
}

// LocalRedisCluster starts a Redis Cluster of n masters, at least three. Without
// redis-server and redis-cli the test fails. It is stopped when the test ends.
func LocalRedisCluster(tb testing.TB, n int) *RedisCluster {
	tb.Helper()
	c := new(RedisCluster)
	args := []string{"--cluster", "create"}
	for i := range n {
		dir := tb.TempDir()
		s := startRedisWith(tb, clusterPort, "--cluster-enabled", "yes", "--cluster-config-file", filepath.Join(dir, "nodes.conf"),
			"--cluster-node-timeout", "2000", "--dir", dir)
		c.Nodes = append(c.Nodes, s)
		args = append(args, c.Nodes[i].Addr())
	}
	redisCLI(tb, append(args, "--cluster-yes")...)
	c.settle(tb)
	return c
}

// Addrs returns the addresses of the masters.
func (c *RedisCluster) Addrs() []string {
	list := make([]string, len(c.Nodes))
	for i, s := range c.Nodes {
		list[i] = s.Addr()
	}
	return list
}

// settle waits until every node knows that all slots are served.
func (c *RedisCluster) settle(tb testing.TB) {
	tb.Helper()
	waitFor(tb, "the cluster to be ok", func() bool {
		for _, s := range c.Nodes {
			if info := s.CLI(tb, "cluster", "info"); !strings.Contains(info, "cluster_state:ok") ||
				!strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", len(c.Nodes))) {
				return false
			}
		}
		return true
	})
}

// Owner returns which of Nodes has a slot.
func (c *RedisCluster) Owner(tb testing.TB, slot int) *RedisServer {
	tb.Helper()
	for _, s := range c.Nodes {
		for line := range strings.Lines(s.CLI(tb, "cluster", "nodes")) {
			if strings.Contains(line, "myself") && hasSlot(strings.Fields(line)[8:], slot) {
				return s
			}
		}
	}
	tb.Fatalf("testutil: nobody has slot %d", slot)
	return nil
}

func hasSlot(ranges []string, slot int) bool {
	for _, r := range ranges {
		from, to, ok := strings.Cut(r, "-")
		if !ok {
			to = from
		}
		lo, err1 := strconv.Atoi(from)
		hi, err2 := strconv.Atoi(to)
		if errors.Join(err1, err2) == nil && lo <= slot && slot <= hi {
			return true
		}
	}
	return false
}

// MoveSlot gives a slot and its keys to another node, as a resharding does.
func (c *RedisCluster) MoveSlot(tb testing.TB, slot int, to *RedisServer) {
	tb.Helper()
	from := c.Owner(tb, slot)
	id, n := strings.TrimSpace(to.CLI(tb, "cluster", "myid")), strconv.Itoa(slot)
	to.CLI(tb, "cluster", "setslot", n, "importing", strings.TrimSpace(from.CLI(tb, "cluster", "myid")))
	from.CLI(tb, "cluster", "setslot", n, "migrating", id)
	host, port, _ := net.SplitHostPort(to.Addr())
	for _, key := range strings.Fields(from.CLI(tb, "cluster", "getkeysinslot", n, "1000")) {
		from.CLI(tb, "migrate", host, port, key, "0", "5000")
	}
	order := []*RedisServer{to, from}
	for _, s := range c.Nodes {
		if s != to && s != from {
			order = append(order, s)
		}
	}
	for _, s := range order { // a second time would end the subscriptions at the new owner
		if got := s.CLI(tb, "cluster", "setslot", n, "node", id); !strings.Contains(got, "OK") {
			tb.Fatalf("testutil: setslot: %s", got)
		}
	}
}

// CLI runs a command on the server with redis-cli and returns its output.
func (s *RedisServer) CLI(tb testing.TB, args ...string) string {
	tb.Helper()
	_, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		tb.Fatal(err)
	}
	return redisCLI(tb, append([]string{"-h", "127.0.0.1", "-p", port}, args...)...)
}

func redisCLI(tb testing.TB, args ...string) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), clusterStartTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "redis-cli", args...).CombinedOutput()
	if err != nil {
		tb.Fatalf("testutil: redis-cli %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// RedisSentinel is a master, a replica and one Sentinel that watches them, all of
// this machine.
type RedisSentinel struct {
	Master, Replica, Sentinel *RedisServer
	// Name is what the Sentinel calls the group.
	Name string
}

// LocalRedisSentinel starts a Sentinel group that fails over a second after the
// master has gone. Without redis-server and redis-cli the test fails. It is
// stopped when the test ends.
func LocalRedisSentinel(tb testing.TB) *RedisSentinel {
	tb.Helper()
	g := &RedisSentinel{Name: "main", Master: LocalRedis(tb)}
	_, port, _ := strings.Cut(g.Master.Addr(), ":")
	g.Replica = startRedisWith(tb, freePort, "--replicaof", "127.0.0.1 "+port, "--repl-diskless-sync-delay", "0", "--dir", tb.TempDir())
	waitFor(tb, "the replica to be in sync", func() bool {
		return strings.Contains(g.Replica.CLI(tb, "info", "replication"), "master_link_status:up")
	})
	conf := filepath.Join(tb.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor %[1]s 127.0.0.1 %[2]s 1\nsentinel down-after-milliseconds %[1]s 1000\n"+
		"sentinel failover-timeout %[1]s 5000\n", g.Name, port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	g.Sentinel = startRedisWith(tb, freePort, conf, "--sentinel")
	waitFor(tb, "the Sentinel to know the replica", func() bool {
		return strings.Contains(g.Sentinel.CLI(tb, "sentinel", "replicas", g.Name), "slave")
	})
	return g
}

// startRedisWith starts a server with more arguments on a port that find picks.
func startRedisWith(tb testing.TB, find func() (int, error), args ...string) *RedisServer {
	tb.Helper()
	var errs []error
	for range 3 { // another process may take the port first
		port, err := find()
		if err != nil {
			tb.Fatal(err)
		}
		s := &RedisServer{URL: fmt.Sprintf("redis://127.0.0.1:%d/0", port), port: port, args: args}
		if err = s.start(); err == nil {
			tb.Cleanup(s.stop)
			return s
		}
		errs = append(errs, err)
	}
	tb.Fatalf("testutil: start redis-server: %v\n%s", errors.Join(errs...), noRedis)
	return nil
}

// clusterPort finds a port whose companion for the cluster bus, 10000 higher, is
// free as well.
func clusterPort() (int, error) {
	for range 100 {
		port, err := freePort()
		if err != nil {
			return 0, err
		}
		if port > 65535-10_000 {
			port -= 25_000
		}
		if free(port) && free(port+10_000) {
			return port, nil
		}
	}
	return 0, errors.New("no pair of free ports")
}

func free(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func waitFor(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	deadline := time.Now().Add(clusterStartTimeout)
	for !cond() {
		if time.Now().After(deadline) {
			tb.Fatalf("testutil: waited %v for %s", clusterStartTimeout, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
