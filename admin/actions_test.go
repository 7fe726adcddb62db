package admin_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/socketfleet/socketfleet/admin"
	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestTheUIActs(t *testing.T) {
	t.Parallel()
	r := start(t, admin.Options{Writable: true}, core.Options{})
	ui, a, b := r.ui(t), r.dial(t), r.dial(t)
	sa, _ := r.Socket(a.ID())
	sb, _ := r.Socket(b.ID())
	eventually(t, "both are in their rooms", func() bool { return len(sa.Rooms())+len(sb.Rooms()) == 2 })
	do := func(args ...any) {
		t.Helper()
		if err := ui.Emit(args[0].(string), args[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	in := func(s *core.Socket, room string) func() bool {
		return func() bool { return slices.Contains(s.Rooms(), room) }
	}
	do("join", "/", "x", a.ID())
	eventually(t, "a is in x", in(sa, "x"))
	equal(t, "b is in x", in(sb, "x")(), false)
	do("emit", "/", "x", "note", 1, []byte{2})
	equal(t, "to a room", a.Expect(t, "note").Len(), 2)
	do("emit", "/", nil, "all")
	a.Expect(t, "all")
	b.Expect(t, "all")
	equal(t, "what is for a room reached b", len(b.Pending()), 0)
	do("join", "/", []string{"y", "z"})
	eventually(t, "all are in y and z", func() bool { return in(sa, "y")() && in(sb, "z")() })
	do("leave", "/", "y", b.ID())
	eventually(t, "b left y", func() bool { return !in(sb, "y")() })
	equal(t, "a is in y", in(sa, "y")(), true)
	do("leave", "/", "z")
	eventually(t, "all left z", func() bool { return !in(sa, "z")() && !in(sb, "z")() })
	do("_disconnect", "/", false, "x")
	ended(t, a)
	equal(t, "b is connected", b.Connected(), true)
	do("_disconnect", "/", true)
	ended(t, b)
	text := r.logs.String()
	equal(t, "actions in the log", strings.Count(text, "admin.action"), 8)
	if strings.Contains(text, a.ID()) {
		t.Errorf("the log has an id:\n%s", text)
	}
}

func ended(t *testing.T, c *testutil.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	if _, err := c.WaitDisconnect(ctx); err != nil {
		t.Error(err)
	}
}

func TestByDefaultTheUICannotAct(t *testing.T) {
	t.Parallel()
	r := start(t, admin.Options{Development: true}, core.Options{})
	ui, c := r.ui(t), r.dial(t)
	s, _ := r.Socket(c.ID())
	eventually(t, "the socket is in its room", func() bool { return len(s.Rooms()) == 1 })
	for _, args := range [][]any{
		{"join", "/", "x"}, {"leave", "/", c.ID()}, {"emit", "/", nil, "note"}, {"_disconnect", "/", true},
	} {
		if err := ui.Emit(args[0].(string), args[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	events := r.Stats().Events
	eventually(t, "the events have been handled", func() bool { return r.Stats().Events >= max(events, 4) })
	equal(t, "rooms", strings.Join(s.Rooms(), " "), c.ID())
	equal(t, "connected", c.Connected() && s.Connected(), true)
	equal(t, "events", len(c.Pending()), 0)
}

func TestOrdersThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	r := start(t, admin.Options{Writable: true}, core.Options{})
	ui, c := r.ui(t), r.dial(t)
	s, _ := r.Socket(c.ID())
	eventually(t, "the socket is in its room", func() bool { return len(s.Rooms()) == 1 })
	orders := [][]any{
		{"join"}, {"join", 1}, {"join", "/"}, {"join", "/", ""}, {"join", "/", []string{}},
		{"join", "/", strings.Repeat("x", 257)}, {"join", "/unknown", "x"}, {"join", "/", "x", map[string]int{}},
		{"leave", "/", 5}, {"emit"}, {"emit", "/"}, {"emit", "/", nil}, {"emit", "/", nil, ""},
		{"emit", "/", nil, "connect"}, {"_disconnect", "/", "yes"}, {"_disconnect", "/", true, []int{1}},
	}
	for _, args := range orders {
		if err := ui.Emit(args[0].(string), args[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "every one has failed", func() bool { return r.Stats().HandlerErrors == uint64(len(orders)) })
	equal(t, "rooms", strings.Join(s.Rooms(), " "), c.ID())
	equal(t, "connected", c.Connected(), true)
	equal(t, "namespaces", len(r.OfAll().Namespaces()), 2)
	equal(t, "actions in the log", strings.Count(r.logs.String(), "admin.action"), 0)
}
