package adaptertest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

var sessionCases = []sessionCase{
	{"missed-events-come-in-order-on-any-node", adapter.Recovery{}, func(t *testing.T, w *shelter) {
		g := w.arrive(0, "red")
		w.send(w.last(), "seen", adapter.Target{})
		w.equal("events", g.take(1), `[["seen"]]`)
		g.lose()
		for i := range 5 {
			w.send(i%len(w.nodes), fmt.Sprint("to red ", i), to("red"))
		}
		w.send(0, "to blue", to("blue"))
		w.send(0, "not to red", adapter.Target{Except: []adapter.Room{"red"}})
		w.send(w.last(), "to all but blue", adapter.Target{Except: []adapter.Room{"blue"}})
		w.send(w.last(), "private", to(g.id))
		w.settle()
		g.comeBack(w.last())
		w.send(0, "live", to("red"))
		got := g.take(8)
		slices.Sort(got[:7]) // the nodes sent these side by side
		w.equal("events", got, `[["private"] ["to all but blue"] ["to red 0"] ["to red 1"] ["to red 2"] ["to red 3"] ["to red 4"] ["live"]]`)
		w.equal("rooms", slices.Sorted(slices.Values(w.nodes[w.last()].a.RoomsOf(g.s))), []string{g.id, "red"})
	}},
	{"data-and-rooms-are-kept", adapter.Recovery{}, func(t *testing.T, w *shelter) {
		g := w.arrive(0, "red", "blue")
		w.nodes[0].a.Leave(g.s, "blue")
		w.nodes[0].a.Join(g.s, "green")
		g.lose()
		c, err := g.claim(w.last())
		w.must(err)
		defer c.Confirm()
		s := c.Session()
		w.equal("id, pid and data", []string{s.ID, s.PID, string(s.Data)}, []string{g.id, g.pid, `{"name":"ü"}`})
		w.equal("rooms", slices.Sorted(slices.Values(s.Rooms)), []string{"green", g.id, "red"})
		if s.At.IsZero() || time.Since(s.At) > time.Hour {
			t.Errorf("At is %v", s.At)
		}
	}},
	{"client-that-received-nothing", adapter.Recovery{}, func(t *testing.T, w *shelter) {
		w.send(0, "before it came", adapter.Target{})
		early := w.arrive(0)
		w.send(0, "mark", to(early.id))
		early.take(1)
		g := w.arrive(0)
		g.lose()
		w.send(0, "missed", adapter.Target{})
		g.comeBack(w.last())
		w.equal("events", g.take(1), `[["missed"]]`)
	}},
	{"client-that-lost-all-it-was-sent", adapter.Recovery{}, func(t *testing.T, w *shelter) {
		g := w.arrive(0)
		w.send(w.last(), "lost on the way", adapter.Target{})
		w.poll("it is sent", func() bool { return len(g.s.Received()) == 1 })
		g.lose()
		w.send(0, "missed", adapter.Target{})
		for range 3 { // the first two times it gets nothing
			g.comeBack(w.last())
			w.poll("both are sent", func() bool { return len(g.s.Received()) == 2 })
			g.lose()
		}
		w.equal("events", g.take(2), `[["lost on the way"] ["missed"]]`)
	}},
	{"one-connection-claims-a-session", adapter.Recovery{}, func(t *testing.T, w *shelter) {
		g := w.arrive(0)
		g.lose()
		claims := make(chan adapter.Claim, 12)
		var wg sync.WaitGroup
		for i := range cap(claims) {
			wg.Go(func() {
				if c, err := g.claim(i % len(w.nodes)); err == nil {
					claims <- c
				}
			})
		}
		wg.Wait()
		w.equal("claims", len(claims), 1)
		c := <-claims
		c.Release()
		for i := range w.nodes {
			w.written(i)
		}
		g.comeBack(w.last())
		c.Release() // which must not count twice
		c.Confirm()
		w.send(0, "live", adapter.Target{})
		w.equal("events", g.take(1), `[["live"]]`)
	}},
	{"confirmed-session-is-gone", adapter.Recovery{}, func(t *testing.T, w *shelter) {
		g := w.arrive(0)
		g.lose()
		c, err := g.claim(w.last())
		w.must(err)
		c.Confirm()
		c.Release()
		for i := range w.nodes {
			_, err = g.claim(i)
			w.noSession(err)
		}
	}},
	{"client-that-left-for-good-is-not-recovered", adapter.Recovery{}, func(t *testing.T, w *shelter) {
		g := w.arrive(0)
		w.written(0)
		w.nodes[0].a.LeaveAll(g.s)
		_, err := g.claim(0)
		w.noSession(err)
		_, err = g.claim(w.last())
		w.noSession(err)
	}},
	{"unknown-offset", adapter.Recovery{}, func(t *testing.T, w *shelter) {
		for _, offset := range []string{"nonsense", "1-1", "99999999999999-0", "0", "-", "18446744073709551616-0"} {
			g := w.arrive(0)
			w.send(0, "seen", to(g.id))
			g.take(1)
			g.lose()
			g.offset = offset
			_, err := g.claim(w.last())
			w.noSession(err)
		}
	}},
	{"events-through-a-room-it-left-are-not-lost", adapter.Recovery{}, func(t *testing.T, w *shelter) {
		for _, taken := range []int{1, 2} {
			g := w.arrive(0, "red")
			w.send(0, "one", to("red"))
			w.send(0, "two", to("red"))
			g.take(taken)
			w.poll("both are sent", func() bool { return len(g.s.Received()) == 2 })
			w.nodes[0].a.Leave(g.s, "red")
			g.lose()
			c, err := g.claim(w.last())
			if taken == 1 {
				w.noSession(err)
				continue
			}
			w.must(err)
			c.Confirm()
		}
	}},
	{"replay-is-bounded", adapter.Recovery{MaxReplayPackets: 3}, func(t *testing.T, w *shelter) {
		for _, missed := range []int{3, 4} {
			g := w.arrive(0)
			g.lose()
			for i := range missed {
				w.send(0, fmt.Sprint(i), to(g.id))
			}
			w.settle()
			c, err := g.claim(w.last())
			if missed > 3 {
				w.noSession(err)
				continue
			}
			w.must(err)
			w.must(g.resume(w.last(), c))
			w.equal("events", len(g.take(missed)), missed)
		}
	}},
	{"replay-is-bounded-in-bytes", adapter.Recovery{MaxReplayBytes: 3000}, func(t *testing.T, w *shelter) {
		g := w.arrive(0)
		g.lose()
		for range 2 {
			w.send(0, strings.Repeat("x", 2000), to(g.id))
		}
		w.settle()
		_, err := g.claim(w.last())
		w.noSession(err)
	}},
	{"neither-volatile-nor-acknowledged-events-are-replayed", adapter.Recovery{}, func(t *testing.T, w *shelter) {
		g := w.arrive(0)
		g.lose()
		w.must(w.nodes[0].a.Broadcast(packet(`["volatile"]`), adapter.Target{Flags: adapter.Volatile}))
		_, err := collect(w.nodes[0].a.BroadcastWithAck(w.ctx(patience), packet(`["acked"]`), adapter.Target{}))
		w.must(err)
		w.send(0, "kept", adapter.Target{})
		g.comeBack(w.last())
		w.equal("events", g.take(1), `[["kept"]]`)
		w.equal("received", len(g.s.Received()), 1)
	}},
	{"binary-is-replayed", adapter.Recovery{}, func(t *testing.T, w *shelter) {
		g := w.arrive(0)
		g.lose()
		p := packet(`["bin",{"_placeholder":true,"num":0}]`)
		p.Attachments = []adapter.Attachment{{At: 7, Data: []byte{0, 1, 255}}}
		w.must(w.nodes[0].a.Broadcast(p, adapter.Target{}))
		g.comeBack(w.last())
		w.poll("it comes", func() bool { return len(g.s.Received()) == 1 })
		got := g.s.Received()[0].Packet
		if len(got.Attachments) != 1 || string(got.Attachments[0].Data) != "\x00\x01\xff" {
			t.Errorf("got %s with %v", got.Data, got.Attachments)
		}
	}},
	{"sessions-expire", adapter.Recovery{Window: 300 * time.Millisecond}, func(t *testing.T, w *shelter) {
		g := w.arrive(0)
		g.lose()
		w.poll("it has expired", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return len(w.expired) > 0
		})
		w.equal("expired", w.expired[0].ID, g.id)
		w.equal("saved", w.stores[0].Saved(), 0)
		w.poll("it is gone everywhere", func() bool {
			c, err := g.claim(w.last())
			if err == nil {
				c.Release()
			}
			return err != nil
		})
	}},
	{"events-between-claim-and-resume", adapter.Recovery{}, func(t *testing.T, w *shelter) {
		g := w.arrive(0)
		g.lose()
		w.send(0, "before", adapter.Target{})
		w.settle()
		c, err := g.claim(w.last())
		w.must(err)
		w.send(0, "between", adapter.Target{})
		w.settle()
		w.must(g.resume(w.last(), c))
		w.send(0, "after", adapter.Target{})
		w.equal("events", g.take(3), `[["before"] ["between"] ["after"]]`)
	}},
	{"connected-elsewhere", adapter.Recovery{}, func(t *testing.T, w *shelter) {
		if !w.keepers {
			return // such a store waits until the loss is noticed
		}
		g := w.arrive(0)
		w.send(0, "seen", adapter.Target{})
		g.take(1)
		w.written(0)
		old := g.s
		g.comeBack(w.last())
		w.poll("its old socket is disconnected", func() bool {
			gone, closeConn := w.nodes[0].host.Disconnected(g.id)
			return gone && !closeConn
		})
		w.nodes[0].a.LeaveAll(old)
		w.send(0, "live", adapter.Target{})
		w.equal("events", g.take(1), `[["live"]]`)
		g.lose()
		w.send(0, "missed", adapter.Target{})
		g.comeBack(0)
		w.equal("events", g.take(1), `[["missed"]]`)
	}},
	{"kept-while-connected", adapter.Recovery{}, func(t *testing.T, w *shelter) {
		if !w.keepers {
			return // its sessions end with the process
		}
		g := w.arrive(0, "red")
		w.send(0, "seen", adapter.Target{})
		g.take(1)
		w.nodes[0].a.Join(g.s, "blue")
		g.keep([]byte(`{"name":"new"}`))
		w.written(0) // and then the node dies: nobody saves the session
		w.send(w.last(), "missed", to("blue"))
		c, err := g.claim(w.last())
		w.must(err)
		w.equal("data", string(c.Session().Data), `{"name":"new"}`)
		w.must(g.resume(w.last(), c))
		w.equal("events", g.take(1), `[["missed"]]`)
	}},
	{"travelers-miss-nothing", adapter.Recovery{}, travelers},
}

// settle waits until what was sent before has reached every node.
func (w *shelter) settle() {
	w.t.Helper()
	guests := make([]*guest, len(w.nodes))
	var all adapter.Target
	for i := range guests {
		guests[i] = w.arrive(i)
		all.Rooms = append(all.Rooms, guests[i].id)
	}
	for i := range w.nodes {
		w.send(i, "settled", all)
	}
	for _, g := range guests {
		g.take(len(w.nodes))
	}
}
