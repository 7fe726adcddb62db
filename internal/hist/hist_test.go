package hist

import (
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestValuesCountInTheirBucketAndAllLargerOnes(t *testing.T) {
	t.Parallel()
	r := NewSizes()
	for _, v := range []int64{0, 1, 2, 4, 5, 70_000} {
		r.Observe(v)
	}
	s := r.Snapshot()
	want := map[float64]uint64{1: 2, 4: 4, 16: 5, 64: 5, 65_536: 5}
	for bound, n := range want {
		if s.Buckets[bound] != n {
			t.Errorf("up to %v: %d, want %d", bound, s.Buckets[bound], n)
		}
	}
	if s.Count != 6 || s.Sum != 70_012 {
		t.Errorf("count %d, sum %v, want 6 and 70012", s.Count, s.Sum)
	}
}

func TestDurationsAreInSeconds(t *testing.T) {
	t.Parallel()
	r := NewDurations()
	r.Observe(int64(1500 * time.Millisecond))
	s := r.Snapshot()
	if s.Sum != 1.5 || s.Buckets[1] != 0 || s.Buckets[2.5] != 1 {
		t.Errorf("sum %v, up to 1 s %d, up to 2.5 s %d", s.Sum, s.Buckets[1], s.Buckets[2.5])
	}
}

func TestConcurrentObservationsAllCount(t *testing.T) {
	t.Parallel()
	r := NewDurations()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				r.Since(time.Now())
				_ = r.Snapshot()
			}
		})
	}
	wg.Wait()
	if n := r.Snapshot().Count; n != 8000 {
		t.Errorf("count %d, want 8000", n)
	}
}

func TestObservingAllocatesNothing(t *testing.T) {
	r := NewDurations()
	if n := testing.AllocsPerRun(100, func() { r.Observe(1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
