package presence

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// perMember is what a member of one socket may take, in bytes, on the node it is
// connected to and on others. The ceiling leaves room: measured were 507 and 391.
const perMember = 900

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// busy reports whether something waits to be sent or told.
func (n *fakeNode) busy() bool {
	n.Presence.mu.Lock()
	defer n.Presence.mu.Unlock()
	return n.outbox.waiting() || len(n.dirty) > 0
}

// forgetSent frees what only the tests keep.
func (n *fakeNode) forgetSent() {
	n.f.mu.Lock()
	n.sent = nil
	n.f.mu.Unlock()
	for _, x := range n.f.nodes {
		x.heard()
	}
}

func TestWhatAMemberTakes(t *testing.T) { // not parallel: it measures
	const members = 20_000
	f := new(fabric)
	a := f.add(t, Options{Lease: time.Hour})
	fill := func() {
		for i := range members {
			id := fmt.Sprintf("%020d", i)
			a.put(t, id, fmt.Sprint("room-", i/20), "user-"+id[10:], map[string]string{"name": id[10:]})
		}
	}
	before := heap()
	fill()
	within := func(ok func() bool) {
		for deadline := time.Now().Add(time.Minute); !ok() && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
	}
	within(func() bool { return !a.busy() })
	a.forgetSent()
	own := float64(heap()-before) / members
	before = heap()
	b := f.add(t, Options{Lease: time.Hour})
	within(func() bool { return b.Stats().Sockets == members })
	a.forgetSent()
	other := float64(heap()-before) / members
	t.Logf("%.0f bytes per member on its own node, %.0f on another", own, other)
	if b.Stats().Sockets != members || own > perMember || other > perMember {
		t.Errorf("%d members, %.0f and %.0f bytes each, want at most %d", b.Stats().Sockets, own, other, perMember)
	}
}

func TestWhatAJoinSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fabric)
		a, b := f.add(t, Options{}), f.add(t, Options{})
		settle()
		before := a.Stats()
		a.put(t, "s", "lobby", "ann", "hello")
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		after := a.Stats()
		equal(t, "messages for one join", after.Sent-before.Sent, 1)
		t.Logf("%d bytes for one join", after.SentBytes-before.SentBytes)
		for i := range 1000 {
			a.put(t, fmt.Sprint("s", i), "lobby", fmt.Sprint("user", i), "hello")
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		burst := a.Stats()
		t.Logf("%d messages, %d bytes for 1000 joins", burst.Sent-after.Sent, burst.SentBytes-after.SentBytes)
		if n := burst.Sent - after.Sent; n > 10 {
			t.Errorf("%d messages for 1000 joins at once", n)
		}
		for i := range 100 {
			a.put(t, fmt.Sprint("t", i), "lobby", fmt.Sprint("user", i), "hello")
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		steady := a.Stats()
		if n := steady.Sent - burst.Sent; n > 12 {
			t.Errorf("%d messages for 100 joins within 100 ms", n)
		}
		burst = steady
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := a.Stats().Sent - burst.Sent; n > 3*uint64(time.Hour/lease)+1 {
			t.Errorf("%d messages in a quiet hour", n)
		}
		equal(t, "messages of the other that asked for something", b.Stats().Gaps, 0)
	})
}
