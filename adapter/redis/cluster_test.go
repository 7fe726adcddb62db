package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// One Redis Cluster serves all adapters in turn, to save its start.
func TestOnRedisCluster(t *testing.T) {
	t.Parallel()
	rc := testutil.LocalRedisCluster(t, 3)
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) {
			t.Parallel()
			start := func(id string) *node {
				client := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: rc.Addrs()})
				return startVariant(t, variant, client, "k-"+variant, "/", id)
			}
			a, b := start("a"), start("b")
			flows(t, a, b)
			flows(t, b, a)
			counted(t, 2, a, b)
			manyRooms(t, a, b)
		})
	}
}

func counted(t *testing.T, want int, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		poll(t, fmt.Sprintf("%d nodes are counted", want), func() bool {
			got, err := n.a.ServerCount(context.Background())
			return err == nil && got == want
		})
	}
}

// manyRooms checks that rooms whose channels lie on different masters are heard,
// and are not any more after a leave.
func manyRooms(t *testing.T, a, b *node) {
	t.Helper()
	rooms := make([]string, 50)
	for i := range rooms {
		rooms[i] = fmt.Sprintf("room-%d", i)
	}
	b.a.Join(b.sock, rooms...)
	for _, room := range rooms {
		heard(t, a, b, room)
	}
	b.a.Leave(b.sock, rooms...)
	for _, room := range rooms {
		_ = a.a.Broadcast(packetOf(`["left"]`), adapter.Target{Rooms: []string{room}})
	}
	flows(t, a, b)
	if b.got("left") {
		t.Error("a room that was left is still heard")
	}
}

// heard waits until a broadcast to a room arrives; the subscription may take a
// moment.
func heard(t *testing.T, from, to *node, room string) time.Duration {
	t.Helper()
	return poll(t, "the room "+room+" is heard", func() bool {
		event := fmt.Sprintf("in-%s-%d", room, serial.Add(1))
		_ = from.a.Broadcast(packetOf(`["`+event+`"]`), adapter.Target{Rooms: []string{room}})
		for range 20 {
			if to.got(event) {
				return true
			}
			<-time.After(2 * time.Millisecond)
		}
		return false
	})
}

func TestChannelsFollowTheirSlots(t *testing.T) {
	t.Parallel()
	rc := testutil.LocalRedisCluster(t, 3)
	start := func(id string) *node {
		return startVariant(t, "sharded", goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: rc.Addrs()}), "k", "/", id)
	}
	a, b := start("a"), start("b")
	b.a.Join(b.sock, "moving")
	heard(t, a, b, "moving")
	slot := slotOf("k#/#late#")
	rc.MoveSlot(t, slot, rc.Nodes[(slices.Index(rc.Nodes, rc.Owner(t, slot))+1)%3])
	b.a.Join(b.sock, "late") // at the old owner, which refuses
	t.Logf("a room whose slot had moved is heard after %v", heard(t, a, b, "late").Round(time.Millisecond))
	for _, channel := range []string{"k#/#moving#", "k#/#"} {
		slot := slotOf(channel)
		from := rc.Owner(t, slot)
		to := rc.Nodes[0]
		if to == from {
			to = rc.Nodes[1]
		}
		before := b.gapsOf(GapMoved)
		rc.MoveSlot(t, slot, to)
		poll(t, "the move is reported", func() bool { return b.gapsOf(GapMoved) > before })
		took := heard(t, a, b, "moving")
		everyone := poll(t, "the namespace is heard", func() bool {
			event := fmt.Sprintf("all-%d", serial.Add(1))
			_ = a.a.Broadcast(packetOf(`["`+event+`"]`), adapter.Target{})
			for range 20 {
				if b.got(event) {
					return true
				}
				<-time.After(2 * time.Millisecond)
			}
			return false
		})
		counted(t, 2, a, b)
		t.Logf("%s moved: room heard %v, namespace %v after the report", channel, took.Round(time.Millisecond), everyone.Round(time.Millisecond))
	}
	before := b.gapsOf(GapMoved)
	owner := rc.Owner(t, slotOf("k#/#moving#"))
	owner.CLI(t, "cluster", "setslot", strconv.Itoa(slotOf("k#/#moving#")), "node", strings.TrimSpace(owner.CLI(t, "cluster", "myid")))
	t.Logf("a room whose owner ended the subscription is heard after %v", heard(t, a, b, "moving").Round(time.Millisecond))
	poll(t, "the gap is reported", func() bool { return b.gapsOf(GapMoved) > before })
	if h := b.p.Health(); !h.Up || h.Reconnects != 0 {
		t.Errorf("connections were replaced: %+v", h)
	}
}

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	g := testutil.LocalRedisSentinel(t)
	nodes := make(map[string][2]*node)
	for _, variant := range variants {
		start := func(id string) *node {
			client := goredis.NewFailoverClient(&goredis.FailoverOptions{MasterName: g.Name, SentinelAddrs: []string{g.Sentinel.Addr()}})
			return startVariant(t, variant, client, "k-"+variant, "/", id)
		}
		nodes[variant] = [2]*node{start("a"), start("b")}
		flows(t, nodes[variant][0], nodes[variant][1])
	}
	g.Master.Kill(t)
	began := time.Now()
	for variant, pair := range nodes {
		poll(t, "the loss is noticed", func() bool { return !pair[0].up() || pair[0].p.Health().Reconnects > 0 })
		flows(t, pair[0], pair[1])
		flows(t, pair[1], pair[0])
		t.Logf("%s: flows %v after the master died", variant, time.Since(began).Round(time.Millisecond))
	}
}

func TestSlots(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{
		"": 0, "foo": 12182, "123456789": 12739, "{foo}bar": 12182, "a{foo}b{x}": 12182, "{}foo": 9500, "{foo": 13308,
	} {
		if got := slotOf(name); got != want {
			t.Errorf("%q has slot %d, want %d", name, got, want)
		}
	}
}
