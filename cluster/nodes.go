package cluster

import (
	"slices"
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// maxNodes bounds how many peers are remembered by name.
const maxNodes = 4096

// nodes remembers which peers were heard, to name those that stay silent.
type nodes struct {
	mu   sync.Mutex // guards the following; leaf lock
	seen map[adapter.NodeID]time.Time
}

func (n *nodes) init() { n.seen = make(map[adapter.NodeID]time.Time) }

func (n *nodes) heard(id adapter.NodeID) {
	if id == "" || IsEmitter(id) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.seen[id]; known || len(n.seen) < maxNodes {
		n.seen[id] = time.Now()
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
	slices.SortFunc(ids, func(a, b adapter.NodeID) int { return n.seen[b].Compare(n.seen[a]) })
	ids = ids[:min(max(count, 0), len(ids))]
	slices.Sort(ids)
	return ids
}
