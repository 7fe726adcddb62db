package core_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// describe registers an OnAck that answers with the Go form of what it decoded.
func describe[T any](l core.Listener, event string) {
	core.OnAck(l, event, func(_ context.Context, _ *core.Socket, v T) (string, error) {
		return fmt.Sprintf("%T %+v", v, v), nil
	})
}

type point struct {
	X    int    `json:"x"`
	Blob []byte `json:"blob"`
}

func TestArgumentsDecodeIntoTheHandlersType(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	describe[string](r, "string")
	describe[int](r, "int")
	describe[bool](r, "bool")
	describe[point](r, "struct")
	describe[*point](r, "pointer")
	describe[[]byte](r, "bytes")
	describe[[]string](r, "slice")
	describe[map[string]int](r, "map")
	describe[any](r, "any")
	for _, transports := range [][]string{{"websocket"}, {"polling"}} {
		c := testutil.MustDial(t, r.url, testutil.ClientOptions{Transports: transports})
		for _, tc := range []struct {
			name, event string
			args        []any
			want        string
		}{
			{"a string", "string", []any{"é"}, "string é"},
			{"no argument is the zero string", "string", nil, "string "},
			{"null is the zero string", "string", []any{nil}, "string "},
			{"of several arguments the first", "int", []any{1, "x"}, "int 1"},
			{"no argument is the zero int", "int", nil, "int 0"},
			{"a boolean", "bool", []any{true}, "bool true"},
			{"a struct", "struct", []any{map[string]any{"x": 3}}, "core_test.point {X:3 Blob:[]}"},
			{"a struct with binary inside", "struct", []any{map[string]any{"x": 3, "blob": []byte{1, 2}}}, "core_test.point {X:3 Blob:[1 2]}"},
			{"no argument is the zero struct", "struct", nil, "core_test.point {X:0 Blob:[]}"},
			{"no argument is a nil pointer", "pointer", nil, "*core_test.point <nil>"},
			{"bytes", "bytes", []any{[]byte("hi")}, "[]uint8 [104 105]"},
			{"no bytes", "bytes", []any{[]byte{}}, "[]uint8 []"},
			{"a slice", "slice", []any{[]string{"a", "b"}}, "[]string [a b]"},
			{"a map", "map", []any{map[string]int{"a": 1}}, "map[string]int map[a:1]"},
			{"anything", "any", []any{1.5}, "float64 1.5"},
			{"nothing", "any", nil, "<nil> <nil>"},
			{"a name that is special in JavaScript", "any", []any{"__proto__"}, "string __proto__"},
		} {
			if got := ack(t, c.Socket, tc.event, tc.args...); got != tc.want {
				t.Errorf("%s over %s: got %v, want %v", tc.name, transports, got, tc.want)
			}
		}
	}
}

func TestAnArgumentOfTheWrongTypeIsCountedAndNotHandled(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	core.On(r, "n", func(context.Context, *core.Socket, int) error { t.Error("called"); return nil })
	core.OnAck(r, "m", func(context.Context, *core.Socket, int) (int, error) { t.Error("called"); return 0, nil })
	core.On(r, "n", func(_ context.Context, s *core.Socket, v any) error { return s.Emit("seen", v) })
	c := r.dial(t)
	for _, v := range []any{"text", 1.5, map[string]any{}, []byte("x")} {
		_ = c.Emit("n", v)
		c.Expect(t, "seen") // another handler of the event is not affected
	}
	_ = c.EmitID(1, "m", "text")
	_ = c.Emit("n", "text")
	c.Expect(t, "seen")
	equal(t, "BadArguments", r.Stats().BadArguments, 6)
	equal(t, "HandlerErrors", r.Stats().HandlerErrors, 0)
	equal(t, "connected", c.Connected(), true)
}

func TestArgsCarriesAllArgumentsBothWays(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	core.OnArgs(r, "in", func(_ context.Context, s *core.Socket, a core.Args) error {
		var text string
		var blob []byte
		missing := "unchanged"
		err := errors.Join(a.Decode(0, &text), a.Decode(1, &blob), a.Decode(2, &missing), a.Decode(-1, &missing))
		if a.Len() != 2 || text != "a" || !bytes.Equal(blob, []byte{7}) || missing != "unchanged" || err != nil {
			t.Errorf("got %d arguments %q %v %q, err %v", a.Len(), text, blob, missing, err)
		}
		equal(t, "Raw", string(a.Raw(0)), `"a"`)
		equal(t, "Raw of a missing argument", a.Raw(5) == nil, true)
		return s.Emit("echo", "first", a, "last")
	})
	core.OnAck(r, "swap", func(_ context.Context, _ *core.Socket, a core.Args) (core.Args, error) {
		v, err := a.Values()
		return core.ArgsOf(v[1], v[0]), err
	})
	core.OnAck(r, "same", func(_ context.Context, _ *core.Socket, a core.Args) (core.Args, error) { return a, nil })
	c := r.dial(t)
	_ = c.Emit("in", "a", []byte{7})
	got := c.Expect(t, "echo")
	equal(t, "echo", fmt.Sprint(got.All()), "[first a [7] last]")

	for event, want := range map[string]string{"swap": "[[1 2] x]", "same": "[x [1 2]]"} {
		a, err := c.EmitWithAck(t.Context(), event, "x", []byte{1, 2})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, event, fmt.Sprint(a.All()), want)
	}
}

