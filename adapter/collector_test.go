package adapter_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

func drain(ctx context.Context, c *adapter.Collector, silent ...adapter.NodeID) (n int, err error) {
	hooks := adapter.Hooks{
		Silent:  func() []adapter.NodeID { return c.Silent(silent) },
		Recount: func(context.Context) (int, error) { return 1, nil },
	}
	for _, e := range c.All(ctx, hooks) {
		if e != nil {
			return n, e
		}
		n++
	}
	return n, nil
}

func TestCollectorCompletes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		feed func(c *adapter.Collector)
		want int
	}{
		{"without sources", func(*adapter.Collector) {}, 0},
		{"when all announced answers came", func(c *adapter.Collector) {
			c.Expect(2)
			c.Report("a", 2)
			c.Add(adapter.Reply{Node: "a"})
			c.Add(adapter.Reply{Node: "b"}) // overtakes its announcement
			c.Add(adapter.Reply{Node: "a"})
			c.Report("b", 1)
		}, 3},
		{"with anonymous nodes", func(c *adapter.Collector) {
			c.Expect(2)
			c.Report("", 1)
			c.Report("", 0)
			c.Add(adapter.Reply{})
		}, 1},
		{"with answers of this node", func(c *adapter.Collector) {
			c.Add(adapter.Reply{})
			c.Announce(2)
			c.Add(adapter.Reply{})
		}, 2},
		{"despite a goodbye of a node that was not counted", func(c *adapter.Collector) {
			c.Expect(1)
			c.Forget("x")
			time.AfterFunc(50*time.Millisecond, func() { c.Answer(adapter.Reply{Node: "a"}) })
		}, 1},
		{"with late answers of a node that left", func(c *adapter.Collector) {
			c.Expect(2)
			c.Forget("x")
			c.Report("x", 3)
			c.Add(adapter.Reply{Node: "x"})
			c.Report("a", 1)
			c.Add(adapter.Reply{Node: "a"})
		}, 2},
		{"without the nodes that left", func(c *adapter.Collector) {
			c.Expect(3)
			c.Report("a", 5)
			c.Add(adapter.Reply{Node: "a"})
			c.Forget("a")
			c.Forget("b")
			c.Forget("a")
			c.Report("c", 0)
		}, 1},
		{"counting one answer and one report per node", func(c *adapter.Collector) {
			c.Expect(2)
			c.Answer(adapter.Reply{Node: "a"})
			c.Answer(adapter.Reply{Node: "a"})
			c.Answer(adapter.Reply{})
		}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			col := adapter.NewCollector("op", 0)
			c.feed(col)
			if n, err := drain(t.Context(), col); n != c.want || err != nil {
				t.Errorf("got %d replies and %v, want %d", n, err, c.want)
			}
			if col.Add(adapter.Reply{}) {
				t.Error("an ended collector took a reply")
			}
		})
	}
}

func TestCollectorYieldsWhatArrivedAndNamesTheSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c := adapter.NewCollector("op", 3)
		c.Report("a", 1)
		c.Report("b", 2)
		time.AfterFunc(time.Second/2, func() { c.Add(adapter.Reply{Node: "a"}) })
		n, err := drain(ctx, c, "a", "b", "c")
		var partial *adapter.PartialError
		if !errors.As(err, &partial) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
		if n != 1 || partial.Missing != 3 || !slices.Equal(partial.Nodes, []adapter.NodeID{"b", "c"}) {
			t.Errorf("%d replies, %v", n, err)
		}
	})
}

func TestCauseOf(t *testing.T) {
	t.Parallel()
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	if err := adapter.CauseOf(ctx); err != nil {
		t.Errorf("before the end: %v", err)
	}
	cancel(why)
	if err := adapter.CauseOf(ctx); !errors.Is(err, why) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
