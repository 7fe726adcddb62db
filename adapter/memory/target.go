package memory

import (
	"sync"

	"github.com/socketfleet/socketfleet/adapter"
)

// marks is a set of entries by slot, so that the union of rooms costs one bit
// per member of the namespace and no map.
type marks []uint64

// maxPooledMarks bounds what the pool keeps: the marks of four million members.
const maxPooledMarks = 4 << 20 / 64

var marksPool = sync.Pool{New: func() any { return new(marks) }}

func newMarks(slots int) *marks {
	p := marksPool.Get().(*marks)
	n := (slots + 63) / 64
	if cap(*p) < n {
		*p = make(marks, n)
		return p
	}
	*p = (*p)[:n]
	clear(*p)
	return p
}

func (p *marks) free() {
	if cap(*p) <= maxPooledMarks {
		marksPool.Put(p)
	}
}

// add marks e and reports whether it was not marked before.
func (s marks) add(e *entry) bool {
	word, bit := e.slot>>6, uint64(1)<<(e.slot&63)
	if s[word]&bit != 0 {
		return false
	}
	s[word] |= bit
	return true
}

// selectLocked calls fn once for each member tg selects: the union of its rooms
// without the members of the excepted ones. fn runs under t.mu.
func (t *table) selectLocked(tg *adapter.Target, fn func(*entry)) {
	skip, single := t.soleExceptLocked(tg.Except)
	if single && len(tg.Rooms) <= 1 {
		t.eachLocked(tg.Rooms, func(e *entry) {
			if e != skip {
				fn(e)
			}
		})
		return
	}
	seen := newMarks(len(t.all))
	for _, name := range tg.Except {
		t.roomLocked(name, func(e *entry) { seen.add(e) })
	}
	t.eachLocked(tg.Rooms, func(e *entry) {
		if seen.add(e) {
			fn(e)
		}
	})
	seen.free()
}

// soleExceptLocked handles the common exception, one's own id, without marks: ok
// when except selects at most the one member it returns.
func (t *table) soleExceptLocked(except []adapter.Room) (skip *entry, ok bool) {
	if len(except) == 0 {
		return nil, true
	}
	if len(except) > 1 || t.rooms[except[0]] != nil {
		return nil, false
	}
	if e := t.byID[except[0]]; e != nil && e.own {
		skip = e
	}
	return skip, true
}

// eachLocked visits the members of rooms, once per room; no rooms: everyone.
func (t *table) eachLocked(rooms []adapter.Room, fn func(*entry)) {
	if len(rooms) == 0 {
		for _, e := range t.all {
			if e != nil {
				fn(e)
			}
		}
		return
	}
	for _, name := range rooms {
		t.roomLocked(name, fn)
	}
}

func (t *table) roomLocked(name adapter.Room, fn func(*entry)) {
	if e := t.byID[name]; e != nil && e.own {
		fn(e)
	}
	if r := t.rooms[name]; r != nil {
		for _, s := range r.members {
			fn(s.e)
		}
	}
}
