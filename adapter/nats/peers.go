package nats

import (
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

const (
	// maxPeers bounds how many nodes are remembered for one namespace.
	maxPeers = 4096
	// keepGone is how long a node that is gone is remembered: late messages do not
	// bring it back, and one that was cut off is missed messages of.
	keepGone = 10 * time.Minute
)

// peers are the other nodes of one namespace, by their heartbeats.
type peers struct {
	mu   sync.Mutex // guards the following; leaf lock
	list map[adapter.NodeID]*peer
	news chan struct{} // capacity 1: a peer was added
}

type peer struct {
	heard  time.Time
	at     position
	last   time.Time // when the last two heartbeats arrived
	before time.Time
	silent bool // counted no more; comes back with a heartbeat
	left   bool // said goodbye: never comes back
}

func newPeers() *peers {
	return &peers{list: make(map[adapter.NodeID]*peer), news: make(chan struct{}, 1)}
}

// heard takes note of a message that arrived at now. ok is false for one of a node
// that has left. lost is the gap before the message, if there is one.
func (p *peers) heard(m *cluster.Message, at position, now time.Time) (lost Gap, ok bool) {
	id := m.From
	if id == "" || cluster.IsEmitter(id) {
		return lost, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.list[id]
	switch {
	case e == nil && len(p.list) >= maxPeers:
		return lost, true
	case e == nil:
		e = &peer{before: now, last: now, at: at}
		p.list[id] = e
		signal(p.news)
	case e.left:
		return lost, false
	default:
		lost = e.advance(m, at, now)
	}
	if e.silent {
		e.silent = false
		signal(p.news)
	}
	e.heard = now
	if m.Kind == cluster.AdapterClose {
		e.left = true
	}
	return lost, true
}

// advance moves the position and returns what is missing before it. The window
// begins two heartbeats ago: a message may have been sent before its predecessor
// arrived here, and the first heartbeat after a loss may not know of it yet.
func (e *peer) advance(m *cluster.Message, at position, now time.Time) Gap {
	if at.seq == 0 {
		return Gap{}
	}
	beat := m.Kind == cluster.Heartbeat || m.Kind == cluster.InitialHeartbeat
	next := e.at.seq + 1
	if beat {
		next = e.at.seq
	}
	gap := Gap{}
	switch {
	case e.at.seq == 0: // known by messages without a number only
	case at.seq > next:
		gap = Gap{Kind: GapSender, Node: m.From, From: e.before, To: now, Dropped: at.seq - next,
			Reason: "messages of a node did not arrive"}
	case at.breaks != e.at.breaks:
		gap = Gap{Kind: GapSender, Node: m.From, From: e.before, To: now, Reason: "a node lost its connection"}
	}
	e.at.seq, e.at.breaks = max(e.at.seq, at.seq), at.breaks
	if beat {
		e.before, e.last = e.last, now
	}
	return gap
}

// count returns how many are alive.
func (p *peers) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, e := range p.list {
		if !e.silent && !e.left {
			n++
		}
	}
	return n
}

// expire returns those that have been silent since before the deadline, once, and
// forgets those that are gone for long.
func (p *peers) expire(deadline, now time.Time) []adapter.NodeID {
	p.mu.Lock()
	defer p.mu.Unlock()
	var dead []adapter.NodeID
	for id, e := range p.list {
		switch {
		case now.Sub(e.heard) > keepGone:
			delete(p.list, id)
		case !e.silent && !e.left && e.heard.Before(deadline):
			e.silent = true
			dead = append(dead, id)
		}
	}
	return dead
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
