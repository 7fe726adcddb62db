package redis

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// One emitter's messages take three kinds of channels: a room's, the namespace's
// and the one for requests, which ack broadcasts use.
func TestOneNodesEmitsKeepTheirOrderAcrossChannels(t *testing.T) {
	t.Parallel()
	addr, key := testutil.SharedRedis(t).Addr(), testutil.Prefix(t)
	a := startNode(t, addr, key, "/", "a")
	b := startNode(t, addr, key, "/", "b")
	flows(t, a, b)
	b.sock.SetAnswer(func(*adapter.Packet) *adapter.Packet { return packetOf(`[1]`) })
	numbered := func() (list []string) {
		for _, r := range b.sock.Received() {
			if text := string(r.Packet.Data); strings.HasPrefix(text, `["n",`) {
				list = append(list, text)
			}
		}
		return list
	}
	const n = 3000
	targets := []adapter.Target{{Rooms: []string{"all"}}, {}, {Rooms: []string{"all", "b"}}}
	for i := range n {
		p := packetOf(fmt.Sprintf(`["n",%d]`, i))
		if i%100 != 99 {
			send(a, p, targets[i%3])
			continue
		}
		for _, err := range a.a.BroadcastWithAck(t.Context(), p, adapter.Target{Rooms: []string{"b"}}) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	poll(t, "all have arrived", func() bool { return len(numbered()) >= n })
	for i, got := range numbered() {
		if want := fmt.Sprintf(`["n",%d]`, i); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}

func send(from *node, p *adapter.Packet, t adapter.Target) {
	for from.a.Broadcast(p, t) != nil {
		runtime.Gosched()
	}
}
