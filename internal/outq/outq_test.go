package outq

import (
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type item struct{ n, size int }

func (i *item) Size() int { return i.size }

func TestQueueKeepsOrderAndCountsBytes(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var q Queue[*item]
	pushed, taken, queued := 0, 0, 0
	for range 20_000 {
		if rng.IntN(3) > 0 {
			it := &item{n: pushed, size: 1 + rng.IntN(100)}
			q.Push(it, Bound{})
			pushed++
			queued += it.size
			continue
		}
		batch, n := q.Take(nil, 1+rng.IntN(500))
		sum := 0
		for _, it := range batch {
			if it.n != taken {
				t.Fatalf("took item %d, want %d", it.n, taken)
			}
			taken++
			sum += it.size
		}
		if sum != n || q.Bytes() != queued {
			t.Fatalf("took %d bytes, said %d; %d counted, want %d", sum, n, q.Bytes(), queued)
		}
		q.Done(n)
		queued -= n
		if q.Bytes() != queued || q.Len() != pushed-taken {
			t.Fatalf("bytes %d want %d, len %d want %d", q.Bytes(), queued, q.Len(), pushed-taken)
		}
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	var q Queue[*item]
	if q.Push(&item{size: 1000}, Bound{Bytes: 100}) != Fits {
		t.Error("an empty queue must take one item of any size")
	}
	if q.Push(&item{size: 1}, Bound{Bytes: 100}) != TooManyBytes {
		t.Error("pushed beyond the limit")
	}
	_, n := q.Take(nil, 1)
	if q.Push(&item{size: 1}, Bound{Bytes: 100}) != TooManyBytes {
		t.Error("bytes being written do not count")
	}
	q.Done(n)
	if q.Push(&item{size: 100}, Bound{Bytes: 100}) != Fits {
		t.Error("no room after Done")
	}
}

func TestLimitOfItems(t *testing.T) {
	t.Parallel()
	var q Queue[*item]
	b := Bound{Items: 3}
	for range 3 {
		if q.Push(&item{size: 1}, b) != Fits {
			t.Fatal("no room below the limit")
		}
	}
	if got := q.Push(&item{size: 1}, b); got != TooManyItems {
		t.Errorf("pushed beyond the limit: %v", got)
	}
	_, _ = q.Take(nil, 1)
	if q.Push(&item{size: 1}, b) != Fits {
		t.Error("items being written count")
	}
}

func TestQueuesShareATotal(t *testing.T) {
	t.Parallel()
	var total Total
	var a, b Queue[*item]
	a.Share(&total)
	b.Share(&total)
	a.Push(&item{size: 10}, Bound{})
	b.Push(&item{size: 20}, Bound{})
	b.PushLatest(&item{size: 30}, "k", false, Bound{})
	b.PushLatest(&item{size: 5}, "k", false, Bound{})
	if got := total.Bytes.Load(); got != 35 {
		t.Errorf("total %d, want 35", got)
	}
	_, n := a.Take(nil, 10)
	a.Clear()
	if got := total.Bytes.Load(); got != 35 {
		t.Errorf("total %d with bytes on their way, want 35", got)
	}
	a.Done(n)
	b.Clear()
	if got := total.Bytes.Load(); got != 0 {
		t.Errorf("total %d in the end", got)
	}
}

func TestQueuesAboveTheMarkAreCounted(t *testing.T) {
	t.Parallel()
	total := Total{Mark: 100}
	var a, b Queue[*item]
	a.Share(&total)
	b.Share(&total)
	want := func(after string, high int64) {
		t.Helper()
		if got := total.High.Load(); got != high {
			t.Errorf("%d queues are high after %s, want %d", got, after, high)
		}
	}
	a.Push(&item{size: 100}, Bound{})
	want("reaching the mark", 0)
	a.Push(&item{size: 1}, Bound{})
	want("passing it", 1)
	b.PushLatest(&item{size: 500}, "k", false, Bound{})
	want("one item above it", 2)
	b.PushLatest(&item{size: 5}, "k", false, Bound{})
	want("a smaller one in its place", 1)
	_, n := a.Take(nil, 1000)
	want("taking all", 1)
	a.Done(n)
	want("sending all", 0)
	a.Push(&item{size: 101}, Bound{})
	a.Clear()
	want("clearing", 0)
}

func TestTakeGivesAtLeastOne(t *testing.T) {
	t.Parallel()
	var q Queue[*item]
	q.Push(&item{size: 50}, Bound{})
	q.Push(&item{size: 50}, Bound{})
	if batch, _ := q.Take(nil, 10); len(batch) != 1 {
		t.Errorf("took %d items, want 1", len(batch))
	}
	q.Clear()
	if batch, n := q.Take(nil, 10); len(batch) != 0 || n != 0 {
		t.Errorf("took %d items of a cleared queue", len(batch))
	}
}

func TestBigArraysAreReleased(t *testing.T) {
	t.Parallel()
	var q Queue[*item]
	for range 1000 {
		q.Push(&item{size: 1}, Bound{})
	}
	_, n := q.Take(nil, 1000)
	q.Done(n)
	if cap(q.items) > keepSlots {
		t.Errorf("kept %d slots", cap(q.items))
	}
}

func TestBurstsDoNotAllocate(t *testing.T) {
	var q Queue[*item]
	it := &item{size: 10}
	scratch := make([]*item, 0, 16)
	got := testing.AllocsPerRun(100, func() {
		for range 8 {
			q.Push(it, Bound{})
		}
		batch, n := q.Take(scratch[:0], 1000)
		q.Done(n)
		clear(batch)
	})
	if got > 0 {
		t.Errorf("%v allocations per burst", got)
	}
}

func BenchmarkPushTake(b *testing.B) {
	var q Queue[*item]
	it := &item{size: 10}
	scratch := make([]*item, 0, 16)
	b.ReportAllocs()
	for b.Loop() {
		q.Push(it, Bound{Bytes: 1 << 20})
		_, n := q.Take(scratch[:0], 1000)
		q.Done(n)
	}
}
