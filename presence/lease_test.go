package presence

import (
	"context"
	"fmt"
	"log/slog"
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

func TestGraceHidesAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fabric)
		a, b := f.add(t, Options{Grace: 5 * time.Second}), f.add(t, Options{Grace: 5 * time.Second})
		a.put(t, "s1", "lobby", "ann", 1)
		settle()
		a.untrackAll(conn("s1"))
		settle()
		equal(t, "members meanwhile", b.who(t, "lobby"), "ann1")
		time.Sleep(3 * time.Second)
		b.put(t, "s2", "lobby", "ann", 1) // on another node
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, n := range f.nodes {
			equal(t, "heard", n.heard(), "join lobby/ann 1")
		}
		b.untrackAll(conn("s2"))
		time.Sleep(4 * time.Second)
		synctest.Wait()
		equal(t, "within the grace", a.heard(), "")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		for _, n := range f.nodes {
			equal(t, "after the grace", n.heard(), "leave lobby/ann 1")
			equal(t, "members", n.Stats().Members, 0)
		}
	})
}

// A process that does not run for longer than the lease has heard nobody, and must
// not take the others for dead.
func TestAProcessThatWasStoppedKeepsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fabric)
		a, b := f.add(t, Options{}), f.add(t, Options{})
		b.put(t, "s2", "lobby", "bob", 2)
		settle()
		now := time.Now()
		a.mu.Lock()
		defer a.mu.Unlock()
		a.Presence.mu.Lock()
		defer a.Presence.mu.Unlock()
		a.superviseLocked(now.Add(2*lease), now) // the loop has not run meanwhile
		equal(t, "others after a stop", len(a.peers), 1)
		a.superviseLocked(now.Add(4*lease), now.Add(4*lease-time.Second))
		equal(t, "others after silence", len(a.peers), 0)
	})
}

func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fabric)
		a, b := f.add(t, Options{MaxSockets: 3, MaxMeta: 10}), f.add(t, Options{MaxTotal: 3})
		for i := range 3 {
			a.put(t, fmt.Sprint("s", i), "lobby", fmt.Sprint("user", i), i)
		}
		a.put(t, "s2", "lobby", "user2", "new") // no new socket
		for what, err := range map[string]error{
			"one socket more": a.track(conn("s3"), "lobby", "ann", nil),
			"long meta":       a.track(conn("s2"), "lobby", "ann", "123456789"),
			"long key":        a.track(conn("s2"), "lobby", strings.Repeat("x", maxKey+1), nil),
			"bad key":         a.track(conn("s2"), "lobby", "\xff", nil),
			"bad meta":        a.track(conn("s2"), "lobby", "ann", func() {}),
		} {
			if err == nil {
				t.Errorf("%s: no error", what)
			}
		}
		settle()
		b.untrackAll(conn("none"))
		equal(t, "members", b.Stats().Sockets, 3)
		c := f.add(t, Options{})
		c.put(t, "t", "lobby", "cleo", nil)
		settle()
		equal(t, "members at the bound", b.Stats().Sockets, 3)
		equal(t, "refused", b.Stats().Refused, 1)
		equal(t, "elsewhere", a.Stats().Sockets, 4)
		if err := b.track(conn("u"), "lobby", "bob", nil); err != ErrTooMany {
			t.Errorf("at MaxTotal: %v", err)
		}
		a.untrackAll(conn("s0"))
		a.untrackAll(conn("s1"))
		time.Sleep(lease)
		synctest.Wait()
		equal(t, "when there is room again", b.who(t, "lobby"), `cleonull t@n2; user2"new" s2@n0`)
	})
	for _, o := range []Options{{Lease: time.Millisecond}, {Grace: -1}, {MaxTotal: -1}} {
		if _, err := newPresence(nil, "", o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

func TestAListenerThatPanicsOrIsSlowHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fabric)
		a, b := f.add(t, Options{Logger: slog.New(slog.DiscardHandler)}), f.add(t, Options{})
		gate := make(chan struct{})
		cancel := a.OnJoin(func(Event) { panic("listener") })
		a.OnLeave(func(Event) { <-gate })
		a.put(t, "s1", "lobby", "ann", nil)
		settle()
		a.untrackAll(conn("s1"))
		settle() // its listener stands still from here on
		for range 1000 {
			a.put(t, "s1", "lobby", "bob", nil)
			a.untrackAll(conn("s1"))
		}
		a.put(t, "s1", "lobby", "bob", nil)
		time.Sleep(3 * lease)
		synctest.Wait()
		equal(t, "members", b.who(t, "lobby"), "bobnull s1@n0")
		equal(t, "waiting for the listener", len(a.dirty), 1)
		cancel()
		close(gate)
		settle()
		equal(t, "heard", a.heard(), "join lobby/ann null; leave lobby/ann null; join lobby/bob null")
		equal(t, "panics", a.Stats().Panics, 1)
	})
}

func TestMessagesNobodyUnderstandsChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fabric)
		a := f.add(t, Options{})
		for _, text := range []string{"", "null", "[]", `{"v":2,"f":"x","k":"beat"}`, `{"v":1,"k":"beat"}`,
			`{"v":1,"f":"` + a.self.id + `","k":"bye"}`, `{"v":1,"f":"x","k":"bye"}`, `{"v":1,"f":"x","k":"delta","q":-1}`} {
			a.receive([]byte(text))
		}
		settle()
		equal(t, "nodes", a.Stats().Nodes, 1)
		a.receive([]byte(`{"v":1,"f":"x","k":"something new","q":1}`))
		a.receive([]byte(`{"v":1,"f":"x","k":"delta","q":1,"d":[1,2,3]}`))
		a.receive([]byte(`{"v":1,"f":"x","k":"state","q":9,"p":1,"z":true}`))
		settle()
		equal(t, "nodes", a.Stats().Nodes, 2)
		equal(t, "members", a.Stats().Members, 0)
	})
}
