package presence_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/socketfleet/socketfleet/adapter/redis" // registers the schemes
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
	"github.com/socketfleet/socketfleet/presence"
)

// shortLease is for tests that wait for its end. Others have the default.
const shortLease = 2 * time.Second

// adapters returns the options of three nodes that form a cluster, by adapter.
var adapters = map[string]func(t *testing.T) []core.Options{
	"loopback": func(*testing.T) []core.Options {
		loop := cluster.NewLoopback()
		out := make([]core.Options, 3)
		for i := range out {
			out[i].Adapter = cluster.NewProvider(loop.Bus(), cluster.Options{})
		}
		return out
	},
	"classic": func(t *testing.T) []core.Options { return three(classicURL(t)) },
	"streams": func(t *testing.T) []core.Options { return three(streamsURL(t)) },
	"sharded": func(t *testing.T) []core.Options {
		return three(redisURL(t, "redis+sharded"))
	},
}

func three(url string) []core.Options {
	return slices.Repeat([]core.Options{{AdapterURL: url}}, 3)
}

func classicURL(t *testing.T) string { return redisURL(t, "redis") }
func streamsURL(t *testing.T) string { return redisURL(t, "redis+streams") }

// redisURL returns the adapter URL of a cluster of the test's own.
func redisURL(t *testing.T, scheme string) string {
	t.Helper()
	key := testutil.Prefix(t)
	url := scheme + "://" + testutil.SharedRedis(t).Addr() + "?key=" + key
	if scheme == "redis+streams" {
		url += "&stream=" + key
	}
	return url
}

func startNodes(t *testing.T, opts []core.Options, po presence.Options) []*node {
	t.Helper()
	nodes := make([]*node, len(opts))
	for i, o := range opts {
		o.NodeID = fmt.Sprint("node-", i)
		nodes[i] = startNode(t, o, po)
	}
	return nodes
}

func TestPresenceAcrossNodes(t *testing.T) {
	t.Parallel()
	for name, opts := range adapters {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes := startNodes(t, opts(t), presence.Options{Lease: time.Minute, Event: "presence"})
			watcher := nodes[2].dial(t, "watcher")
			for _, n := range nodes {
				n.heard(t, "join watcher")
			}
			ann := nodes[0].dial(t, "ann")
			for _, n := range nodes {
				n.heard(t, "join ann")
			}
			tablet := nodes[1].dial(t, "ann")
			for _, n := range nodes {
				n.lists(t, "ann2 watcher1")
			}
			ann.Close()
			for _, n := range nodes {
				n.lists(t, "ann1 watcher1")
			}
			tablet.Close()
			for _, n := range nodes {
				n.heard(t, "leave ann")
				n.lists(t, "watcher1")
			}
			var told []string
			for len(told) < 3 {
				var e presence.Event
				if err := watcher.Expect(t, "presence").Decode(0, &e); err != nil {
					t.Fatal(err)
				}
				if e.Type != presence.Update {
					told = append(told, fmt.Sprint(e.Type, " ", e.Key))
				}
			}
			if got := strings.Join(told, "; "); got != "join watcher; join ann; leave ann" {
				t.Errorf("the client was told %q", got)
			}
			nodes[0].dial(t, "bob")
			for _, n := range nodes {
				n.heard(t, "join bob")
			}
			nodes[0].stop(t)
			for _, n := range nodes[1:] {
				n.heard(t, "leave bob")
				n.lists(t, "watcher1")
				if n := len(n.log); n != 0 {
					t.Errorf("%d more events", n)
				}
			}
		})
	}
}

