package core_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/socketfleet/socketfleet/core"
)

func TestRoomEventsComeInOrder(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	names := map[core.RoomChange]string{
		core.RoomCreated: "created", core.RoomJoined: "joined", core.RoomLeft: "left", core.RoomDeleted: "deleted",
	}
	events := make(chan string, 64)
	r.OnRoom(func(e core.RoomEvent) {
		room := e.Room
		if room == e.Socket.ID() {
			room = "own"
		}
		events <- names[e.Change] + " " + room
	})
	c := r.dial(t)
	s := r.socket(t, c)
	if err := s.Join("x"); err != nil {
		t.Fatal(err)
	}
	if err := s.Join("x"); err != nil { // once more changes nothing
		t.Fatal(err)
	}
	s.Leave("x")
	s.Disconnect(false)
	for i, want := range []string{
		"created own", "joined own", "created x", "joined x", "left x", "deleted x", "left own", "deleted own",
	} {
		equal(t, fmt.Sprint("event ", i), recv(t, want, events), want)
	}
}

func TestAListenerToRoomsMayUseTheServer(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	done := make(chan error, 8)
	r.OnRoom(func(e core.RoomEvent) {
		if e.Change == core.RoomJoined && e.Room == "x" {
			done <- e.Socket.Join("y")
			panic("a listener's own fault")
		}
	})
	c := r.dial(t)
	if err := r.socket(t, c).Join("x"); err != nil {
		t.Fatal(err)
	}
	if err := recv(t, "the listener", done); err != nil {
		t.Error(err)
	}
	eventually(t, "the panic is counted", func() bool { return r.Stats().HandlerPanics == 1 })
}

func TestDisconnectRoomsReachesEveryNamespace(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	join := func(_ context.Context, s *core.Socket) error { return s.Join("user:1") }
	r.OnConnect(join)
	r.Of("/a").OnConnect(join)
	r.Of("/b")
	root, a, b := r.dial(t), r.join(t, "/a"), r.join(t, "/b")
	eventually(t, "the rooms are joined", func() bool {
		rooms, _ := r.Of("/a").AllRooms(t.Context())
		more, _ := r.AllRooms(t.Context())
		return len(rooms) == 2 && len(more) >= 2
	})
	if err := r.DisconnectRooms(t.Context(), false, "user:1"); err != nil {
		t.Fatal(err)
	}
	equal(t, "reason in /", reason(t, root.Socket), "io server disconnect")
	equal(t, "reason in /a", reason(t, a.Socket), "io server disconnect")
	equal(t, "connected in /b", b.Connected(), true)
	if err := r.DisconnectRooms(t.Context(), false); err != nil {
		t.Error(err)
	}
	equal(t, "connected in /b without rooms", b.Connected(), true)
}
