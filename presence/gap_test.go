package presence

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatWasMissedIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fabric)
		a, b, c := f.add(t, Options{}), f.add(t, Options{}), f.add(t, Options{})
		a.put(t, "s0", "hall", "zoe", 0)
		settle()
		f.setLose(func(_, to *fakeNode, _ []byte) bool { return to == b })
		a.put(t, "s1", "lobby", "ann", 1)
		settle()
		f.setLose(nil)
		a.put(t, "s2", "lobby", "bob", 2) // tells b that it has missed something
		settle()
		equal(t, "members", b.who(t, "lobby"), "ann1 s1@n0; bob2 s2@n0")
		equal(t, "gaps of b", b.Stats().Gaps, 1)
		equal(t, "gaps of c", c.Stats().Gaps, 0)
		equal(t, "heard by c, which got some twice", c.heard(), "join hall/zoe 0; join lobby/ann 1; join lobby/bob 2")
		equal(t, "snapshots", a.Stats().Snapshots, 0)

		f.setLose(func(_, to *fakeNode, _ []byte) bool { return to == b })
		a.untrackAll(conn("s1"))
		settle()
		f.setLose(nil)
		time.Sleep(lease / 3) // nothing happens any more: the beat tells
		settle()
		equal(t, "members after the beat", b.who(t, "lobby"), "bob2 s2@n0")
	})
}

func TestANewNodeGetsEverythingAndListWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fabric)
		a, b := f.add(t, Options{}), f.add(t, Options{})
		const members = 3000 // more than what is kept to be sent again, and than one message takes
		for i := range members {
			a.put(t, fmt.Sprint("s", i), "lobby", fmt.Sprint("user", i), strings.Repeat("x", 100))
		}
		b.put(t, "t", "lobby", "zoe", nil)
		settle()
		c := f.add(t, Options{})
		list, err := c.List(context.Background(), "lobby") // at once
		if err != nil || len(list) != members+1 {
			t.Errorf("%d members, %v", len(list), err)
		}
		equal(t, "snapshots", a.Stats().Snapshots, 1)
		if n := a.kinds(kindState); n < members/maxBatch || n > 3*members/maxBatch {
			t.Errorf("the state came in %d messages", n)
		}
		settle()
		f.sameEverywhere(t)
		equal(t, "joins heard by b", strings.Count(b.heard(), "join"), members+1)
		equal(t, "joins heard by c", strings.Count(c.heard(), "join"), members+1)

		silent := f.add(t, Options{})
		f.setLose(func(_, to *fakeNode, _ []byte) bool { return to == silent })
		lonely := f.add(t, Options{})
		f.setLose(func(_, to *fakeNode, _ []byte) bool { return to == lonely })
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := lonely.List(ctx, "lobby"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("List of a node that hears nothing: %v", err)
		}
		if list, err := lonely.List(context.Background(), "lobby"); err != nil || len(list) != 0 {
			t.Errorf("List after a while: %d, %v", len(list), err)
		}
	})
}

func TestAStateOfWhichPartsAreLostIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fabric)
		a := f.add(t, Options{})
		for i := range 4000 {
			a.put(t, fmt.Sprint("s", i), "lobby", fmt.Sprint("user", i), strings.Repeat("x", 100))
		}
		settle()
		lost := 0
		f.setLose(func(_, to *fakeNode, payload []byte) bool {
			part := []string{`"p":3,`, `"z":true`}[min(lost, 1)] // one in the middle, then the last
			if lost == 2 || !strings.Contains(string(payload), part) {
				return false
			}
			lost++
			return true
		})
		b := f.add(t, Options{})
		time.Sleep(3 * lease)
		settle()
		equal(t, "lost", lost, 2)
		f.sameEverywhere(t)
		equal(t, "joins heard by b", strings.Count(b.heard(), "join"), 4000)
	})
}

func TestAPartitionHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fabric)
		a, b, c := f.add(t, Options{}), f.add(t, Options{}), f.add(t, Options{})
		a.put(t, "s1", "lobby", "ann", 1)
		c.put(t, "s3", "lobby", "cleo", 3)
		settle()
		apart := func(from, to *fakeNode, _ []byte) bool { return from == c || to == c }
		f.setLose(apart)
		b.put(t, "s2", "lobby", "bob", 2)
		c.put(t, "s4", "lobby", "ann", 4)
		c.untrackAll(conn("s3"))
		time.Sleep(2 * lease)
		synctest.Wait()
		equal(t, "one side", a.who(t, "lobby"), "ann1 s1@n0; bob2 s2@n1")
		equal(t, "the other", c.who(t, "lobby"), "ann4 s4@n2")
		for _, n := range f.nodes {
			n.heard()
		}
		f.setLose(nil)
		time.Sleep(lease)
		synctest.Wait()
		f.sameEverywhere(t)
		equal(t, "members", a.who(t, "lobby"), "ann4 s1@n0 s4@n2; bob2 s2@n1")
		equal(t, "heard by a", a.heard(), "update lobby/ann 4")
		equal(t, "heard by c", c.heard(), "join lobby/bob 2")
	})
}

// Nodes track, lose messages, die, come and are cut off at random. In the end all
// living nodes know the same, which is what was tracked, and what the listeners
// heard adds up to it, with no join or leave twice.
func TestNodesConvergeWhateverIsLost(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) { converge(t, seed) })
	}
}

func converge(t *testing.T, seed uint64) {
	dice := rand.New(rand.NewPCG(seed, 1))
	lossDice := rand.New(rand.NewPCG(seed, 2)) // guarded by the fabric's lock
	grace := time.Duration(dice.IntN(2)) * 3 * time.Second
	f := new(fabric)
	for range 3 {
		f.add(t, Options{Grace: grace})
	}
	f.setLose(func(_, _ *fakeNode, _ []byte) bool { return lossDice.IntN(5) == 0 })
	for step := range 300 {
		n := f.nodes[dice.IntN(len(f.nodes))]
		if n.down {
			continue
		}
		id, room := conn(fmt.Sprint(n.name, "-", dice.IntN(8))), fmt.Sprint("room", dice.IntN(3))
		switch k := dice.IntN(100); {
		case k < 50:
			n.put(t, string(id), room, fmt.Sprint("user", dice.IntN(6)), dice.IntN(3))
		case k < 75:
			n.untrack(id, room)
		case k < 85:
			n.untrackAll(id)
		case k < 95:
			time.Sleep(time.Duration(dice.IntN(3000)) * time.Millisecond)
		case k < 97 && step > 100 && len(f.nodes) < 6:
			f.add(t, Options{Grace: grace})
		case k < 98 && len(f.nodes) > 3 && n != f.nodes[0]:
			n.die(t)
		}
	}
	f.setLose(nil)
	time.Sleep(4 * lease)
	synctest.Wait()
	f.sameEverywhere(t)
	for _, n := range f.nodes {
		if !n.down {
			n.addsUp(t, seed)
		}
	}
}

// addsUp compares what the listeners heard with the members.
func (n *fakeNode) addsUp(t *testing.T, seed uint64) {
	t.Helper()
	known := map[string]bool{}
	n.mu.Lock()
	for _, e := range n.events {
		kind, who, _ := strings.Cut(e, " ")
		who, _, _ = strings.Cut(who, " ")
		if (kind == "join") == known[who] {
			t.Errorf("seed %d: node %s heard a %s too many of %s", seed, n.name, kind, who)
		}
		known[who] = kind != "leave"
		if !known[who] {
			delete(known, who)
		}
	}
	n.mu.Unlock()
	n.Presence.mu.Lock()
	defer n.Presence.mu.Unlock()
	for key := range n.users {
		if !known[key.room+"/"+key.key] {
			t.Errorf("seed %d: node %s lists %v and heard nothing of it", seed, n.name, key)
		}
	}
	equal(t, "members heard of", len(known), len(n.users))
	equal(t, "messages not understood", n.stats.BadMessages, 0)
}

// What came and went before a node knew of another is not news to it.
func TestANewNodeGetsTheStateAndNotTheHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fabric)
		a := f.add(t, Options{})
		a.put(t, "s1", "lobby", "ann", 1)
		settle()
		a.untrackAll(conn("s1"))
		settle()
		deltas := a.kinds(kindDelta)
		b := f.add(t, Options{})
		settle()
		equal(t, "snapshots", a.Stats().Snapshots, 1)
		equal(t, "changes sent again", a.kinds(kindDelta)-deltas, 0)
		equal(t, "heard by b", b.heard(), "")
	})
}
