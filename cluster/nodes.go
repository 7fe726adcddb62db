package cluster

import (
	"slices"
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

const (
	// maxNodes bounds how many peers are remembered by name.
	maxNodes = 4096
	// missedBeats is how many heartbeats a peer may miss before it counts as dead.
	missedBeats = 3
)

// nodes remembers which peers were heard, to name those that stay silent, and
// to notice those that die.
type nodes struct {
	mu   sync.Mutex // guards the following; leaf lock
	seen map[adapter.NodeID]peer
}

// peer is what is known of another node's adapter of this namespace.
type peer struct {
	name  string        // Host.Node; empty until it sent a heartbeat
	every time.Duration // between its heartbeats; 0: it sends none, as Node.js peers
	first time.Time     // when it was heard first
	at    time.Time     // when it was heard last
}

func (n *nodes) init() { n.seen = make(map[adapter.NodeID]peer) }

func (n *nodes) heard(id adapter.NodeID) {
	if id == "" || IsEmitter(id) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if p, known := n.seen[id]; known || len(n.seen) < maxNodes {
		p.at = time.Now()
		if !known {
			p.first = p.at
		}
		n.seen[id] = p
	}
}

// beat takes note of a heartbeat.
func (n *nodes) beat(id adapter.NodeID, x Ext) {
	if IsEmitter(id) || x.Version == 0 || x.Every <= 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if p, known := n.seen[id]; known {
		p.name, p.every = x.Name, x.Every
		n.seen[id] = p
	}
}

func (n *nodes) gone(id adapter.NodeID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.seen, id)
}

func (n *nodes) len() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.seen)
}

// recent returns the count peers heard last: when more are remembered than
// exist, the others died without a word.
func (n *nodes) recent(count int) []adapter.NodeID {
	n.mu.Lock()
	defer n.mu.Unlock()
	ids := make([]adapter.NodeID, 0, len(n.seen))
	for id := range n.seen {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b adapter.NodeID) int { return n.seen[b].at.Compare(n.seen[a].at) })
	ids = ids[:min(max(count, 0), len(ids))]
	slices.Sort(ids)
	return ids
}

// leased returns the peers that send heartbeats.
func (n *nodes) leased() []adapter.NodeID {
	n.mu.Lock()
	defer n.mu.Unlock()
	var ids []adapter.NodeID
	for id, p := range n.seen {
		if p.every > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// lapsed returns the peers that send heartbeats and have missed several.
func (n *nodes) lapsed(now time.Time) []adapter.NodeID {
	n.mu.Lock()
	defer n.mu.Unlock()
	var ids []adapter.NodeID
	for id, p := range n.seen {
		if p.every > 0 && now.Sub(p.at) > missedBeats*p.every {
			ids = append(ids, id)
		}
	}
	return ids
}

// since returns when id was heard first; zero when it is not known.
func (n *nodes) since(id adapter.NodeID) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.seen[id].first
}

// silentSince reports whether id sends heartbeats and was not heard after t.
func (n *nodes) silentSince(id adapter.NodeID, t time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	p, known := n.seen[id]
	return known && p.every > 0 && p.at.Before(t)
}

// excuse treats all peers as heard now: it was this node that slept.
func (n *nodes) excuse(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, p := range n.seen {
		p.at = now
		n.seen[id] = p
	}
}

// name returns id as operators know it: the name of the node, where it told it,
// and a slash before the id.
func (n *nodes) name(id adapter.NodeID) adapter.NodeID {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.seen[id]; p.name != "" {
		return p.name + "/" + id
	}
	return id
}
