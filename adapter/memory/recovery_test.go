package memory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
)

// recoveringHost wants recovery.
type recoveringHost struct {
	adapter.Host
	opts  adapter.Recovery
	strip bool // of their offset, for tests that compare packets
}

func (h recoveringHost) Recovery() *adapter.Recovery { return &h.opts }

var offsetArg = regexp.MustCompile(`,"[\w-]{8}\.[0-9a-z]+"\]$`)

func (h recoveringHost) Deliver(p *adapter.Packet, f adapter.Flags) adapter.Delivery {
	if h.strip {
		q := *p
		q.Data = offsetArg.ReplaceAll(p.Data, []byte("]"))
		p = &q
	}
	return h.Host.Deliver(p, f)
}

type recoveringProvider struct{ adapter.Provider }

func (p recoveringProvider) Open(ctx context.Context, h adapter.Host) (adapter.Adapter, error) {
	return p.Provider.Open(ctx, recoveringHost{Host: h, opts: adapter.Recovery{Window: time.Minute}, strip: true})
}

func TestConformanceWithRecovery(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adaptertest.Harness{MaxNodes: 1, AllRooms: true, Nodes: func(testing.TB, int) []adapter.Provider {
		return []adapter.Provider{recoveringProvider{NewProvider(Options{})}}
	}})
}

func TestSessionSuite(t *testing.T) {
	t.Parallel()
	adaptertest.RunSessions(t, adaptertest.Harness{MaxNodes: 1, Nodes: func(testing.TB, int) []adapter.Provider {
		return []adapter.Provider{NewProvider(Options{})}
	}})
}

func open(t testing.TB, opts adapter.Recovery) *recovering {
	t.Helper()
	a, err := NewProvider(Options{}).Open(t.Context(), recoveringHost{Host: adaptertest.NewHost("/", "node"), opts: opts})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return a.(*recovering)
}

func text(s string) *adapter.Packet { return &adapter.Packet{Data: []byte(`["` + s + `"]`)} }

// traveler is a client that loses its connection again and again, and with it
// some of what was sent to it.
type traveler struct {
	id, pid string
	rooms   []adapter.Room
	s       *adaptertest.Socket
	taken   int      // of what s received
	offsets []string // of what has arrived, in order
}

// take accepts what has been sent so far, but for the last lost events.
func (c *traveler) take(lost int) {
	got := c.s.Received()
	for ; c.taken < len(got)-lost; c.taken++ {
		var args []string
		if err := json.Unmarshal(got[c.taken].Packet.Data, &args); err != nil {
			panic(err)
		}
		c.offsets = append(c.offsets, args[len(args)-1])
	}
}

func (c *traveler) offset() string {
	if len(c.offsets) == 0 {
		return ""
	}
	return c.offsets[len(c.offsets)-1]
}

func (c *traveler) lose(a *recovering, rng *rand.Rand) {
	c.s.Close()
	c.take(rng.IntN(8))
	a.Save(c.s, adapter.Session{ID: c.id, PID: c.pid})
	a.LeaveAll(c.s)
}

func (c *traveler) comeBack(a *recovering, rng *rand.Rand) error {
	claim, err := a.Claim(context.Background(), c.pid, c.offset())
	if err != nil {
		return err
	}
	if _, err := a.Claim(context.Background(), c.pid, c.offset()); !errors.Is(err, adapter.ErrNoSession) {
		return fmt.Errorf("second claim: %v", err)
	}
	if rng.IntN(4) == 0 { // it was not to be
		claim.Release()
		return c.comeBack(a, rng)
	}
	c.s, c.taken = adaptertest.NewSocket(c.id), 0
	if err := claim.Resume(c.s, func() {}, c.id); err != nil {
		return err
	}
	if rng.IntN(2) == 0 {
		claim.Confirm()
	}
	return nil
}

