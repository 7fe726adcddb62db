package core_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// got returns the events a client received, up to a marker sent to everybody.
func got(t testing.TB, c *testutil.Client) string {
	t.Helper()
	var names []string
	for {
		name := c.Expect(t, "").Name
		if name == "marker" {
			return strings.Join(names, " ")
		}
		names = append(names, name)
	}
}

func TestBroadcastsReachWhomTheySelect(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	a, b, c := r.dial(t), r.dial(t), r.dial(t)
	sa, sb, sc := r.socket(t, a), r.socket(t, b), r.socket(t, c)
	for s, rooms := range map[*core.Socket][]string{sa: {"x", "y"}, sb: {"y", "__proto__"}, sc: {"z"}} {
		if err := s.Join(rooms...); err != nil {
			t.Fatal(err)
		}
	}
	to := r.To("x")
	_ = to.To("y")         // a copy is changed,
	_ = to.Except("x")     // never the operator itself
	_ = to.Local().To("z") // nor what it shares
	for event, b := range map[string]core.BroadcastOperator{
		"x":         to,
		"union":     r.To("x").In("y", "x"),
		"except":    r.To("y").Except("x"),
		"nobody":    r.To("y").Except("y"),
		"id":        r.To(sc.ID()),
		"others":    sa.Broadcast(),
		"to-others": sa.To("x", "y", "z"),
		"own":       sa.To(sa.ID()),
		"empty":     r.To("empty"),
		"js":        r.To("__proto__"),
		"local":     r.Local().Compress(false).Volatile().In("z"),
	} {
		if err := b.Emit(event); err != nil {
			t.Error(err)
		}
	}
	_ = r.Emit("marker")
	for client, want := range map[*testutil.Client]string{
		a: "union x", b: "except js others to-others union", c: "id local others to-others",
	} {
		events := strings.Fields(got(t, client))
		slices.Sort(events)
		equal(t, "events", strings.Join(events, " "), want)
	}
}

func TestManySocketsAreMovedAtOnce(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	a, b := r.dial(t), r.dial(t)
	ctx := t.Context()
	err := errors.Join(
		r.SocketsJoin(ctx, "all", "more"),
		r.To(a.ID()).SocketsJoin(ctx, "mine"),
		r.SocketsLeave(ctx, "more"),
		r.RemoteSocket(b.ID()).Join(ctx, "remote"),
		r.RemoteSocket(a.ID()).Leave(ctx, "all"),
		r.RemoteSocket("nobody").Join(ctx, "nothing"),
	)
	if err != nil {
		t.Fatal(err)
	}
	for c, want := range map[*testutil.Client][]string{a: {a.ID(), "mine"}, b: {b.ID(), "all", "remote"}} {
		rooms := r.socket(t, c).Rooms()
		slices.Sort(rooms)
		slices.Sort(want)
		equal(t, "rooms", fmt.Sprint(rooms), fmt.Sprint(want))
	}
	found, err := r.In("mine", "remote").FetchSockets(ctx)
	equal(t, "fetched", fmt.Sprint(len(found), err), "2 <nil>")
	if err := r.RemoteSocket(a.ID()).Disconnect(ctx, false); err != nil {
		t.Error(err)
	}
	equal(t, "reason", reason(t, a.Socket), "io server disconnect")
}

func TestRoomLimits(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{MaxRoomsPerSocket: 4})
	early := make(chan error, 1)
	r.Use(func(_ context.Context, s *core.Socket) error { early <- s.Join("1", "2", "3", "4", "5"); return nil })
	c := r.dial(t)
	if err := <-early; !errors.Is(err, core.ErrTooManyRooms) {
		t.Errorf("in a middleware: %v, want ErrTooManyRooms", err)
	}
	s := r.socket(t, c)
	eventually(t, "the socket is in its own room", func() bool { return len(s.Rooms()) == 1 })
	for _, tc := range []struct {
		rooms []string
		want  error
	}{
		{[]string{strings.Repeat("n", 257)}, core.ErrRoomName},
		{[]string{strings.Repeat("n", 256)}, nil},
		{[]string{"a", "b", "c"}, core.ErrTooManyRooms},
		{[]string{"a", "b"}, nil},
		{[]string{"a"}, nil}, // joined already
		{[]string{"d"}, core.ErrTooManyRooms},
		{nil, nil},
	} {
		if err := s.Join(tc.rooms...); !errors.Is(err, tc.want) {
			t.Errorf("Join(%d rooms) = %v, want %v", len(tc.rooms), err, tc.want)
		}
	}
	s.Leave("a", "never joined")
	if err := s.Join("d"); err != nil {
		t.Errorf("after Leave: %v", err)
	}
	unbounded := start(t, &core.Options{MaxRoomsPerSocket: -1})
	u := unbounded.socket(t, unbounded.dial(t))
	for i := range 1500 {
		if err := u.Join(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestJoinAfterTheEndIsRefused(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.dial(t)
	s := r.socket(t, c)
	s.Disconnect(false)
	if err := s.Join("x"); !errors.Is(err, core.ErrDisconnected) {
		t.Errorf("got %v, want ErrDisconnected", err)
	}
	s.Leave("x")
	rooms, _ := r.AllRooms(t.Context())
	equal(t, "rooms", len(rooms), 0)
}

func TestNoGhostStaysInARoomWhateverJoinsRaceWith(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	var joiners sync.WaitGroup
	for i := range 60 {
		c := r.dial(t)
		s := r.socket(t, c)
		begun := make(chan struct{})
		joiners.Go(func() {
			for k := 0; ; k++ {
				if k == 3 {
					close(begun)
				}
				switch err := s.Join("shared", fmt.Sprint("room-", k%7)); {
				case errors.Is(err, core.ErrDisconnected):
					return
				case err != nil:
					t.Error(err)
				}
				s.Leave("shared")
			}
		})
		joiners.Go(func() {
			<-begun
			switch i % 3 {
			case 0:
				s.Disconnect(true)
			case 1:
				c.Engine().Abort()
			default:
				_ = c.Disconnect()
			}
			_ = r.SocketsJoin(context.Background(), "late")
		})
	}
	joiners.Wait()
	eventually(t, "no room is left", func() bool {
		rooms, err := r.AllRooms(t.Context())
		return len(rooms) == 0 && err == nil
	})
}

func TestTheDataAttribute(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.dial(t)
	s := r.socket(t, c)
	if v, ok := core.Data[string](s); v != "" || ok {
		t.Errorf("unset: %q, %v", v, ok)
	}
	remote := func() (found core.RemoteSocket) {
		all, err := r.FetchSockets(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		return all[0]
	}
	var p point
	if err := remote().Data(&p); err != nil || p.X != 0 {
		t.Errorf("unset: %+v, %v", p, err)
	}
	if err := s.SetData(&point{X: 4}); err != nil {
		t.Fatal(err)
	}
	if v, ok := core.Data[*point](s); !ok || v.X != 4 {
		t.Errorf("got %+v, %v", v, ok)
	}
	if _, ok := core.Data[string](s); ok {
		t.Error("of the wrong type, and yet ok")
	}
	if err := remote().Data(&p); err != nil || p.X != 4 {
		t.Errorf("fetched: %+v, %v", p, err)
	}
	if s.SetData(make(chan int)) == nil {
		t.Error("a channel is no error")
	}
	equal(t, "id", remote().ID(), c.ID())
	equal(t, "rooms", fmt.Sprint(remote().Rooms()), fmt.Sprint([]string{c.ID()}))
	equal(t, "handshake", strings.Contains(string(remote().Handshake()), `"headers"`), true)
}
