package memory

import "github.com/socketfleet/socketfleet/adapter"

// Options are the settings of New and NewProvider. The zero value is ready for
// use. The functions report changes of rooms, socket rooms included; they must
// not block for long, may be nil, are called without locks held, one at a time
// per namespace and in the order of the changes.
type Options struct {
	// RoomCreated and RoomDeleted report a room's first and last local member.
	RoomCreated func(ns string, room adapter.Room)
	RoomDeleted func(ns string, room adapter.Room)
	// Joined follows RoomCreated; Left precedes RoomDeleted.
	Joined func(ns string, room adapter.Room, m adapter.Member)
	Left   func(ns string, room adapter.Room, m adapter.Member)
}

func (o *Options) empty() bool {
	return o.RoomCreated == nil && o.RoomDeleted == nil && o.Joined == nil && o.Left == nil
}

type event struct {
	room  adapter.Room
	m     adapter.Member
	left  bool
	whole bool // the room appeared or disappeared with it
}

// events queues what happened under the table's lock until it can be told. Its
// fields are guarded by that lock.
type events struct {
	on       bool
	observer adapter.RoomObserver // nil when the host is none
	telling  bool                 // a goroutine is in Adapter.tell
	queue    []event
}

func (q *events) wantedLocked() bool {
	return q.on || q.observer != nil && q.observer.ObservesRooms()
}

func (q *events) joinedLocked(r adapter.Room, m adapter.Member, created bool) {
	if q.wantedLocked() {
		q.queue = append(q.queue, event{room: r, m: m, whole: created})
	}
}

func (q *events) leftLocked(r adapter.Room, m adapter.Member, deleted bool) {
	if q.wantedLocked() {
		q.queue = append(q.queue, event{room: r, m: m, left: true, whole: deleted})
	}
}

// takeLocked hands the queue to the caller, who must tell it and come back, or
// returns nil when there is nothing to tell or someone else is telling.
func (q *events) takeLocked(again bool) []event {
	if q.telling && !again {
		return nil
	}
	batch := q.queue
	q.queue = nil
	q.telling = len(batch) > 0
	return batch
}

// unlockAndTell releases the table's write lock and reports what happened.
func (a *Adapter) unlockAndTell() {
	batch := a.t.events.takeLocked(false)
	a.t.mu.Unlock()
	for len(batch) > 0 {
		for i := range batch {
			a.tellOne(&batch[i])
		}
		a.t.mu.Lock()
		batch = a.t.events.takeLocked(true)
		a.t.mu.Unlock()
	}
}

func (a *Adapter) tellOne(e *event) {
	o := &a.opts
	if obs := a.t.events.observer; obs != nil {
		defer e.show(obs)
	}
	if e.left {
		if o.Left != nil {
			o.Left(a.ns, e.room, e.m)
		}
		if e.whole && o.RoomDeleted != nil {
			o.RoomDeleted(a.ns, e.room)
		}
		return
	}
	if e.whole && o.RoomCreated != nil {
		o.RoomCreated(a.ns, e.room)
	}
	if o.Joined != nil {
		o.Joined(a.ns, e.room, e.m)
	}
}

// show reports the event to the host.
func (e *event) show(o adapter.RoomObserver) {
	if e.left {
		o.RoomEvent(adapter.RoomLeft, e.room, e.m)
		if e.whole {
			o.RoomEvent(adapter.RoomDeleted, e.room, e.m)
		}
		return
	}
	if e.whole {
		o.RoomEvent(adapter.RoomCreated, e.room, e.m)
	}
	o.RoomEvent(adapter.RoomJoined, e.room, e.m)
}
