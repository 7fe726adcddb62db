package hist

import (
	"sync/atomic"
	"time"
)

// Snapshot is the state of a Recorder at one moment.
type Snapshot struct {
	// Count is how many values were observed, and Sum their sum: in seconds for a
	// Recorder of durations.
	Count uint64
	Sum   float64
	// Buckets counts the values up to each upper bound, those of all smaller
	// buckets included, in the unit of Sum. Values above the last bound are in Count
	// only.
	Buckets map[float64]uint64
}

// Recorder is a histogram with fixed bounds.
type Recorder struct {
	// Immutable.
	bounds []int64
	unit   float64 // what the values are divided by in a Snapshot

	counts []atomic.Uint64 // of each bucket alone; the last is above all bounds
	sum    atomic.Int64
}

// NewDurations returns a Recorder of durations, with bounds that fit anything
// from a handler to a client on the other side of the world: 0.1 ms to 30 s.
func NewDurations() *Recorder {
	return newRecorder(float64(time.Second),
		int64(100*time.Microsecond), int64(500*time.Microsecond),
		int64(time.Millisecond), int64(5*time.Millisecond), int64(10*time.Millisecond), int64(25*time.Millisecond),
		int64(50*time.Millisecond), int64(100*time.Millisecond), int64(250*time.Millisecond), int64(500*time.Millisecond),
		int64(time.Second), int64(2500*time.Millisecond), int64(5*time.Second), int64(10*time.Second), int64(30*time.Second))
}

// NewSizes returns a Recorder of numbers, with the powers of four up to 65,536 as
// bounds.
func NewSizes() *Recorder {
	return newRecorder(1, 1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536)
}

func newRecorder(unit float64, bounds ...int64) *Recorder {
	return &Recorder{bounds: bounds, unit: unit, counts: make([]atomic.Uint64, len(bounds)+1)}
}

// Observe counts a value.
func (r *Recorder) Observe(v int64) {
	i := 0
	for i < len(r.bounds) && v > r.bounds[i] {
		i++
	}
	r.counts[i].Add(1)
	r.sum.Add(v)
}

// Since counts the time since began, for a Recorder of durations.
func (r *Recorder) Since(began time.Time) { r.Observe(int64(time.Since(began))) }

// Snapshot returns what has been counted. Buckets and Count always agree with
// each other; Sum may be ahead or behind by what is observed meanwhile.
func (r *Recorder) Snapshot() Snapshot {
	s := Snapshot{Buckets: make(map[float64]uint64, len(r.bounds)), Sum: float64(r.sum.Load()) / r.unit}
	for i, bound := range r.bounds {
		s.Count += r.counts[i].Load()
		s.Buckets[float64(bound)/r.unit] = s.Count
	}
	s.Count += r.counts[len(r.bounds)].Load()
	return s
}