func TestAPlaceholderOfAUserStaysAnObject(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	core.OnAck(r, "echo", func(_ context.Context, _ *core.Socket, a core.Args) (core.Args, error) { return a, nil })
	c := r.dial(t)
	got := ack(t, c.Socket, "echo", map[string]any{"_placeholder": true, "num": 0})
	equal(t, "echo", fmt.Sprint(got), "map[_placeholder:true num:0]")
}

func TestHandlersOfOneEventRunInOrderOfRegistration(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	var j journal
	note := func(what string) func(context.Context, *core.Socket, none) error {
		return func(context.Context, *core.Socket, none) error { j.add(what); return nil }
	}
	r.Of("/dyn-0") // before the family, and so not of it
	d := r.OfPattern(namePattern(`^/dyn-\d$`))
	core.On(d, "e", note("family"))
	adopted := r.Of("/dyn-1")
	core.On(adopted, "e", note("first"))
	cancel := core.On(adopted, "e", note("cancelled"))
	core.On(adopted, "e", note("second"))
	core.On(adopted, "other", note("other"))
	adopted.OnConnect(func(_ context.Context, s *core.Socket) error {
		off := core.On(s, "e", note("removed"))
		core.On(s, "e", note("socket"))
		off()
		off() // twice is harmless
		core.OnAck(s, "done", func(context.Context, *core.Socket, none) (bool, error) { return true, nil })
		return nil
	})
	cancel()
	c := r.join(t, "/dyn-1")
	_ = c.Emit("e")
	ack(t, c.Socket, "done")
	equal(t, "order", j.String(), "family first second socket")
	equal(t, "namespaces of the family", len(d.Namespaces()), 1)
}

func TestASocketsListenersHearOnlyThatSocket(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	core.OnAck(r, "sync", func(context.Context, *core.Socket, none) (bool, error) { return true, nil })
	a, b := r.dial(t), r.dial(t)
	heard := make(chan string, 4)
	core.On(r.socket(t, a), "e", func(_ context.Context, s *core.Socket, _ none) error { heard <- s.ID(); return nil })
	_ = b.Emit("e")
	ack(t, b.Socket, "sync")
	_ = a.Emit("e")
	ack(t, a.Socket, "sync")
	equal(t, "heard", len(heard), 1)
	equal(t, "socket", <-heard, a.ID())
}

func TestEventMiddlewaresWrapTheHandlersInOrder(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	var j journal
	wrap := func(name string) func(core.EventHandler) core.EventHandler {
		return func(next core.EventHandler) core.EventHandler {
			return func(ctx context.Context, s *core.Socket, e *core.Event) error {
				j.add(name + ">")
				defer j.add("<" + name)
				return next(ctx, s, e)
			}
		}
	}
	f := r.OfPattern(namePattern(`^/mw$`))
	f.UseEvent(wrap("family"))
	n := r.Of("/mw")
	n.UseEvent(wrap("a"), wrap("b"))
	n.UseEvent(func(next core.EventHandler) core.EventHandler {
		return func(ctx context.Context, s *core.Socket, e *core.Event) error {
			switch e.Name {
			case "dropped":
				return nil
			case "refused":
				return errors.New("not allowed")
			case "answered":
				return e.Ack("by the middleware")
			}
			return next(ctx, s, e)
		}
	})
	n.OnAny(func(_ context.Context, _ *core.Socket, e *core.Event) {
		j.add(fmt.Sprintf("any:%s:%d:%v", e.Name, e.Args.Len(), e.WantsAck()))
	})
	for _, event := range []string{"dropped", "refused", "answered"} {
		core.On(n, event, func(context.Context, *core.Socket, none) error { t.Errorf("%s reached its handler", event); return nil })
	}
	core.OnAck(n, "e", func(context.Context, *core.Socket, none) (string, error) { j.add("handler"); return "ok", nil })
	c := r.join(t, "/mw")
	_ = c.Emit("dropped")
	_ = c.Emit("refused", 1, 2)
	equal(t, "answered", ack(t, c.Socket, "answered"), any("by the middleware"))
	equal(t, "e", ack(t, c.Socket, "e"), any("ok"))
	in, out := " family> a> b> ", " <b <a <family "
	want := "any:dropped:0:false" + in[:len(in)-1] + out + "any:refused:2:false" + in[:len(in)-1] + out +
		"any:answered:0:true" + in[:len(in)-1] + out + "any:e:0:true" + in + "handler" + out[:len(out)-1]
	eventually(t, "the middlewares have returned", func() bool { return len(j.String()) >= len(want) })
	equal(t, "order", j.String(), want)
	equal(t, "HandlerErrors", r.Stats().HandlerErrors, 1)
}

