package memory

import (
	"slices"
	"sync"

	"github.com/socketfleet/socketfleet/adapter"
)

// entry is one member. All but m and id is guarded by table.mu.
type entry struct {
	m    adapter.Member
	id   adapter.SocketID
	slot int  // small dense number: the entry's bit in a marks set
	own  bool // member of the room that bears its id
	in   []link
	sent sent // only where sessions are kept
}

// link is one membership as the member sees it: its place in the room's list.
type link struct {
	room *room
	at   int
}

// room is one set of members, without the socket the room is named after.
type room struct {
	name    adapter.Room
	members []seat
}

// seat is one membership as the room sees it: the index of the link in the
// member's list, so that both sides are removed without a search.
type seat struct {
	e  *entry
	in int
}

// table holds the members and rooms of a namespace.
type table struct {
	mu     sync.RWMutex // guards the following
	closed bool
	byID   map[adapter.SocketID]*entry
	rooms  map[adapter.Room]*room // never empty ones
	all    []*entry               // by slot, with holes
	free   []int                  // the holes

	events events
}

func (t *table) init() {
	t.byID = make(map[adapter.SocketID]*entry)
	t.rooms = make(map[adapter.Room]*room)
	t.all, t.free = nil, nil
}

// lookupLocked returns m's entry, or nil when m does not take part.
func (t *table) lookupLocked(m adapter.Member) *entry {
	e := t.byID[m.ID()]
	if e == nil || e.m != m {
		return nil
	}
	return e
}

// registerLocked makes m a member. A stale member of the same id, as after a
// restored session, is removed first.
func (t *table) registerLocked(m adapter.Member) *entry {
	id := m.ID()
	if old := t.byID[id]; old != nil {
		t.removeLocked(old)
	}
	e := &entry{m: m, id: id, slot: len(t.all)}
	if n := len(t.free); n > 0 {
		e.slot, t.free = t.free[n-1], t.free[:n-1]
		t.all[e.slot] = e
	} else {
		t.all = append(t.all, e)
	}
	t.byID[id] = e
	return e
}

// removeLocked takes e out of all rooms and out of the namespace.
func (t *table) removeLocked(e *entry) {
	if e.own {
		t.leaveLocked(e, e.id)
	}
	for len(e.in) > 0 {
		t.unlinkLocked(e, len(e.in)-1)
	}
	delete(t.byID, e.id)
	t.all[e.slot] = nil
	t.free = append(t.free, e.slot)
	if len(t.byID) == 0 {
		t.all, t.free = nil, nil // a crowd may have left
	}
}

// existsLocked reports whether a room has a member.
func (t *table) existsLocked(name adapter.Room) bool {
	if t.rooms[name] != nil {
		return true
	}
	e := t.byID[name]
	return e != nil && e.own
}

func (t *table) joinLocked(e *entry, name adapter.Room) {
	if name == e.id {
		if e.own {
			return
		}
		created := t.rooms[name] == nil
		e.own = true
		t.events.joinedLocked(name, e.m, created)
		return
	}
	r := t.rooms[name]
	if r == nil {
		created := !t.existsLocked(name)
		r = &room{name: name}
		t.rooms[name] = r
		t.seatLocked(e, r)
		t.events.joinedLocked(name, e.m, created)
		return
	}
	if e.find(r) < 0 {
		t.seatLocked(e, r)
		t.events.joinedLocked(name, e.m, false)
	}
}

func (t *table) seatLocked(e *entry, r *room) {
	r.members = append(r.members, seat{e: e, in: len(e.in)})
	e.in = append(e.in, link{room: r, at: len(r.members) - 1})
}

func (t *table) leaveLocked(e *entry, name adapter.Room) {
	if name == e.id {
		if e.own {
			e.own = false
			t.events.leftLocked(name, e.m, t.rooms[name] == nil)
		}
		return
	}
	r := t.rooms[name]
	if r == nil {
		return
	}
	if i := e.find(r); i >= 0 {
		t.unlinkLocked(e, i)
	}
}

// find returns the index of r in e.in, or -1. Sockets are in few rooms: a scan
// beats a map up to some hundred.
func (e *entry) find(r *room) int {
	return slices.IndexFunc(e.in, func(l link) bool { return l.room == r })
}

// unlinkLocked ends membership i of e. Both lists fill the hole with their last
// element.
func (t *table) unlinkLocked(e *entry, i int) {
	l := e.in[i]
	r := l.room
	e.sent.left = e.sent.last

	lastSeat := len(r.members) - 1
	if l.at != lastSeat {
		moved := r.members[lastSeat]
		r.members[l.at] = moved
		moved.e.in[moved.in].at = l.at
	}
	r.members[lastSeat] = seat{}
	r.members = shrink(r.members[:lastSeat])

	lastLink := len(e.in) - 1
	if i != lastLink {
		moved := e.in[lastLink]
		e.in[i] = moved
		moved.room.members[moved.at].in = i
	}
	e.in[lastLink] = link{}
	e.in = e.in[:lastLink]

	if len(r.members) == 0 {
		delete(t.rooms, r.name)
	}
	t.events.leftLocked(r.name, e.m, len(r.members) == 0 && !t.existsLocked(r.name))
}

// shrink gives memory back after a crowd has left.
func shrink(s []seat) []seat {
	if cap(s) > 256 && len(s) < cap(s)/4 {
		return append(make([]seat, 0, cap(s)/2), s...)
	}
	return s
}
