package core

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/socketfleet/socketfleet/cluster"
)

func TestDrainSpreadsOverTheWindow(t *testing.T) {
	t.Parallel()
	const n, window = 1000, time.Minute
	var last time.Duration
	halves := [2]int{}
	for i, at := range offsets(n, window) {
		if at < last {
			t.Fatalf("connection %d at %v, after one at %v", i, at, last)
		}
		if at > window {
			t.Fatalf("connection %d at %v, outside the window", i, at)
		}
		halves[int(at/(window/2+1))]++
		last = at
	}
	if last < window*9/10 {
		t.Errorf("the last one at %v of %v", last, window)
	}
	if halves[0] < n*2/5 || halves[1] < n*2/5 {
		t.Errorf("%d in the first half, %d in the second", halves[0], halves[1])
	}
	for _, at := range offsets(10, 0) {
		if at != 0 {
			t.Fatalf("without a window: %v", at)
		}
	}
}

// A server drains into two others; all admit 10 handshakes a second.
func TestTheDrainWindowHeedsTheOtherNodes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		nodes, connections int
		opts               DrainOptions
		deadline           time.Duration
		want               time.Duration
		event              string
	}{
		"they take them in time":          {3, 600, DrainOptions{}, 0, time.Minute, ""},
		"they need longer":                {3, 1200, DrainOptions{}, 0, 2 * time.Minute, "drain.paced"},
		"one takes half of what two take": {2, 600, DrainOptions{}, 0, 2 * time.Minute, "drain.paced"},
		"there are no others":             {1, 1200, DrainOptions{}, 0, time.Minute, ""},
		"the rate is given":               {1, 1200, DrainOptions{Rate: 15}, 0, 80 * time.Second, "drain.paced"},
		"the window is given":             {3, 1200, DrainOptions{Window: 3 * time.Minute}, 0, 3 * time.Minute, ""},
		"there is no window":              {3, 1200, DrainOptions{Window: -1}, 0, -1, ""},
		"the rate is not bounded":         {3, 1200, DrainOptions{Rate: -1}, 0, time.Minute, ""},
		"the time is short":               {3, 1200, DrainOptions{}, 90 * time.Second, 84 * time.Second, "drain.too_fast"},
		"the time is over":                {3, 1200, DrainOptions{}, time.Second, time.Minute, "drain.too_fast"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				loop := cluster.NewLoopback()
				var logs strings.Builder
				log := slog.New(slog.NewTextHandler(&logs, nil))
				var first *Server
				for range tt.nodes {
					srv, err := New(t.Context(), &Options{
						Adapter:       cluster.NewProvider(loop.Bus(), cluster.Options{}),
						HandshakeRate: 10, Logger: log,
					})
					if err != nil {
						t.Fatal(err)
					}
					defer srv.Close()
					first = srv
				}
				synctest.Wait()
				ctx := t.Context()
				if tt.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.deadline)
					defer cancel()
				}
				d := &drain{srv: first, opts: tt.opts.withDefaults()}
				if got := d.window(ctx, tt.connections); got != tt.want {
					t.Errorf("%v, want %v", got, tt.want)
				}
				if tt.event != "" != strings.Contains(logs.String(), "event="+tt.event+" ") || tt.event == "" && strings.Contains(logs.String(), "drain.") {
					t.Errorf("logged %s", logs.String())
				}
			})
		})
	}
}
