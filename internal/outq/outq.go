package outq

import "sync/atomic"

// keepSlots is how many slots an empty queue may keep for the next burst.
const keepSlots = 16

// Sized is what a Queue holds: a pointer, say, to something of a known, constant
// size in bytes. Its zero value is never queued.
type Sized interface {
	comparable
	Size() int
}

// Bound is what a queue may hold. A field of zero or less is no bound.
type Bound struct {
	Bytes int // waiting or being written; an empty queue takes one item of any size
	Items int // waiting
}

// Fit says whether an item was queued, or which bound it did not fit.
type Fit uint8

// What Push returns.
const (
	Fits Fit = iota
	TooManyBytes
	TooManyItems
)

// Queue is a first-in-first-out queue that counts bytes. The zero value is empty
// and ready to use.
type Queue[T Sized] struct {
	items  []T
	head   int // items before it have been taken
	queued int // bytes waiting
	flying int // bytes taken and not Done

	latest *latest // nil: no item with a key has been queued lately
	total  *Total  // nil: nobody counts
}

// Total sums up the queues that share it.
type Total struct {
	Mark  int          // bytes; zero or less: no queue is high. It does not change
	Bytes atomic.Int64 // waiting or being written
	High  atomic.Int64 // queues with more than Mark bytes
}

// moved takes note that a queue has n bytes more and now has.
func (t *Total) moved(n, now int) {
	t.Bytes.Add(int64(n))
	if t.Mark <= 0 {
		return
	}
	switch is, was := now > t.Mark, now-n > t.Mark; {
	case is && !was:
		t.High.Add(1)
	case was && !is:
		t.High.Add(-1)
	}
}

// Share makes the queue's bytes count in total as well. It is called once, while
// the queue is empty.
func (q *Queue[T]) Share(total *Total) { q.total = total }

// Push appends v, if there is room for it.
func (q *Queue[T]) Push(v T, b Bound) Fit {
	size := v.Size()
	if fit := q.fit(b, size, 1); fit != Fits {
		return fit
	}
	q.append(v)
	q.count(size)
	return Fits
}

// fit checks whether the queue may grow.
func (q *Queue[T]) fit(b Bound, bytes, items int) Fit {
	if have := q.Bytes(); b.Bytes > 0 && have > 0 && have+bytes > b.Bytes {
		return TooManyBytes
	}
	if b.Items > 0 && items > 0 && q.Len()+items > b.Items {
		return TooManyItems
	}
	return Fits
}

func (q *Queue[T]) append(v T) {
	if q.head > 0 && len(q.items) == cap(q.items) {
		q.compact()
	}
	q.items = append(q.items, v)
}

func (q *Queue[T]) count(bytes int) {
	q.queued += bytes
	if q.total != nil {
		q.total.moved(bytes, q.Bytes())
	}
}

// Take moves items that together have at most limit bytes, but at least one if
// there is any, to the end of dst. It returns dst and the number of bytes taken,
// which the caller gives to Done when they have been sent.
func (q *Queue[T]) Take(dst []T, limit int) ([]T, int) {
	taken := 0
	first := q.head
	for q.head < len(q.items) {
		if q.latest != nil && q.latest.dead > 0 && q.skip() {
			continue
		}
		size := q.items[q.head].Size()
		if q.head > first && taken+size > limit {
			break
		}
		taken += size
		q.head++
	}
	dst = appendLive(dst, q.items[first:q.head], q.latest != nil)
	clear(q.items[first:q.head])
	q.queued -= taken
	q.flying += taken
	if q.head == len(q.items) {
		q.rewind()
	}
	return dst, taken
}

// Peek returns the item that Take would give first. The queue must not be empty.
func (q *Queue[T]) Peek() T { return q.items[q.head] }

// Done tells that n taken bytes have left.
func (q *Queue[T]) Done(n int) {
	q.flying -= n
	if q.total != nil && n != 0 {
		q.total.moved(-n, q.Bytes())
	}
}

// Len returns the number of items waiting.
func (q *Queue[T]) Len() int {
	n := len(q.items) - q.head
	if q.latest != nil {
		n -= q.latest.dead
	}
	return n
}

// Bytes returns the number of bytes waiting or taken and not Done.
func (q *Queue[T]) Bytes() int { return q.queued + q.flying }

// Clear drops the items that wait.
func (q *Queue[T]) Clear() {
	q.count(-q.queued)
	q.items, q.head, q.latest = nil, 0, nil
}

func (q *Queue[T]) rewind() {
	q.head = 0
	q.latest = q.latest.emptied()
	if cap(q.items) > keepSlots {
		q.items = nil
		return
	}
	q.items = q.items[:0]
}

func (q *Queue[T]) compact() {
	if q.latest != nil {
		q.latest.base += q.head
	}
	n := copy(q.items, q.items[q.head:])
	clear(q.items[n:])
	q.items, q.head = q.items[:n], 0
}
