package memory_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/adapter/memory"
)

func newAdapter(opts memory.Options) *memory.Adapter {
	return memory.New(sink{adaptertest.NewHost("/ns", "n")}, opts)
}

func ids(ms []adapter.Member) []string {
	list := make([]string, len(ms))
	for i, m := range ms {
		list[i] = m.ID()
	}
	slices.Sort(list)
	return list
}

// TestRoomsAgreeWithAModel compares random changes and selections with plain
// maps.
func TestRoomsAgreeWithAModel(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	a := newAdapter(memory.Options{})
	model := map[string]map[string]bool{} // id to rooms, for those that take part
	socks := make([]*adaptertest.Socket, 70)
	names := []string{"r0", "r1", "r2", "r3", "s0", "s1"} // two are ids as well
	for i := range socks {
		socks[i] = adaptertest.NewSocket(fmt.Sprintf("s%d", i))
	}
	some := func() []string {
		list := make([]string, rnd.IntN(4))
		for i := range list {
			list[i] = names[rnd.IntN(len(names))]
		}
		return list
	}
	for range 20_000 {
		s := socks[rnd.IntN(len(socks))]
		rooms := some()
		switch rnd.IntN(10) {
		case 0:
			a.LeaveAll(s)
			delete(model, s.ID())
		case 1, 2:
			rooms = append(rooms, s.ID())
			fallthrough
		case 3, 4, 5:
			a.Join(s, rooms...)
			if model[s.ID()] == nil && slices.Contains(rooms, s.ID()) {
				model[s.ID()] = map[string]bool{}
			}
			for _, r := range rooms {
				if model[s.ID()] != nil {
					model[s.ID()][r] = true
				}
			}
		case 6, 7:
			a.Leave(s, rooms...)
			for _, r := range rooms {
				delete(model[s.ID()], r)
			}
		default:
			tg := adapter.Target{Rooms: some(), Except: some()}
			if got, want := ids(a.Members(tg)), selected(model, tg); !slices.Equal(got, want) {
				t.Fatalf("%+v selects %q, want %q", tg, got, want)
			}
		}
	}
	for _, s := range socks {
		got := a.RoomsOf(s)
		slices.Sort(got)
		var want []string
		for r := range model[s.ID()] {
			want = append(want, r)
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s is in %q, want %q", s.ID(), got, want)
		}
	}
}

func selected(model map[string]map[string]bool, tg adapter.Target) []string {
	list := []string{}
	in := func(rooms map[string]bool, names []string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return rooms[n] })
	}
	for id, rooms := range model {
		if (len(tg.Rooms) == 0 || in(rooms, tg.Rooms)) && !in(rooms, tg.Except) {
			list = append(list, id)
		}
	}
	slices.Sort(list)
	return list
}

func TestRoomChangesAreReportedInOrder(t *testing.T) {
	t.Parallel()
	var got []string
	a := newAdapter(memory.Options{
		RoomCreated: func(ns string, r adapter.Room) { got = append(got, "create "+ns+r) },
		RoomDeleted: func(_ string, r adapter.Room) { got = append(got, "delete "+r) },
		Joined:      func(_ string, r adapter.Room, m adapter.Member) { got = append(got, "join "+r+" "+m.ID()) },
		Left:        func(_ string, r adapter.Room, m adapter.Member) { got = append(got, "leave "+r+" "+m.ID()) },
	})
	s1, s2 := adaptertest.NewSocket("s1"), adaptertest.NewSocket("s2")
	a.Join(s1, "s1", "r", "r")
	a.Join(s2, "s2", "r", "s1")
	a.Leave(s1, "r", "r", "never")
	a.LeaveAll(s1)
	a.LeaveAll(s2)
	want := []string{
		"create /nss1", "join s1 s1", "create /nsr", "join r s1",
		"create /nss2", "join s2 s2", "join r s2", "join s1 s2",
		"leave r s1", "leave s1 s1",
		"leave s2 s2", "delete s2", "leave r s2", "delete r", "leave s1 s2", "delete s1",
	}
	slices.Sort(got[12:]) // the order among one member's rooms is open
	slices.Sort(want[12:])
	if !slices.Equal(got[:10], want[:10]) || !slices.Equal(got[12:], want[12:]) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

// TestReportsEndWithTheTruth has many goroutines open and close the same rooms:
// the reports must alternate and end where the rooms are. The functions call the
// adapter back, which must not deadlock.
func TestReportsEndWithTheTruth(t *testing.T) {
	t.Parallel()
	var a *memory.Adapter
	open := map[string]bool{}
	a = newAdapter(memory.Options{
		RoomCreated: func(_ string, r adapter.Room) {
			if open[r] {
				t.Errorf("%s was created twice", r)
			}
			open[r] = true
			a.HasRoom(r)
		},
		RoomDeleted: func(_ string, r adapter.Room) {
			if !open[r] {
				t.Errorf("%s was deleted twice", r)
			}
			delete(open, r)
		},
	})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			s := adaptertest.NewSocket(fmt.Sprintf("s%d", g))
			for i := range 2000 {
				a.Join(s, s.ID(), "x", "y")
				_ = a.Broadcast(&adapter.Packet{}, adapter.Target{Rooms: []adapter.Room{"x", "y"}})
				if i%3 == 0 {
					a.Leave(s, "x")
				}
				a.LeaveAll(s)
			}
			if g%2 == 0 {
				a.Join(s, s.ID(), "z")
			}
		})
	}
	wg.Wait()
	for _, r := range a.Rooms() {
		if !open[r] {
			t.Errorf("room %s exists unreported", r)
		}
		delete(open, r)
	}
	if len(open) != 0 {
		t.Errorf("reported rooms that do not exist: %v", open)
	}
}