// Whatever happens to its connections, a client gets every event once and in the
// order of the log.
func TestTravelersMissNothing(t *testing.T) {
	t.Parallel()
	a := open(t, adapter.Recovery{Window: time.Hour})
	const senders, events, clients = 4, 1000, 6
	rooms := []adapter.Room{"red", "blue"}
	var emitting, traveling sync.WaitGroup
	done := make(chan struct{})
	all := make([]*traveler, clients)
	for i := range all {
		c := &traveler{id: fmt.Sprint("socket", i), pid: fmt.Sprint("pid", i), rooms: []adapter.Room{rooms[i%2]}}
		c.s = adaptertest.NewSocket(c.id)
		a.Join(c.s, append([]adapter.Room{c.id}, c.rooms...)...)
		all[i] = c
		rng := rand.New(rand.NewPCG(uint64(i), 7))
		traveling.Go(func() {
			for over := false; !over; {
				select {
				case <-done:
					over = true // one last time, with everything sent
				default:
				}
				c.lose(a, rng)
				if err := c.comeBack(a, rng); err != nil {
					t.Errorf("%s: %v", c.id, err)
					return
				}
			}
			c.take(0)
		})
	}
	for i := range senders {
		rng := rand.New(rand.NewPCG(uint64(i), 9))
		emitting.Go(func() {
			for n := range events {
				target := adapter.Target{}
				switch rng.IntN(4) {
				case 0:
					target.Rooms = []adapter.Room{rooms[rng.IntN(2)]}
				case 1:
					target.Rooms = []adapter.Room{fmt.Sprint("socket", rng.IntN(clients))}
				case 2:
					target.Except = []adapter.Room{rooms[rng.IntN(2)]}
				}
				if err := a.Broadcast(text(fmt.Sprintf("%d.%d", i, n)), target); err != nil {
					t.Error(err)
				}
			}
		})
	}
	emitting.Wait()
	close(done)
	traveling.Wait()
	for _, c := range all {
		numbers, _ := a.log.missed(0, append([]adapter.Room{c.id}, c.rooms...), 0, 0)
		var want []string
		for _, n := range numbers {
			var args []string
			if err := json.Unmarshal(a.log.at(n).p.Data, &args); err != nil {
				t.Fatal(err)
			}
			want = append(want, args[len(args)-1])
		}
		if !slices.Equal(c.offsets, want) {
			t.Errorf("%s got %d events, want %d, or another order", c.id, len(c.offsets), len(want))
		}
	}
}

func TestLogStaysWithinItsLimits(t *testing.T) {
	t.Parallel()
	a := open(t, adapter.Recovery{Window: time.Hour, MaxPackets: 100, MaxBytes: 20_000, MaxSessions: 10})
	for range 1000 {
		if err := a.Broadcast(text(strings.Repeat("x", 100)), adapter.Target{}); err != nil {
			t.Fatal(err)
		}
		if len(a.log.list) > 100 || a.log.bytes > 20_000 {
			t.Fatalf("%d packets, %d bytes are kept", len(a.log.list), a.log.bytes)
		}
	}
	if a.log.head() != 1000 {
		t.Errorf("the newest event is %d, want 1000", a.log.head())
	}
	for i := range 50 {
		s := adaptertest.NewSocket(fmt.Sprint("s", i))
		a.Join(s, s.ID())
		a.Save(s, adapter.Session{ID: s.ID(), PID: fmt.Sprint("p", i)})
		a.LeaveAll(s)
		if a.Saved() > 10 {
			t.Fatalf("%d sessions are kept", a.Saved())
		}
	}
}

func TestWhatHasExpiredIsSwept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var expired []string
		a := open(t, adapter.Recovery{Window: time.Minute, Grace: 10 * time.Second, Expired: func(list []adapter.Session) {
			mu.Lock()
			defer mu.Unlock()
			for _, s := range list {
				expired = append(expired, s.ID)
			}
		}})
		for _, id := range []string{"lost", "claimed", "confirmed"} {
			s := adaptertest.NewSocket(id)
			a.Join(s, id)
			a.Save(s, adapter.Session{ID: id, PID: id})
			a.LeaveAll(s)
		}
		claimed, err := a.Claim(t.Context(), "claimed", "")
		if err != nil {
			t.Fatal(err)
		}
		confirmed, err := a.Claim(t.Context(), "confirmed", "")
		if err != nil {
			t.Fatal(err)
		}
		confirmed.Confirm()
		if err := a.Broadcast(text("x"), adapter.Target{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Second)
		if _, err := a.Claim(t.Context(), "confirmed", ""); !errors.Is(err, adapter.ErrNoSession) {
			t.Errorf("a confirmed session was claimed again: %v", err)
		}
		if got := a.Saved(); got != 2 {
			t.Errorf("%d sessions are kept, want 2", got)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if a.Saved() != 0 || len(a.log.list) != 0 || a.timer != nil {
			t.Errorf("after five minutes %d sessions and %d events are kept, timer %v", a.Saved(), len(a.log.list), a.timer)
		}
		if !slices.Equal(expired, []string{"lost"}) {
			t.Errorf("expired: %v", expired)
		}
		claimed.Release()
		claimed.Release()
		if !slices.Equal(expired, []string{"lost", "claimed"}) {
			t.Errorf("expired after the claim was given up: %v", expired)
		}
	})
}

