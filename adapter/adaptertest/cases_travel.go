package adaptertest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/socketfleet/socketfleet/adapter"
)

// travelers lose their connection again and again, with some of what was sent to
// them on the way, and come back to any node, while all nodes emit. Each must get
// every event once, and all in one order where nodes have no orders of their own.
func travelers(t *testing.T, w *shelter) {
	const clients, senders, events = 4, 3, 150
	var emitting, traveling sync.WaitGroup
	var done atomic.Bool
	all := make([]*traveler, clients)
	for i := range all {
		all[i] = &traveler{guest: w.arrive(i%len(w.nodes), "all"), rng: rand.New(rand.NewPCG(uint64(i), 7))}
		traveling.Go(func() {
			for over := false; !over && !t.Failed(); {
				over = done.Load() // one last time, with everything sent
				all[i].travel(t)
			}
		})
	}
	for i := range senders {
		emitting.Go(func() {
			for n := range events {
				p := packet(fmt.Sprintf(`["%d.%d"]`, i, n))
				if err := w.nodes[i%len(w.nodes)].a.Broadcast(p, to("all")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	emitting.Wait()
	w.settle()
	done.Store(true)
	traveling.Wait()
	for i, c := range all {
		c.poll(t, senders*events)
		inOrder(t, c.got)
		if !w.orders && !slices.Equal(c.got, all[0].got) {
			t.Errorf("clients 0 and %d got other events, or another order:\n%s\n%s", i, all[0].got, c.got)
		}
	}
}

// inOrder checks that the events of every sender come in its order, none twice.
func inOrder(t *testing.T, got []string) {
	t.Helper()
	next := make(map[string]int)
	for _, e := range got {
		sender, n, _ := strings.Cut(e, ".")
		if n != fmt.Sprint(next[sender]) {
			t.Fatalf("event %s instead of %d", e, next[sender])
		}
		next[sender]++
	}
}

type traveler struct {
	*guest
	rng *rand.Rand
	got []string
}

// keepUp takes what has been sent so far, but for the last lost events.
func (c *traveler) keepUp(lost int) {
	list := c.s.Received()
	for ; c.seen < len(list)-lost; c.seen++ {
		var args []string
		if json.Unmarshal(list[c.seen].Packet.Data, &args) != nil || len(args) != 2 {
			c.w.t.Errorf("got %s", list[c.seen].Packet.Data)
			return
		}
		c.got = append(c.got, args[0])
		c.offset = args[1]
	}
}

func (c *traveler) poll(t *testing.T, n int) {
	t.Helper()
	c.w.poll(fmt.Sprintf("%s has got everything", c.id), func() bool { c.keepUp(0); return len(c.got) >= n })
	if len(c.got) != n {
		t.Errorf("%s got %d events, want %d", c.id, len(c.got), n)
	}
}

// travel ends one connection, noticed or not, and begins another.
func (c *traveler) travel(t *testing.T) {
	lost := c.rng.IntN(6)
	c.s.Close()
	c.keepUp(lost)
	if !c.w.keepers || c.rng.IntN(3) > 0 {
		c.lose()
	} else {
		c.w.written(c.node) // half-open: its node does not notice
	}
	i := c.rng.IntN(len(c.w.nodes))
	for try := 0; ; try++ {
		claim, err := c.claim(i)
		if err != nil {
			t.Errorf("%s with offset %q: %v", c.id, c.offset, err)
			return
		}
		if try == 0 && c.rng.IntN(4) == 0 { // it was not to be
			claim.Release()
			c.w.written(i)
			continue
		}
		before := adapter.SocketID(c.id)
		if err := c.resume(i, claim); err != nil || before != claim.Session().ID {
			t.Errorf("resume: %v", err)
			return
		}
		if c.rng.IntN(2) == 0 {
			claim.Confirm()
		}
		return
	}
}
