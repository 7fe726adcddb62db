package forward

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/socketfleet/socketfleet/cluster"
)

const (
	// freshFor is how long an address is used without asking again. A process never
	// moves, so that asking only finds out that it has gone.
	freshFor = 10 * time.Second
	// staleFor is how long an address is used that the registry, being away, cannot
	// confirm.
	staleFor = 10 * time.Minute
	// negativeFor is how long the registry is not asked again for a node it does not
	// know, or could not be asked for.
	negativeFor = 2 * time.Second
	// lookupTimeout bounds one read of the registry.
	lookupTimeout = 2 * time.Second
	// maxPeers bounds the nodes that are remembered, those that are gone included.
	maxPeers = 4096
)

// peer is another process.
type peer struct {
	owner    string
	inFlight atomic.Int64

	// Guarded by directory.mu.
	url       *url.URL      // nil: not known
	confirmed time.Time     // when the registry said so
	checked   time.Time     // when the registry was last asked
	err       error         // what it said
	used      time.Time     // when it was last wanted
	pending   chan struct{} // closed at the end of a lookup; nil: none
}

// directory remembers what the registry says about other processes.
type directory struct {
	// Immutable.
	registry cluster.Registry
	lease    time.Duration
	spawn    func(run func(ctx context.Context)) bool // on an owned goroutine
	count    *counters

	mu    sync.Mutex // guards the following; leaf lock
	peers map[string]*peer
}

var errManyPeers = errors.New("too many nodes are remembered")

// find returns a process and its address. It waits for the registry only when
// nothing is known.
func (d *directory) find(ctx context.Context, owner string) (*peer, *url.URL, error) {
	for asked := false; ; asked = true {
		p, u, wait, err := d.look(owner, asked)
		if wait == nil {
			return p, u, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// look returns what is known about a process, or a channel that is closed when more
// is. With asked it does not ask again.
func (d *directory) look(owner string, asked bool) (p *peer, u *url.URL, wait <-chan struct{}, err error) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if p = d.peers[owner]; p == nil {
		if p = d.addLocked(owner, now); p == nil {
			return nil, nil, nil, errManyPeers
		}
	}
	p.used = now
	since := now.Sub(p.checked)
	switch {
	case p.url != nil && now.Sub(p.confirmed) < staleFor:
		if since > freshFor {
			d.askLocked(p)
		}
		return p, p.url, nil, nil
	case asked || since < negativeFor:
		return nil, nil, nil, p.err
	}
	d.askLocked(p)
	if p.pending == nil {
		return nil, nil, nil, context.Canceled // closing
	}
	return nil, nil, p.pending, nil
}

// addLocked makes room for one more process, if there is any.
func (d *directory) addLocked(owner string, now time.Time) *peer {
	if len(d.peers) >= maxPeers {
		for name, p := range d.peers {
			if p.pending == nil && (p.url == nil && now.Sub(p.checked) > negativeFor || now.Sub(p.used) > staleFor) {
				delete(d.peers, name)
			}
		}
	}
	if len(d.peers) >= maxPeers {
		return nil
	}
	p := &peer{owner: owner}
	d.peers[owner] = p
	return p
}

// askLocked starts a lookup unless one is under way.
func (d *directory) askLocked(p *peer) {
	if p.pending != nil {
		return
	}
	done := make(chan struct{})
	p.pending = done
	if !d.spawn(func(ctx context.Context) { d.ask(ctx, p) }) {
		p.pending = nil
	}
}

func (d *directory) ask(ctx context.Context, p *peer) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	d.count.lookups.Add(1)
	n, err := d.registry.Lookup(ctx, p.owner)
	var u *url.URL
	if err == nil {
		u, err = parseURL(n.URL)
	} else if !errors.Is(err, cluster.ErrNodeUnknown) {
		d.count.lookupErrs.Add(1)
	}
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	close(p.pending)
	p.pending, p.checked, p.err = nil, now, err
	switch {
	case err == nil:
		p.url, p.confirmed = u, now
	case errors.Is(err, cluster.ErrNodeUnknown) && now.Sub(p.confirmed) > d.lease:
		// Not before: a registry that lost its memory gets it back within a lease.
		p.url = nil
	}
}

// parseURL checks what a registry returned.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return nil, fmt.Errorf("socketio: forward: the registry has no usable URL of the node: %q", text)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}