func TestResumeThatFailsLeavesTheSessionWhereItWas(t *testing.T) {
	t.Parallel()
	a := open(t, adapter.Recovery{Window: time.Hour, MaxReplayPackets: 2})
	s := adaptertest.NewSocket("s")
	a.Join(s, "s")
	a.Save(s, adapter.Session{ID: "s", PID: "p"})
	a.LeaveAll(s)
	emit := func() {
		if err := a.Broadcast(text("x"), adapter.Target{}); err != nil {
			t.Fatal(err)
		}
	}
	emit()
	claim, err := a.Claim(t.Context(), "p", "")
	if err != nil {
		t.Fatal(err)
	}
	dead := adaptertest.NewSocket("s")
	dead.Close()
	if err := claim.Resume(dead, func() { t.Error("ready was called") }, "s"); !errors.Is(err, adaptertest.ErrGone) {
		t.Errorf("Resume of a closed socket: %v", err)
	}
	claim.Release()
	if claim, err = a.Claim(t.Context(), "p", ""); err != nil {
		t.Fatal(err)
	}
	emit()
	emit() // one too many, after the claim
	if err := claim.Resume(adaptertest.NewSocket("s"), func() { t.Error("ready was called") }, "s"); !errors.Is(err, adapter.ErrNoSession) {
		t.Errorf("Resume after more than can be replayed: %v", err)
	}
	if rooms := a.Rooms(); len(rooms) != 0 {
		t.Errorf("rooms after failed resumes: %v", rooms)
	}
}

// Threat T28: offsets come from clients.
func FuzzOffset(f *testing.F) {
	l := packetLog{epoch: "abcd-_09"}
	for range 40 {
		l.add(text("x"), adapter.Target{}, time.Time{})
	}
	for _, seed := range []string{"abcd-_09.1", "abcd-_09.14", "abcd-_09.15", "abcd-_09.0", "abcd-_09.01", "abcd-_09.+1", "abcd-_09.", "abcd-_09.1\n", ".1", "", "abcd-_09.A"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, offset string) {
		n, ok := l.number(offset)
		if ok != (n >= 1 && n <= 40) && ok {
			t.Fatalf("%q is event %d", offset, n)
		}
		if ok && !bytes.HasSuffix(l.at(n).p.Data, []byte(`,"`+offset+`"]`)) {
			t.Fatalf("%q was taken for the offset in %s", offset, l.at(n).p.Data)
		}
	})
}

func BenchmarkRecoveringBroadcast(b *testing.B) {
	for _, members := range []int{1, 1000} {
		for _, on := range []bool{false, true} {
			b.Run(fmt.Sprintf("members=%d/recovery=%v", members, on), func(b *testing.B) {
				host := discardHost{adaptertest.NewHost("/", "node")}
				var a adapter.Adapter = New(host, Options{})
				if on {
					a = newRecovering(a.(*Adapter), adapter.Recovery{Window: time.Minute, MaxPackets: 10_000, MaxBytes: 64 << 20})
				}
				defer func() { _ = a.Close(context.Background()) }()
				for i := range members {
					s := adaptertest.NewSocket(fmt.Sprint("s", i))
					a.Join(s, s.ID())
				}
				p := text("hello")
				b.ReportAllocs()
				for b.Loop() {
					_ = a.Broadcast(p, adapter.Target{})
				}
			})
		}
	}
}

// discardHost delivers nothing.
type discardHost struct{ adapter.Host }

func (discardHost) Deliver(*adapter.Packet, adapter.Flags) adapter.Delivery { return nowhere{} }

type nowhere struct{}

func (nowhere) To(adapter.Member) error { return nil }
func (nowhere) Count() int              { return 0 }
