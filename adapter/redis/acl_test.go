package redis

import (
	"context"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// rights reads the ACL rules of a mode from the package documentation, so that the
// two cannot differ.
func rights(tb testing.TB, mode string) []string {
	tb.Helper()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(doc), "//\t# "+mode+"\n//\tACL SETUSER app on >secret ")
	if !ok {
		tb.Fatalf("doc.go has no rights for %q", mode)
	}
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Fields(line)
}

var aclModes = []struct {
	label, url string
}{
	{"redis", "redis://?key=socket.io"},
	{"redis, adaptive", "redis://?key=socket.io&subscribe=adaptive"},
	{"redis+sharded", "redis+sharded://?key=socket.io"},
	{"redis+streams", "redis+streams://?key=socket.io"},
	{"redis+streams, sharded", "redis+streams://?key=socket.io&sharded_pubsub=true"},
}

// grant makes the user app with rules.
func grant(tb testing.TB, s *testutil.RedisServer, rules []string) {
	tb.Helper()
	args := append([]string{"acl", "setuser", "app", "reset", "on", ">secret"}, rules...)
	if out := s.CLI(tb, args...); strings.TrimSpace(out) != "OK" {
		tb.Fatalf("%q: %s", args, out)
	}
}

func asApp(tb testing.TB, raw, addr string) string {
	tb.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		tb.Fatal(err)
	}
	u.Host, u.User = addr, url.UserPassword("app", "secret")
	return u.String()
}

// With the documented rights everything works.
func TestTheDocumentedRightsAreEnough(t *testing.T) {
	t.Parallel()
	for _, mode := range aclModes {
		t.Run(mode.label, func(t *testing.T) {
			t.Parallel()
			server := testutil.LocalRedis(t)
			rules := rights(t, mode.label)
			// The suite has a namespace for each of its cases.
			if i := slices.Index(rules, "&socket.io#/#*"); i >= 0 {
				rules = append(rules[:i:i], append(rules[i+1:], "allchannels")...)
			}
			grant(t, server, rules)
			adaptertest.Run(t, adaptertest.Harness{
				AllRooms: strings.HasPrefix(mode.url, "redis:"),
				Nodes:    openers(asApp(t, mode.url, server.Addr())),
			})
		})
	}
}

// Without any one of the documented rights something fails, and the error names it.
func TestEachDocumentedRightIsNeeded(t *testing.T) {
	t.Parallel()
	for _, mode := range aclModes {
		t.Run(mode.label, func(t *testing.T) {
			t.Parallel()
			server := testutil.LocalRedis(t)
			rules := rights(t, mode.label)
			grant(t, server, rules)
			if err := exercise(t, asApp(t, mode.url, server.Addr()), time.Second); err != "" {
				t.Fatalf("with all rights: %s", err)
			}
			for i, rule := range rules {
				grant(t, server, append(rules[:i:i], rules[i+1:]...))
				err := exercise(t, asApp(t, mode.url, server.Addr()), patience)
				if command, ok := strings.CutPrefix(rule, "+"); ok && !strings.Contains(err, "'"+command+"'") {
					t.Errorf("without %s: %q does not name it", rule, err)
				}
				if !strings.Contains(err, "NOPERM") || strings.Contains(err, "secret") {
					t.Errorf("without %s: error %q", rule, err)
				}
			}
		})
	}
}

func TestTheDocumentedRightsOnRedisCluster(t *testing.T) {
	t.Parallel()
	rc := testutil.LocalRedisCluster(t, 3)
	for _, mode := range aclModes {
		for _, s := range rc.Nodes {
			grant(t, s, append(rights(t, mode.label), "+cluster|slots"))
		}
		raw := asApp(t, mode.url, rc.Addrs()[0]) + "&cluster=true"
		if err := exercise(t, raw, 100*time.Millisecond); err != "" {
			t.Errorf("%s: %s", mode.label, err)
		}
		nodes := openNodes(t, openers(raw), 2)
		flows(t, nodes[0], nodes[1])
		flows(t, nodes[1], nodes[0])
		for _, n := range nodes {
			n.close()
		}
	}
}

func TestTheDocumentedRightsOverSentinel(t *testing.T) {
	t.Parallel()
	g := testutil.LocalRedisSentinel(t)
	grant(t, g.Sentinel, []string{"+subscribe", "+sentinel|get-master-addr-by-name", "+sentinel|sentinels", "&+*"})
	for _, mode := range aclModes {
		grant(t, g.Master, rights(t, mode.label))
		raw := asApp(t, mode.url, g.Sentinel.Addr()) + "&sentinel_username=app&sentinel_password=secret&master=" + g.Name
		if err := exercise(t, raw, 100*time.Millisecond); err != "" {
			t.Errorf("%s: %s", mode.label, err)
		}
		nodes := openNodes(t, openers(raw), 2)
		flows(t, nodes[0], nodes[1])
		for _, n := range nodes {
			n.close()
		}
	}
}

// openers opens nodes of one deployment.
func openers(rawURL string) func(tb testing.TB, n int) []adapter.Provider {
	return func(tb testing.TB, n int) []adapter.Provider {
		nodes := make([]adapter.Provider, n)
		for i := range nodes {
			var err error
			if nodes[i], err = adapter.Open(context.Background(), rawURL); err != nil {
				tb.Fatal(err)
			}
		}
		return nodes
	}
}

// exercise uses all a mode has and returns an error, empty when there is none within
// a time.
func exercise(tb testing.TB, rawURL string, within time.Duration) string {
	tb.Helper()
	p, err := adapter.Open(context.Background(), rawURL)
	if err != nil {
		return err.Error()
	}
	defer closeNode(tb, p)
	health := func() string { return p.(adapter.HealthReporter).Health().LastError }
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	a, err := p.Open(ctx, adaptertest.NewHost("/", "a"))
	if err != nil {
		return err.Error()
	}
	s := adaptertest.NewSocket("a")
	a.Join(s, "a", "room")
	if _, err := a.ServerCount(context.Background()); err != nil {
		return err.Error()
	}
	_ = a.Broadcast(packetOf(`["x"]`), adapter.Target{Rooms: []string{"room"}})
	_ = a.ServerSideEmit(packetOf(`["x"]`))
	if text := health(); text != "" {
		return text
	}
	poll(tb, "all is published, or not", func() bool { return p.(*cluster.Provider).Stats().QueueMessages == 0 })
	if err := a.Close(ctx); err != nil {
		return err.Error()
	}
	deadline := time.After(within)
	for {
		if text := health(); text != "" {
			return text
		}
		select {
		case <-deadline:
			return ""
		case <-time.After(20 * time.Millisecond):
		}
	}
}
