package core

import (
	"testing"
	"time"
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
