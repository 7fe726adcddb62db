package outq

// keepKeys is how many keys an empty queue may remember room for.
const keepKeys = 16

// latest finds queued items by their keys.
type latest struct {
	at   map[string]int // base plus index in Queue.items; below base plus head: taken
	base int            // how far the items have moved since
	dead int            // slots between head and the end whose item has been replaced
}

// emptied returns what an empty queue keeps.
func (l *latest) emptied() *latest {
	if l == nil || len(l.at) > keepKeys {
		return nil
	}
	clear(l.at)
	l.base, l.dead = 0, 0
	return l
}

// PushLatest is Push for an item of which, with others of the same key, only the
// newest is worth sending: it replaces one that still waits. An item that has been
// taken is not touched.
//
// The new item takes the place of the old one, so that a key that changes all the
// time still gets its turn; it overtakes what was pushed between the two. With
// inOrder the old one is removed and the new one goes to the end: nothing is
// overtaken, but a key may wait as long as it changes faster than the queue moves.
// replaced tells that an item was dropped.
func (q *Queue[T]) PushLatest(v T, key string, inOrder bool, b Bound) (fit Fit, replaced bool) {
	size, grow := v.Size(), 1
	i, found := q.find(key)
	if found {
		size -= q.items[i].Size()
		grow = 0
	}
	if found && q.Bytes() == q.items[i].Size() {
		b.Bytes = 0 // the queue holds nothing else
	}
	if fit := q.fit(b, size, grow); fit != Fits {
		return fit, false
	}
	q.count(size)
	switch {
	case !found:
		q.remember(key, v)
	case inOrder:
		q.kill(i)
		q.remember(key, v)
	default:
		q.items[i] = v
	}
	return Fits, found
}

// find returns the index of the item that waits with a key.
func (q *Queue[T]) find(key string) (int, bool) {
	if q.latest == nil {
		return 0, false
	}
	at, ok := q.latest.at[key]
	i := at - q.latest.base
	return i, ok && i >= q.head
}

// remember appends v under its key.
func (q *Queue[T]) remember(key string, v T) {
	q.append(v)
	if q.latest == nil {
		q.latest = &latest{at: make(map[string]int)}
	}
	l := q.latest
	l.at[key] = l.base + len(q.items) - 1
	if len(l.at) > keepKeys+2*q.Len() {
		q.forget()
	}
}

// forget drops the keys of items that have been taken.
func (q *Queue[T]) forget() {
	for key, at := range q.latest.at {
		if at-q.latest.base < q.head {
			delete(q.latest.at, key)
		}
	}
}

// kill empties the slot of an item that has been replaced. Never is the first slot
// a dead one, and never are most of them.
func (q *Queue[T]) kill(i int) {
	var none T
	q.items[i] = none
	q.latest.dead++
	for q.head < len(q.items) && q.skip() {
	}
	if q.latest.dead > keepSlots+q.Len() {
		q.squeeze()
	}
}

// skip steps over a dead slot at the head.
func (q *Queue[T]) skip() bool {
	var none T
	if q.items[q.head] != none {
		return false
	}
	q.head++
	q.latest.dead--
	return true
}

// squeeze removes the dead slots.
func (q *Queue[T]) squeeze() {
	var none T
	moved := make([]int, len(q.items))
	n := 0
	for i := q.head; i < len(q.items); i++ {
		moved[i] = n
		if q.items[i] != none {
			q.items[n] = q.items[i]
			n++
		}
	}
	q.forget()
	for key, at := range q.latest.at {
		q.latest.at[key] = moved[at-q.latest.base]
	}
	clear(q.items[n:])
	q.items, q.head = q.items[:n], 0
	q.latest.base, q.latest.dead = 0, 0
}

// appendLive appends items, without dead slots if there may be any.
func appendLive[T comparable](dst, items []T, dead bool) []T {
	if !dead {
		return append(dst, items...)
	}
	var none T
	for _, v := range items {
		if v != none {
			dst = append(dst, v)
		}
	}
	return dst
}
