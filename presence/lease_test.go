package presence

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// settle lets everything travel that is on its way.
func settle() {
	time.Sleep(time.Second) // of the bubble's clock
	synctest.Wait()
}

func TestAMemberJoinsWithItsFirstSocketAndLeavesWithItsLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fabric)
		a, b, c := f.add(t, Options{Event: "presence"}), f.add(t, Options{}), f.add(t, Options{})
		a.put(t, "s1", "lobby", "ann", "phone")
		settle()
		b.put(t, "s2", "lobby", "ann", "laptop")
		settle()
		for _, n := range f.nodes {
			equal(t, "heard", n.heard(), `join lobby/ann "phone"; update lobby/ann "laptop"`)
			equal(t, "members", n.who(t, "lobby"), `ann"laptop" s1@n0 s2@n1`)
		}
		a.untrackAll(conn("s1"))
		settle()
		equal(t, "heard", c.heard(), "")
		b.untrack(conn("s2"), "lobby")
		settle()
		for _, n := range f.nodes {
			equal(t, "heard", n.heard(), `leave lobby/ann "laptop"`)
			equal(t, "members", n.who(t, "lobby"), "")
			equal(t, "left over", fmt.Sprint(n.Stats().Members, n.Stats().Sockets), "0 0")
		}
		equal(t, "clients of a", strings.Join(a.told, "; "), `presence join lobby ann "phone"; `+
			`presence update lobby ann "laptop"; presence leave lobby ann "laptop"`)
		equal(t, "clients of b, without Options.Event", len(b.told), 0)
	})
}

func TestTheMembersOfADeadNodeLeaveAfterItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fabric)
		a, b, c := f.add(t, Options{}), f.add(t, Options{}), f.add(t, Options{})
		a.put(t, "s1", "lobby", "ann", 1)
		settle()
		b.put(t, "s2", "lobby", "bob", 2)
		b.put(t, "s3", "lobby", "ann", 3)
		time.Sleep(10 * lease) // beats keep them
		synctest.Wait()
		equal(t, "members", c.who(t, "lobby"), "ann3 s1@n0 s3@n1; bob2 s2@n1")
		a.heard()
		b.die(t)
		time.Sleep(lease / 2)
		synctest.Wait()
		equal(t, "within the lease", a.heard(), "")
		time.Sleep(lease)
		synctest.Wait()
		for _, n := range []*fakeNode{a, c} {
			equal(t, "members after the lease", n.who(t, "lobby"), "ann1 s1@n0")
			equal(t, "expired", n.Stats().Expired, 1)
		}
		got := a.heard()
		if got != "leave lobby/bob 2; update lobby/ann 1" && got != "update lobby/ann 1; leave lobby/bob 2" {
			t.Errorf("heard %q", got)
		}
	})
}

func TestANodeThatCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fabric)
		a, b := f.add(t, Options{}), f.add(t, Options{})
		b.put(t, "s2", "lobby", "bob", nil)
		settle()
		b.close(t)
		synctest.Wait()
		equal(t, "heard", a.heard(), "join lobby/bob null; leave lobby/bob null")
		equal(t, "nodes", a.Stats().Nodes, 1)
		if _, err := b.List(context.Background(), "lobby"); err != ErrClosed {
			t.Error(err)
		}
		if err := b.track(conn("s"), "lobby", "x", nil); err != ErrClosed {
			t.Error(err)
		}
	})
}
