package cluster

import (
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

const (
	// reorder is how far a message may come behind a later one of its lane: more
	// than a batch of which a part is published again.
	reorder = 1024
	// settleAfter is how long a missing message may still come.
	settleAfter = time.Second
	// maxTracks bounds the lanes one namespace follows.
	maxTracks = 1 << 14
)

// sequences follows the numbers of other nodes' messages in one namespace.
type sequences struct {
	mu    sync.Mutex // guards the following; leaf lock
	lanes map[Lane]map[adapter.NodeID]*track
	count int               // tracks in all lanes
	open  map[*track]origin // those with missing messages that may still come
}

type origin struct {
	from adapter.NodeID
	lane Lane
}

// track is one lane of one sender.
type track struct {
	epoch, last uint64
	seen        [reorder / 64]uint64 // which of the numbers up to last came, by number modulo reorder
	heard       time.Time            // when last came
	owed        uint64               // numbers that were jumped over
	since, at   time.Time            // before and after the first of those jumps
}

// hole is a number of messages of one lane that did not come.
type hole struct {
	origin
	missing   uint64
	since, at time.Time
}

func (s *sequences) init() {
	s.lanes = make(map[Lane]map[adapter.NodeID]*track)
	s.open = make(map[*track]origin)
}

// fresh takes note of a message and reports false when it came before.
func (s *sequences) fresh(from adapter.NodeID, lane Lane, x Ext, now time.Time) bool {
	if x.Version == 0 || x.Seq == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.lanes[lane][from]
	if t == nil {
		if s.count >= maxTracks {
			return true
		}
		t = new(track)
		s.addLocked(origin{from, lane}, t)
	}
	if t.epoch != x.Epoch {
		*t = track{epoch: x.Epoch, last: x.Seq - 1, heard: now}
		delete(s.open, t)
	}
	isNew := t.take(x.Seq, now)
	if t.owed > 0 {
		s.open[t] = origin{from, lane}
	}
	return isNew
}

func (s *sequences) addLocked(o origin, t *track) {
	if s.lanes[o.lane] == nil {
		s.lanes[o.lane] = make(map[adapter.NodeID]*track)
	}
	s.lanes[o.lane][o.from] = t
	s.count++
}

// take marks seq as seen and reports false when it was.
func (t *track) take(seq uint64, now time.Time) bool {
	if seq > t.last {
		t.advance(seq, now)
		return true
	}
	word, bit := &t.seen[seq%reorder/64], uint64(1)<<(seq%64)
	if t.last-seq >= reorder || *word&bit != 0 {
		return false
	}
	*word |= bit
	t.owed -= min(t.owed, 1)
	return true
}

func (t *track) advance(seq uint64, now time.Time) {
	jumped := seq - t.last - 1
	if jumped > 0 {
		if t.owed == 0 {
			t.since, t.at = t.heard, now
		}
		t.owed += jumped
	}
	if jumped >= reorder {
		t.seen = [reorder / 64]uint64{}
	} else {
		for n := t.last + 1; n < seq; n++ {
			t.seen[n%reorder/64] &^= 1 << (n % 64)
		}
	}
	t.seen[seq%reorder/64] |= 1 << (seq % 64)
	t.last, t.heard = seq, now
}

// settle returns the holes that have been open for settleAfter, and closes them.
func (s *sequences) settle(now time.Time) []hole {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []hole
	for t, o := range s.open {
		if t.owed > 0 && now.Sub(t.at) < settleAfter {
			continue
		}
		if t.owed > 0 {
			list = append(list, hole{origin: o, missing: t.owed, since: t.since, at: t.at})
			t.owed = 0
		}
		delete(s.open, t)
	}
	return list
}

// dropRoom forgets the lane of a room that has no local members: what happens
// in it from now on does not come here.
func (s *sequences) dropRoom(r adapter.Room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lane := Lane{Room: r}
	for _, t := range s.lanes[lane] {
		delete(s.open, t)
		s.count--
	}
	delete(s.lanes, lane)
}

// dropNode forgets a node that is gone. What it still owes is settled later.
func (s *sequences) dropNode(id adapter.NodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for lane, nodes := range s.lanes {
		if _, known := nodes[id]; !known {
			continue
		}
		delete(nodes, id)
		s.count--
		if len(nodes) == 0 {
			delete(s.lanes, lane)
		}
	}
}