func TestARestoredSocketReplacesTheStaleOne(t *testing.T) {
	t.Parallel()
	a := newAdapter(memory.Options{})
	old, restored := adaptertest.NewSocket("same"), adaptertest.NewSocket("same")
	a.Join(old, "same", "room")
	a.Join(restored, "same", "other")
	a.Join(old, "late")
	a.LeaveAll(old)
	if got := a.Members(adapter.Target{}); len(got) != 1 || got[0] != adapter.Member(restored) {
		t.Errorf("members %v, want the restored one", got)
	}
	if a.HasRoom("room") || a.HasRoom("late") || !a.HasRoom("other") || !a.HasRoom("same") {
		t.Errorf("rooms %q", a.Rooms())
	}
}

func TestAClosedAdapterTakesNobody(t *testing.T) {
	t.Parallel()
	a := newAdapter(memory.Options{})
	s := adaptertest.NewSocket("s")
	a.Join(s, "s", "room")
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.Join(s, "s", "room")
	if n := a.DeliverLocal(&adapter.Packet{}, adapter.Target{}); n != 0 || len(a.Rooms()) != 0 {
		t.Errorf("%d members, rooms %q", n, a.Rooms())
	}
}

// TestAllocations holds that a broadcast costs the same whatever the number of
// members: the delivery alone.
func TestAllocations(t *testing.T) {
	a := newAdapter(memory.Options{})
	for i := range 1000 {
		s := adaptertest.NewSocket(fmt.Sprintf("s%d", i))
		a.Join(s, s.ID(), "room", "same")
	}
	p := &adapter.Packet{}
	for name, tg := range map[string]adapter.Target{
		"namespace": {},
		"room":      {Rooms: []adapter.Room{"room"}},
		"union":     {Rooms: []adapter.Room{"room", "same"}},
		"except":    {Rooms: []adapter.Room{"room"}, Except: []adapter.Room{"s1", "s2"}},
		"id":        {Rooms: []adapter.Room{"s7"}},
	} {
		// The pool of marks may be emptied by a collection, or by the race detector.
		if n := testing.AllocsPerRun(200, func() { _ = a.Broadcast(p, tg) }); n > 3 {
			t.Errorf("%s: %v allocations, want at most 3", name, n)
		}
	}
}

// TestAnOwnRoomIsNoSet holds the memory of a member that is in no other room.
func TestAnOwnRoomIsNoSet(t *testing.T) {
	const n, ceiling = 20_000, 260
	socks := make([]*adaptertest.Socket, n)
	for i := range socks {
		socks[i] = adaptertest.NewSocket(fmt.Sprintf("socket-%013d", i))
	}
	a := newAdapter(memory.Options{})
	before := heap()
	for _, s := range socks {
		a.Join(s, s.ID())
	}
	per := (heap() - before) / n
	runtime.KeepAlive(a)
	runtime.KeepAlive(socks)
	t.Logf("%d bytes per member", per)
	if per > ceiling {
		t.Errorf("%d bytes per member, want at most %d", per, ceiling)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
