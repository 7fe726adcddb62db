package presence

import (
	"slices"
	"time"
)

// table holds the members of all nodes. It has no lock of its own.
type table struct {
	grace time.Duration

	rooms map[string]*room
	users map[userKey]*user
	count int // entries

	dirty   []*user // to be looked at by the announcer, in order
	leaving []grace // in the order in which they end
}

// grace ends the presence of a user without entries, unless it has changed.
type grace struct {
	user *user
	at   time.Time
}

type userKey struct{ room, key string }

type room struct {
	name  string
	users []*user
}

// user is one member of one room.
type user struct {
	room *room
	key  string
	at   int // in room.users

	entries []*entry
	leaveAt time.Time // end of the grace; zero unless entries is empty
	dirty   bool      // is in dirty

	// What the listeners know.
	announced bool
	meta      string
}

// entry is one socket of a user. It is immutable; an update replaces it.
type entry struct {
	ref    uint64 // its number among the entries of its owner
	owner  *peer
	user   *user
	socket string
	meta   string // JSON
	since  int64  // when it was tracked first, Unix milliseconds on its owner
	at     int64  // when its meta was set
}

func newTable(grace time.Duration) table {
	return table{grace: grace, rooms: make(map[string]*room), users: make(map[userKey]*user)}
}

// user returns the member, which it makes if needed.
func (t *table) user(name, key string) *user {
	if u := t.users[userKey{name, key}]; u != nil {
		return u
	}
	r := t.rooms[name]
	if r == nil {
		r = &room{name: name}
		t.rooms[name] = r
	}
	u := &user{room: r, key: key, at: len(r.users)}
	r.users = append(r.users, u)
	t.users[userKey{r.name, key}] = u
	return u
}

// put adds an entry, or replaces the one of the same number.
func (t *table) put(e *entry) {
	u := e.user
	if old := e.owner.entries[e.ref]; old != nil {
		if old.user != u {
			t.drop(old)
		} else {
			e.owner.entries[e.ref] = e
			u.entries[slices.Index(u.entries, old)] = e
			t.touch(u)
			return
		}
	}
	e.owner.entries[e.ref] = e
	u.entries = append(u.entries, e)
	u.leaveAt = time.Time{}
	t.count++
	t.touch(u)
}

// drop removes an entry that is in the table.
func (t *table) drop(e *entry) {
	delete(e.owner.entries, e.ref)
	u := e.user
	u.entries = slices.DeleteFunc(u.entries, func(x *entry) bool { return x == e })
	t.count--
	if len(u.entries) > 0 || !u.announced || t.grace <= 0 {
		t.touch(u)
		return
	}
	u.leaveAt = time.Now().Add(t.grace)
	t.leaving = append(t.leaving, grace{u, u.leaveAt})
}

// touch lets the announcer look at a user.
func (t *table) touch(u *user) {
	if !u.dirty {
		u.dirty = true
		t.dirty = append(t.dirty, u)
	}
}

// endGrace ends what is due and returns when to come back; zero: nothing waits.
func (t *table) endGrace(now time.Time) (next time.Time) {
	for len(t.leaving) > 0 {
		g := t.leaving[0]
		if g.at.After(now) {
			return g.at
		}
		t.leaving = t.leaving[1:]
		if g.user.leaveAt.Equal(g.at) {
			g.user.leaveAt = time.Time{}
			t.touch(g.user)
		}
	}
	t.leaving = nil
	return time.Time{}
}

func (u *user) present() bool { return len(u.entries) > 0 || !u.leaveAt.IsZero() }

// latest returns the entry that was tracked last, the same on every node; nil when
// there is none.
func (u *user) latest() *entry {
	var best *entry
	for _, e := range u.entries {
		if best == nil || e.at > best.at || e.at == best.at && e.newer(best) {
			best = e
		}
	}
	return best
}

func (e *entry) newer(than *entry) bool {
	if e.owner.id != than.owner.id {
		return e.owner.id > than.owner.id
	}
	return e.ref > than.ref
}

// currentMeta is what stands for the whole member.
func (u *user) currentMeta() string {
	if e := u.latest(); e != nil {
		return e.meta
	}
	return u.meta
}

// next returns the next thing the listeners do not know.
func (t *table) next() (Event, bool) {
	for len(t.dirty) > 0 {
		u := t.dirty[0]
		t.dirty = t.dirty[1:]
		u.dirty = false
		if e, ok := t.news(u); ok {
			return e, true
		}
	}
	t.dirty = nil
	return Event{}, false
}

func (t *table) news(u *user) (Event, bool) {
	e := Event{Room: u.room.name, Key: u.key}
	meta := u.currentMeta()
	switch {
	case u.present() && !u.announced:
		e.Type = Join
	case u.present() && meta != u.meta:
		e.Type = Update
	case !u.present() && u.announced:
		e.Type = Leave
	}
	u.announced, u.meta = u.present(), meta
	if !u.present() {
		t.forget(u)
	}
	e.Meta = []byte(meta)
	return e, e.Type != ""
}

// forget removes a user without entries.
func (t *table) forget(u *user) {
	r := u.room
	last := len(r.users) - 1
	r.users[u.at] = r.users[last]
	r.users[u.at].at = u.at
	r.users[last] = nil
	r.users = r.users[:last]
	delete(t.users, userKey{r.name, u.key})
	if len(r.users) == 0 {
		delete(t.rooms, r.name)
	}
}
