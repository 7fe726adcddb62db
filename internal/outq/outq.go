package outq

// keepSlots is how many slots an empty queue may keep for the next burst.
const keepSlots = 16

// Sized is what a Queue holds: something of a known, constant size in bytes.
type Sized interface{ Size() int }

// Queue is a first-in-first-out queue that counts bytes. The zero value is empty
// and ready to use.
type Queue[T Sized] struct {
	items  []T
	head   int // items before it have been taken
	queued int // bytes waiting
	flying int // bytes taken and not Done
}

// Push appends v and reports whether there was room for it below limit bytes. An
// empty queue takes anything; a limit of zero or less is none.
func (q *Queue[T]) Push(v T, limit int) bool {
	size := v.Size()
	if have := q.Bytes(); limit > 0 && have > 0 && have+size > limit {
		return false
	}
	if q.head > 0 && len(q.items) == cap(q.items) {
		q.compact()
	}
	q.items = append(q.items, v)
	q.queued += size
	return true
}

// Take moves items that together have at most limit bytes, but at least one if
// there is any, to the end of dst. It returns dst and the number of bytes taken,
// which the caller gives to Done when they have been sent.
func (q *Queue[T]) Take(dst []T, limit int) ([]T, int) {
	taken := 0
	first := q.head
	for q.head < len(q.items) {
		size := q.items[q.head].Size()
		if q.head > first && taken+size > limit {
			break
		}
		taken += size
		q.head++
	}
	dst = append(dst, q.items[first:q.head]...)
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
func (q *Queue[T]) Done(n int) { q.flying -= n }

// Len returns the number of items waiting.
func (q *Queue[T]) Len() int { return len(q.items) - q.head }

// Bytes returns the number of bytes waiting or taken and not Done.
func (q *Queue[T]) Bytes() int { return q.queued + q.flying }

// Clear drops the items that wait.
func (q *Queue[T]) Clear() {
	q.items, q.head, q.queued = nil, 0, 0
}

func (q *Queue[T]) rewind() {
	q.head = 0
	if cap(q.items) > keepSlots {
		q.items = nil
		return
	}
	q.items = q.items[:0]
}

func (q *Queue[T]) compact() {
	n := copy(q.items, q.items[q.head:])
	clear(q.items[n:])
	q.items, q.head = q.items[:n], 0
}
