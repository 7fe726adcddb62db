package nats

import (
	"context"
	"slices"
	"sync"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

// Bounds of what a namespace that recovers sessions remembers of the stream.
const (
	recentEntries = 1 << 14
	recentBytes   = 16 << 20
)

// recent is what was read of a namespace from the stream lately. When the clients of
// a node that died come back all at once, each needs a part of it: reading that from
// the server takes a consumer for each, about ten times as long.
type recent struct {
	mu      sync.Mutex // guards the following; leaf lock
	list    []recentEntry
	bytes   int
	upTo    place             // all entries of the namespace behind the first of list, up to here, are in it
	waiting map[uint64]waiter // by the token of a mark
}

// waiter waits until this node's own mark is read.
type waiter struct {
	from adapter.NodeID
	at   chan place // capacity 1
}

// recentEntry is an entry that was read. Of what does not matter to sessions only the
// place is kept.
type recentEntry struct {
	at   place
	m    *cluster.Message
	size int
}

// add takes note of an entry of size bytes before it is handed on, and tells who
// waits for it.
func (r *recent) add(at place, m *cluster.Message, size int) {
	e := recentEntry{at: at, size: 1}
	if m.Kind == cluster.Broadcast || m.Kind == cluster.Hole {
		c := *m // whoever handles m may change it
		e.m, e.size = &c, size
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, e)
	r.bytes += e.size
	for len(r.list) > 1 && (len(r.list) > recentEntries || r.bytes > recentBytes) {
		r.bytes -= r.list[0].size
		r.list[0] = recentEntry{}
		r.list = r.list[1:]
	}
	r.upTo = at
	if w := r.waiting[m.Token]; w.from == m.From && w.at != nil && m.Kind >= cluster.Takeover {
		delete(r.waiting, m.Token)
		w.at <- at
	}
}

// passed notes that up to a place there were no more entries of the namespace.
func (r *recent) passed(at place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) > 0 {
		r.upTo = at
	}
}

// reset forgets everything: the next entry may not follow the last one.
func (r *recent) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list, r.bytes, r.upTo = nil, 0, place{}
}

// between returns the entries from one, without it, to another. It is not ok when
// some may not be known any more. known says that from itself is one of them, so that
// nobody has to be asked whether it was in this stream.
func (r *recent) between(from, to place) (list []recentEntry, known, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) == 0 || from.less(r.list[0].at) || from.made != r.list[0].at.made || from.made != to.made || r.upTo.less(to) {
		return nil, false, false
	}
	i, found := r.findLocked(from)
	known = found && r.list[i].at == from
	if found {
		i++
	}
	j, found := r.findLocked(to)
	if found {
		j++
	}
	return slices.Clone(r.list[i:max(i, j)]), known, true
}

func (r *recent) findLocked(at place) (int, bool) {
	return slices.BinarySearchFunc(r.list, at, func(e recentEntry, at place) int {
		switch {
		case e.at.less(at):
			return -1
		case at.less(e.at):
			return 1
		}
		return 0
	})
}

// expect returns where the place of a mark that is going to be added will be told.
func (r *recent) expect(from adapter.NodeID, token uint64) <-chan place {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == nil {
		r.waiting = make(map[uint64]waiter)
	}
	w := waiter{from, make(chan place, 1)}
	r.waiting[token] = w
	return w.at
}

func (r *recent) unexpect(token uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, token)
}

// await waits for what expect returned.
func await(ctx context.Context, done <-chan place) (place, error) {
	select {
	case at := <-done:
		return at, nil
	case <-ctx.Done():
		return place{}, ctx.Err()
	}
}