func TestOnAnyOutgoingSeesEachEmitOnce(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	seen := make(chan core.Outgoing, 10)
	r.OnAnyOutgoing(func(o core.Outgoing) { seen <- o })
	r.OnAnyOutgoing(func(core.Outgoing) { panic("outgoing") })
	a, b := r.dial(t), r.dial(t)
	_ = r.To("x").Except("y").Emit("broadcast", 1)
	_ = r.Emit("all")
	s := r.socket(t, a)
	_ = s.Emit("one", 2)
	o := recv(t, "the broadcast", seen)
	equal(t, "broadcast", fmt.Sprint(o.Event, o.Args, o.Socket == nil, o.Target.Rooms, o.Target.Except), "broadcast[1] true [x] [y]")
	equal(t, "all", recv(t, "all", seen).Event, "all")
	o = recv(t, "the emit", seen)
	equal(t, "one", fmt.Sprint(o.Event, o.Args, o.Socket == s), "one[2] true")
	equal(t, "more", len(seen), 0)
	a.Expect(t, "one")
	b.Expect(t, "all")
	equal(t, "HandlerPanics", r.Stats().HandlerPanics, 3)
}

func TestReservedNames(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.dial(t)
	s := r.socket(t, c)
	other := r.dial(t)
	for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		for what, err := range map[string]error{
			"Socket.Emit":       s.Emit(name),
			"Socket.TryEmit":    s.TryEmit(name),
			"Server.Emit":       r.Emit(name),
			"To.Emit":           r.To("x").Emit(name),
			"RemoteSocket.Emit": r.RemoteSocket("x").Emit(name),
			"EmitWithAck":       errorOf(core.EmitWithAck[any](t.Context(), s, name)),
			"BroadcastWithAck":  firstError(core.BroadcastWithAck[any](t.Context(), r.To("x"), name)),
		} {
			if !errors.Is(err, core.ErrReserved) {
				t.Errorf("%s(%q) = %v, want ErrReserved", what, name, err)
			}
		}
		if !panics(func() { core.On(r, name, func(context.Context, *core.Socket, none) error { return nil }) }) {
			t.Errorf("On(%q) did not panic", name)
		}
		e := r.engine(t)
		send(t, e, `2["`+name+`"]`)
		ended(t, e)
	}
	for _, name := range []string{"connect", "connection", "new_namespace"} {
		if err := r.ServerSideEmit(name); !errors.Is(err, core.ErrReserved) {
			t.Errorf("ServerSideEmit(%q) = %v, want ErrReserved", name, err)
		}
	}
	core.OnAck(r, "error", func(context.Context, *core.Socket, none) (bool, error) { return true, nil })
	equal(t, "error is an ordinary name", ack(t, other.Socket, "error"), any(true))
	equal(t, "ProtocolErrors", r.Stats().ProtocolErrors, 6)
	equal(t, "others are connected", c.Connected() && other.Connected(), true)
}

func TestWhatCannotBeEncodedIsAnErrorAndSendsNothing(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.dial(t)
	s := r.socket(t, c)
	if s.Emit("e", make(chan int)) == nil || r.Emit("e", func() {}) == nil {
		t.Error("no error")
	}
	core.OnAck(r, "bad", func(context.Context, *core.Socket, none) (any, error) { return make(chan int), nil })
	_ = c.EmitID(1, "bad")
	eventually(t, "the failure is counted", func() bool { return r.Stats().HandlerErrors == 1 })
	_ = s.Emit("good")
	equal(t, "first event", c.Expect(t, "").Name, "good")
}

func errorOf[T any](_ T, err error) error { return err }

func firstError[T any](seq func(func(T, error) bool)) error {
	for _, err := range seq {
		return err
	}
	return nil
}

func panics(fn func()) (did bool) {
	defer func() { did = recover() != nil }()
	fn()
	return false
}