func TestANodeCutOffFromRedisComesBack(t *testing.T) {
	t.Parallel()
	url := classicURL(t)
	server := testutil.SharedRedis(t).Addr()
	proxy := testutil.NewProxy(t, server)
	cut := strings.Replace(url, server, proxy.Addr(), 1)
	nodes := startNodes(t, []core.Options{{AdapterURL: url}, {AdapterURL: cut}}, presence.Options{Lease: shortLease})
	nodes[0].dial(t, "ann")
	nodes[1].dial(t, "bob")
	for _, n := range nodes {
		n.lists(t, "ann1 bob1")
	}
	proxy.Refuse(true)
	proxy.Reset()
	nodes[0].lists(t, "ann1")
	nodes[1].lists(t, "bob1")
	nodes[0].dial(t, "cleo")
	nodes[1].dial(t, "dan")
	proxy.Refuse(false)
	for _, n := range nodes {
		n.lists(t, "ann1 bob1 cleo1 dan1")
	}
}

// childEnv turns this binary into one node, whose adapter URL it holds.
const childEnv = "SOCKETFLEET_PRESENCE_CHILD"

func init() {
	if url := os.Getenv(childEnv); url != "" {
		presence.Child = func() { child(url) }
	}
}

// child serves until it is killed or its parent ends, and tells the other nodes when
// somebody leaves.
func child(url string) {
	srv, err := core.New(context.Background(), &core.Options{AdapterURL: url, NodeID: "child"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	p, err := presence.New(srv.Namespace, presence.Options{Lease: shortLease})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	leaves := 0
	p.OnLeave(func(presence.Event) {
		leaves++
		_ = srv.ServerSideEmit("leaves", leaves)
	})
	srv.OnConnect(func(ctx context.Context, s *core.Socket) error {
		var auth struct{ User string }
		if err := json.Unmarshal(s.Handshake().Auth(), &auth); err != nil {
			return err
		}
		return p.Track(ctx, s, "lobby", auth.User, nil)
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() { _ = http.Serve(ln, srv) }()
	fmt.Println(ln.Addr())
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // the parent has gone
	os.Exit(0)
}

type childNode struct {
	node
	cmd *exec.Cmd
}

func startChild(t *testing.T, url string) *childNode {
	t.Helper()
	c := &childNode{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), childEnv+"="+url)
	c.cmd.Stderr = os.Stderr
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); _ = c.cmd.Process.Kill(); _ = c.cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	c.url = "http://" + strings.TrimSpace(line)
	return c
}

func TestTheMembersOfAKilledProcessLeave(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(*testing.T) string{"classic": classicURL, "streams": streamsURL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := url(t)
			nodes := startNodes(t, three(u)[:2], presence.Options{Lease: shortLease})
			doomed := startChild(t, u)
			doomed.dial(t, "ann")
			for _, n := range nodes {
				n.heard(t, "join ann")
			}
			if err := doomed.cmd.Process.Kill(); err != nil { // SIGKILL
				t.Fatal(err)
			}
			for _, n := range nodes {
				n.heard(t, "leave ann")
				n.lists(t, "")
			}
		})
	}
}

// A process that is stopped is dead to the others, and alive again when it goes on.
// It does not take them for dead.
func TestAStoppedProcessComesBack(t *testing.T) {
	t.Parallel()
	url := classicURL(t)
	n := startNodes(t, three(url)[:1], presence.Options{Lease: shortLease})[0]
	leaves := make(chan int, 10)
	n.OnServerEvent("leaves", func(_ context.Context, e *core.ServerEvent) error {
		var count int
		err := e.Args.Decode(0, &count)
		leaves <- count
		return err
	})
	stopped := startChild(t, url)
	n.dial(t, "ann")
	n.heard(t, "join ann")
	stopped.dial(t, "bob")
	n.heard(t, "join bob")
	if err := stopped.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	n.heard(t, "leave bob")
	time.Sleep(shortLease / 2) // long dead: the next tick of its clock comes late
	if err := stopped.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	n.heard(t, "join bob")
	n.lists(t, "ann1 bob1")
	select {
	case <-leaves:
		t.Error("the process that was stopped says that somebody has left")
	default:
	}
}
