package core_test

import (
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// redisWires are the adapters whose envelopes carry what Node.js does not know.
var redisWires = []string{"redis", "redis+sharded", "redis+streams"}

// onRedis starts a server on an adapter at addr that shares key with its peers.
func onRedis(t *testing.T, scheme, addr, key string, more url.Values) *rig {
	t.Helper()
	q := url.Values{"key": {key}}
	if scheme == "redis+streams" {
		q.Set("stream", key)
	}
	for name, values := range more {
		q[name] = values
	}
	return start(t, &core.Options{AdapterURL: (&url.URL{Scheme: scheme, Host: addr, RawQuery: q.Encode()}).String()})
}

// acquainted waits until servers count each other.
func acquainted(t *testing.T, nodes ...*rig) {
	t.Helper()
	for _, r := range nodes {
		eventually(t, "the nodes know of each other", func() bool {
			n, err := r.ServerCount(t.Context())
			return err == nil && n == len(nodes)
		})
	}
}

// What one node emits with a key replaces what waits at another one.
func TestKeepLatestCrossesNodes(t *testing.T) {
	t.Parallel()
	for _, scheme := range redisWires {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			addr, key := testutil.SharedRedis(t).Addr(), testutil.Prefix(t)
			owner, sender := onRedis(t, scheme, addr, key, nil), onRedis(t, scheme, addr, key, nil)
			acquainted(t, owner, sender)
			p := owner.pending(t)
			if err := p.Join("traders"); err != nil {
				t.Fatal(err)
			}
			ops := map[string]core.BroadcastOperator{
				"room": sender.To("traders"), "all": sender.To(), "socket": sender.To(p.ID()),
			}
			const each = 20
			for i := range each {
				for name, op := range ops {
					if err := op.KeepLatest(name).Emit(name, i, []byte{byte(i)}); err != nil {
						t.Fatal(err)
					}
					if err := op.KeepLatest("").Emit("plain", name, i); err != nil {
						t.Fatal(err)
					}
				}
			}
			want := uint64(len(ops) * (each - 1))
			eventually(t, "the older events are replaced", func() bool { return owner.Stats().Engine.Conflated == want })
			var got strings.Builder
			for end := 0; end < len(ops); end = strings.Count(got.String(), fmt.Sprintf(`",%d]`, each-1)) {
				got.WriteString(p.fetch(t) + "\x1e")
			}
			for name := range ops {
				event := fmt.Sprintf(`451-["%s",`, name)
				if n := strings.Count(got.String(), event); n != 1 {
					t.Errorf("%d events for %s, want the last", n, name)
				}
				if !strings.Contains(got.String(), fmt.Sprintf("%s%d,", event, each-1)) {
					t.Errorf("not the last for %s: %q", name, got.String())
				}
			}
			equal(t, "events without a key", strings.Count(got.String(), `42["plain",`), len(ops)*each)
			equal(t, "Conflated", owner.Stats().Engine.Conflated, want)
		})
	}
}

// A node that may have missed something cuts its clients, if that is its policy, and
// they come back by themselves. Those of a node that missed nothing stay.
func TestAGapCutsTheClientsOfItsNode(t *testing.T) {
	t.Parallel()
	for _, scheme := range redisWires[:2] { // what is in a stream is not missed
		for policy, cut := range map[string]bool{"disconnect": true, "notify": false} {
			t.Run(scheme+" "+policy, func(t *testing.T) {
				t.Parallel()
				redis, key := testutil.LocalRedis(t), testutil.Prefix(t)
				proxy := testutil.NewProxy(t, redis.Addr())
				policy := url.Values{"gap_policy": {policy}}
				shaky, steady := onRedis(t, scheme, proxy.Addr(), key, policy), onRedis(t, scheme, redis.Addr(), key, policy)
				acquainted(t, shaky, steady)
				client := shaky.connect(t, testutil.ClientOptions{Reconnect: true})
				polling := shaky.connect(t, testutil.ClientOptions{Reconnect: true, Transports: []string{"polling"}})
				other := steady.connect(t, testutil.ClientOptions{Reconnect: true})
				clients := []*testutil.Client{client, polling, other}
				first := []string{client.ID(), polling.ID()}

				proxy.Reset()
				eventually(t, "the gap is over", func() bool {
					h := shaky.Stats().Adapter
					return h.Up && h.Reconnects > 0
				})
				connects := 1
				if cut {
					connects = 2
				}
				for i, c := range clients[:2] {
					eventually(t, "the client is where it belongs", func() bool { return c.Connects() == connects && c.Connected() })
					equal(t, "a new session", c.ID() != first[i], cut)
					if cut {
						equal(t, "reason", c.Reason(), "transport close")
						shaky.seated(t, c.Socket)
					}
				}
				acquainted(t, shaky, steady)
				if err := steady.Emit("news", 1); err != nil {
					t.Fatal(err)
				}
				for _, c := range clients {
					equal(t, "news", c.Expect(t, "news").At(0), any(1.0))
				}
				equal(t, "connections of the client that missed nothing", other.Connects(), 1)
				equal(t, "connections of a client", client.Connects(), connects)
			})
		}
	}
}

// An adapter that is opened by URL logs where its server does.
func TestTheAdapterLogsWhereTheServerDoes(t *testing.T) {
	t.Parallel()
	for _, scheme := range redisWires {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			server := testutil.LocalRedis(t)
			var log syncBuffer
			start(t, &core.Options{AdapterURL: scheme + "://" + server.Addr(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
			server.Kill(t)
			eventually(t, "the loss is logged", func() bool {
				return slices.ContainsFunc(log.lines(), func(line string) bool { return strings.Contains(line, "event=adapter.down") })
			})
		})
	}
}
