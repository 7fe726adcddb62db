package adaptertest

import (
	"slices"
	"testing"

	"github.com/socketfleet/socketfleet/adapter"
)

var targetCases = []testCase{
	{"sockets-join-acts-on-every-node", func(t *testing.T, w *world) {
		w.must(w.nodes[0].a.SocketsJoin(t.Context(), to("red"), "new1", "new2"))
		for _, s := range w.nodes[0].socks[:1] {
			wantRooms(t, w.nodes[0], s, s.id, "red", "both", "new1", "new2")
		}
		w.membersBecome("new1", w.in("red"))
		w.membersBecome("new2", w.in("red"))
		w.ready("new1")
		p := w.event("joined")
		w.must(w.nodes[len(w.nodes)-1].a.Broadcast(p, to("new1")))
		w.expect(p, w.in("red")...)
	}},
	{"sockets-leave-acts-on-every-node", func(t *testing.T, w *world) {
		keep := w.nodes[0].socks[0]
		w.must(w.nodes[0].a.SocketsLeave(t.Context(), adapter.Target{Except: []adapter.Room{keep.id}}, "both"))
		w.membersBecome("both", []*Socket{keep})
	}},
	{"sockets-join-and-leave-one-id-of-another-node", func(t *testing.T, w *world) {
		nd := w.nodes[len(w.nodes)-1]
		s := nd.socks[1]
		w.must(w.nodes[0].a.SocketsJoin(t.Context(), to(s.id), "single"))
		w.membersBecome("single", []*Socket{s})
		w.must(w.nodes[0].a.SocketsLeave(t.Context(), to(s.id), "single", "last"))
		w.membersBecome("single", nil)
		w.membersBecome("last", nil)
	}},
	{"sockets-join-local-stays-here", func(t *testing.T, w *world) {
		w.must(w.nodes[0].a.SocketsJoin(t.Context(), adapter.Target{Flags: adapter.Local}, "here"))
		w.fence()
		w.membersBecome("here", w.nodes[0].socks)
	}},
	{"disconnect-sockets-acts-on-every-node", func(t *testing.T, w *world) {
		w.must(w.nodes[0].a.DisconnectSockets(t.Context(), to("red"), true))
		w.must(w.nodes[0].a.DisconnectSockets(t.Context(), to("last"), false))
		red, last := w.in("red"), w.in("last")
		for _, s := range append(slices.Clone(red), last...) {
			w.poll(s.id+" is disconnected", func() bool { gone, _ := w.gone(s); return gone })
		}
		w.fence()
		for _, s := range w.all() {
			gone, closed := w.gone(s)
			wantGone := slices.Contains(red, s) || slices.Contains(last, s)
			if gone != wantGone || closed != slices.Contains(red, s) {
				t.Errorf("%s: disconnected %v, connection closed %v", s.id, gone, closed)
			}
		}
	}},
	{"fetch-sockets-describes-every-node", func(t *testing.T, w *world) {
		list, err := w.nodes[0].a.FetchSockets(w.ctx(patience), adapter.Target{})
		w.must(err)
		w.described(t, list, w.all())
	}},
	{"fetch-sockets-selects", func(t *testing.T, w *world) {
		far := w.nodes[len(w.nodes)-1].socks[1]
		for _, c := range []struct {
			t    adapter.Target
			want []*Socket
		}{
			{to("red"), w.in("red")},
			{to("red", "last"), append(w.in("red"), far)},
			{to(far.id), []*Socket{far}},
			{adapter.Target{Except: []adapter.Room{"red"}}, w.in("blue")},
			{adapter.Target{Flags: adapter.Local}, w.nodes[0].socks},
			{to("nobody"), nil},
		} {
			list, err := w.nodes[0].a.FetchSockets(w.ctx(patience), c.t)
			w.must(err)
			w.described(t, list, c.want)
		}
	}},
	{"fetch-sockets-without-deadline", func(t *testing.T, w *world) {
		list, err := w.nodes[0].a.FetchSockets(t.Context(), to("last"))
		w.must(err)
		w.described(t, list, w.in("last"))
	}},
}

// membersBecome waits until exactly want are in room.
func (w *world) membersBecome(room adapter.Room, want []*Socket) {
	w.t.Helper()
	w.poll("the members of "+room+" are right", func() bool { return slices.Equal(w.in(room), want) })
}

func (w *world) gone(s *Socket) (gone, closed bool) {
	for _, nd := range w.nodes {
		if slices.Contains(nd.socks, s) {
			return nd.host.Disconnected(s.id)
		}
	}
	return false, false
}

// described checks that list describes exactly want.
func (w *world) described(t *testing.T, list []adapter.Remote, want []*Socket) {
	t.Helper()
	if len(list) != len(want) {
		t.Errorf("FetchSockets returned %d sockets, want %d", len(list), len(want))
	}
	for _, s := range want {
		i := slices.IndexFunc(list, func(r adapter.Remote) bool { return r.ID == s.id })
		if i < 0 {
			t.Errorf("FetchSockets misses %s", s.id)
			continue
		}
		r := list[i]
		rooms := slices.Sorted(slices.Values(r.Rooms))
		var wantRooms []adapter.Room
		for _, nd := range w.nodes {
			if slices.Contains(nd.socks, s) {
				wantRooms = slices.Sorted(slices.Values(nd.a.RoomsOf(s)))
			}
		}
		if !slices.Equal(rooms, wantRooms) {
			t.Errorf("%s: rooms %q, want %q", s.id, rooms, wantRooms)
		}
		if !sameJSON(r.Data, s.Data) {
			t.Errorf("%s: data %s, want %s", s.id, r.Data, s.Data)
		}
		if !sameJSON(r.Handshake, s.Handshake) {
			t.Errorf("%s: handshake %s, want %s", s.id, r.Handshake, s.Handshake)
		}
	}
}
