package adaptertest

import (
	"slices"
	"testing"

	"github.com/socketfleet/socketfleet/adapter"
)

var membershipCases = []testCase{
	{"rooms-of-a-member", func(t *testing.T, w *world) {
		nd := w.nodes[0]
		s := w.socket(0)
		wantRooms(t, nd, s, s.id)
		nd.a.Join(s, "x", "y", "x")
		nd.a.Join(s, "y")
		wantRooms(t, nd, s, s.id, "x", "y")
		nd.a.Leave(s, "x", "never joined")
		nd.a.Leave(s, "x")
		wantRooms(t, nd, s, s.id, "y")
		nd.a.LeaveAll(s)
		nd.a.LeaveAll(s)
		wantRooms(t, nd, s)
	}},
	{"join-after-leave-all-is-ignored", func(t *testing.T, w *world) {
		nd, s := w.nodes[0], w.nodes[0].socks[0]
		nd.a.LeaveAll(s)
		nd.a.Join(s, "red", "ghost")
		wantRooms(t, nd, s)
		p := w.event("ghost")
		w.must(nd.a.Broadcast(p, to("red", "ghost", s.id)))
		w.nodes[0].socks = without(nd.socks, s)
		w.expect(p, w.in("red")...)
		if s.has(p) {
			t.Error("a member that left everything got a packet")
		}
		nd.a.Join(s, s.id, "red")
		wantRooms(t, nd, s, s.id, "red")
	}},
	{"join-before-the-own-room-is-ignored", func(t *testing.T, w *world) {
		s := NewSocket("early-socket-0000001")
		w.nodes[0].a.Join(s, "red")
		wantRooms(t, w.nodes[0], s)
	}},
	{"own-room-can-be-left-and-shared", func(_ *testing.T, w *world) {
		nd := w.nodes[0]
		a, b := nd.socks[0], nd.socks[1]
		nd.a.Join(b, a.id)
		w.ready(a.id)
		p := w.event("shared")
		w.must(nd.a.Broadcast(p, to(a.id)))
		w.expect(p, a, b)
		nd.a.Leave(a, a.id)
		p = w.event("left")
		w.must(nd.a.Broadcast(p, to(a.id)))
		w.expect(p, b)
		p = w.event("still a member of the namespace")
		w.must(nd.a.Broadcast(p, adapter.Target{}))
		w.expect(p, w.all()...)
	}},
	{"leaving-a-room-stops-delivery", func(_ *testing.T, w *world) {
		nd := w.nodes[len(w.nodes)-1]
		nd.a.Leave(nd.socks[0], "red")
		p := w.event("left")
		w.must(w.nodes[0].a.Broadcast(p, to("red")))
		w.expect(p, w.in("red")...)
		nd.a.Join(nd.socks[0], "red")
		w.ready("red")
		p = w.event("back")
		w.must(w.nodes[0].a.Broadcast(p, to("red")))
		w.expect(p, w.in("red")...)
	}},
	{"all-rooms", func(t *testing.T, w *world) {
		if !w.allRooms {
			return
		}
		rooms, err := w.nodes[0].a.(adapter.RoomLister).AllRooms(w.ctx(patience))
		w.must(err)
		for _, s := range w.all() {
			if !slices.Contains(rooms, s.id) {
				t.Errorf("the room of %s is missing", s.id)
			}
		}
		for _, r := range []adapter.Room{"red", "blue", "both", "last"} {
			if n := countOf(rooms, r); n != 1 {
				t.Errorf("room %s is listed %d times, want 1", r, n)
			}
		}
	}},
}

func countOf(list []string, s string) int {
	n := 0
	for _, v := range list {
		if v == s {
			n++
		}
	}
	return n
}

func wantRooms(t *testing.T, nd *node, s *Socket, want ...adapter.Room) {
	t.Helper()
	got := nd.a.RoomsOf(s)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("RoomsOf = %q, want %q", got, want)
	}
}
