package core_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

type position struct {
	X, Y int
	Map  []byte
}

var (
	moved = core.DefineEvent[position]("moved")
	where = core.DefineAckEvent[string, position]("where")
)

func TestServerAndClientShareADescriptor(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	moved.On(r, func(_ context.Context, s *core.Socket, p position) error {
		p.X++
		return moved.Emit(s.Broadcast(), p)
	})
	where.On(r, func(_ context.Context, _ *core.Socket, who string) (position, error) {
		return position{X: len(who)}, nil
	})
	a, b := r.dial(t), r.dial(t)
	r.socket(t, b)

	if err := moved.Emit(a, position{X: 1, Y: 2, Map: []byte{0, 255}}); err != nil {
		t.Fatal(err)
	}
	got, err := moved.Decode(b.Expect(t, moved.Name()))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "position", fmt.Sprint(got), fmt.Sprint(position{X: 2, Y: 2, Map: []byte{0, 255}}))

	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	answer, err := a.EmitWithAck(ctx, where.Name(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	at, err := where.DecodeAck(answer)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "answer", at.X, 3)
}

func TestADescriptorAsksClients(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.dial(t)
	c.On(where.Name(), func(args testutil.Args) {
		who, err := where.Decode(args)
		if err != nil {
			t.Error(err)
		}
		_ = args.Ack(position{Y: len(who)})
	})
	s := r.socket(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	p, err := where.Ask(ctx, s, "alice")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "one answer", p.Y, 5)
	n := 0
	for reply, err := range where.AskAll(ctx, r.To(), "bob") {
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "socket", reply.Socket, s.ID())
		equal(t, "answers", reply.Value.Y, 3)
		n++
	}
	equal(t, "number of answers", n, 1)
}

func TestReservedNamesCannotBeDefined(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	core.DefineEvent[any]("disconnect")
}
