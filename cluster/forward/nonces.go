package forward

import (
	"sync"
	"time"
)

// nonces remembers the nonces of hops for at least as long as those are accepted: a
// hop signed at the far end of the window ahead of us is valid for two windows.
// Nothing gets here without a valid signature, so that what it holds is bounded by
// the requests the other nodes forwarded in four windows.
type nonces struct {
	mu       sync.Mutex // guards the following; leaf lock
	now, old map[string]struct{}
	turned   time.Time
}

// first reports whether a nonce is new, and remembers it.
func (n *nonces) first(nonce string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if age := now.Sub(n.turned); n.now == nil || age > 2*window {
		n.old = n.now
		if age > 4*window {
			n.old = nil
		}
		n.now, n.turned = make(map[string]struct{}), now
	}
	if _, seen := n.old[nonce]; seen {
		return false
	}
	if _, seen := n.now[nonce]; seen {
		return false
	}
	n.now[nonce] = struct{}{}
	return true
}
