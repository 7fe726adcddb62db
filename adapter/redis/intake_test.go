package redis

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/cluster"
)

func TestAFullIntakeLosesItsOldest(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		push    []string
		handled []string
		dropped uint64
	}{
		{"within bounds", []string{"a", "b", "c"}, []string{"a", "b", "c"}, 0},
		{"too many", []string{"a", "b", "c", "d"}, []string{"b", "c", "d"}, 1},
		{"too large", []string{"a", "b", strings.Repeat("c", 10)}, []string{strings.Repeat("c", 10)}, 2},
		{"one larger than the bound", []string{strings.Repeat("c", 20)}, []string{strings.Repeat("c", 20)}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			var handled []string
			var lost uint64
			done := make(chan struct{})
			in := newIntake(func(p envelope) {
				mu.Lock()
				defer mu.Unlock()
				if handled = append(handled, p.payload); len(handled) == len(tt.handled) {
					close(done)
				}
			}, func(g Gap) {
				mu.Lock()
				defer mu.Unlock()
				lost += g.Dropped
			})
			for _, w := range in.workers {
				w.maxCount, w.maxBytes = 3, 10
			}
			to := &member{Attach: cluster.Attach{Namespace: "/"}}
			for _, payload := range tt.push {
				in.push(envelope{to: to, payload: payload})
			}
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			in.start(ctx, &wg)
			<-done
			cancel()
			wg.Wait()
			if strings.Join(handled, " ") != strings.Join(tt.handled, " ") || lost != tt.dropped || in.dropped.Load() != tt.dropped {
				t.Errorf("handled %q, lost %d", handled, lost)
			}
		})
	}
}

// What comes from pub/sub must not push out entries the stream's reader has passed.
func TestAFullIntakeLosesNoEntries(t *testing.T) {
	t.Parallel()
	in := newIntake(func(envelope) {}, func(Gap) {})
	for _, w := range in.workers {
		w.maxCount, w.maxBytes = 6, 1000
	}
	to := &member{Attach: cluster.Attach{Namespace: "/"}}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	entries := 0
	for in.pushWait(over, envelope{to: to, entry: &streamEntry{id: "1-1"}}) == nil {
		entries++
	}
	const messages = 10
	for range messages {
		in.push(envelope{to: to, payload: "x"})
	}
	w := in.worker(envelope{to: to})
	others := 0
	for p, _, ok := w.pop(); ok; p, _, ok = w.pop() {
		if p.entry == nil {
			others++
		} else {
			entries--
		}
	}
	if entries != 0 {
		t.Errorf("%d entries were dropped", entries)
	}
	if others == 0 || in.dropped.Load() != uint64(messages-others) {
		t.Errorf("%d messages of pub/sub were left of %d, %d were dropped", others, messages, in.dropped.Load())
	}
}

func TestAStarvedProcessIsNotDeaf(t *testing.T) {
	t.Parallel()
	s := &subscriber{idle: 2 * time.Second}
	s.init()
	w := watch{s: s, pulse: make(chan struct{}, 1)}
	now := time.Now()
	s.epoch = now.Add(-time.Minute) // nothing heard for a minute
	deaf := func(step time.Duration, steps int) bool {
		for range steps {
			now = now.Add(step)
			if w.check(now) != nil {
				return true
			}
		}
		return false
	}
	if deaf(time.Hour, 3) {
		t.Error("deaf although the checks came late")
	}
	if deaf(250*time.Millisecond, 15) {
		t.Error("deaf before the probes were due")
	}
	if len(w.pulse) != 1 {
		t.Error("no probe was asked for")
	}
	if !deaf(250*time.Millisecond, 2) {
		t.Error("not deaf after 4 s of silence")
	}
}
