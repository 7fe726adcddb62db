package cluster

import (
	"fmt"
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// GapKind says why messages may have been missed. Buses have kinds of their own.
type GapKind string

// GapSequence: messages that another node numbered did not come, and no other gap
// explains it.
const GapSequence GapKind = "sequence"

// Gap is a time in which messages of other nodes may have been missed.
type Gap struct {
	Kind     GapKind
	From, To time.Time
	// Namespace and Room say what is affected; empty: everything.
	Namespace string
	Room      adapter.Room
	// Node is whose messages are missing; empty: anybody's.
	Node adapter.NodeID
	// Dropped counts messages that arrived and were given up because this node
	// was too slow. 0 when the connection was lost.
	Dropped uint64
	// Missing counts messages that did not arrive, where that is known.
	Missing uint64
	// Reason is a short text for logs.
	Reason string
}

// GapPolicy says what happens when messages of other nodes may have been missed.
type GapPolicy string

const (
	// GapNotify calls Options.OnGap, logs and counts. It is the default.
	GapNotify GapPolicy = "notify"
	// GapIgnore counts only.
	GapIgnore GapPolicy = "ignore"
	// GapDisconnect is GapNotify, and cuts the connections of the local sockets that
	// may have missed something, without a word of Socket.IO, so that the clients
	// connect again and can fetch the present state. It needs a host that is an
	// adapter.Cutter.
	GapDisconnect GapPolicy = "disconnect"
)

// ParseGapPolicy returns the policy s names. Empty is GapNotify.
func ParseGapPolicy(s string) (GapPolicy, error) {
	switch p := GapPolicy(s); p {
	case "":
		return GapNotify, nil
	case GapNotify, GapIgnore, GapDisconnect:
		return p, nil
	}
	return "", fmt.Errorf("socketio: gap policy %q is not notify, ignore or disconnect", s)
}

// GapReporter is implemented by buses that know when they missed messages.
type GapReporter interface {
	// ReportGaps makes fn, which does not block, hear of every gap from now on.
	ReportGaps(fn func(Gap))
}

// maxWindows bounds the gaps that are remembered to explain missing messages.
const maxWindows = 64

// gaps are the reported times in which messages were missed.
type gaps struct {
	mu      sync.Mutex // guards the following; leaf lock
	windows []Gap      // only From, To and Namespace
	count   map[GapKind]uint64
	cuts    []Gap // whose sockets are to be cut
}

func (g *gaps) add(gap Gap, policy GapPolicy) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.count == nil {
		g.count = make(map[GapKind]uint64)
	}
	g.count[gap.Kind]++
	if gap.Kind != GapSequence {
		g.excuseLocked(gap)
	}
	if policy != GapDisconnect {
		return
	}
	if len(g.cuts) >= maxWindows {
		g.cuts = g.cuts[:0]
		gap = Gap{} // everybody, instead of many
	}
	g.cuts = append(g.cuts, Gap{Namespace: gap.Namespace, Room: gap.Room})
}

// excuse remembers a time in which missing messages are no gap of their own.
func (g *gaps) excuse(window Gap) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.excuseLocked(window)
}

func (g *gaps) excuseLocked(window Gap) {
	if len(g.windows) == maxWindows {
		g.windows = append(g.windows[:0], g.windows[1:]...)
	}
	g.windows = append(g.windows, window)
}

// explained reports whether a known gap of the namespace meets the time of h.
func (g *gaps) explained(namespace string, h hole) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range g.windows {
		if (w.Namespace == "" || w.Namespace == namespace) && !w.From.After(h.at) && !w.To.Before(h.since) {
			return true
		}
	}
	return false
}

func (g *gaps) takeCuts() []Gap {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := g.cuts
	g.cuts = nil
	return list
}

func (g *gaps) counts() map[GapKind]uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make(map[GapKind]uint64, len(g.count))
	for k, n := range g.count {
		out[k] = n
	}
	return out
}

// gap is what the bus, or the keeper, calls for every gap. It does not block.
func (p *Provider) gap(g Gap) {
	p.gaps.add(g, p.opts.GapPolicy)
	if p.opts.GapPolicy == GapIgnore {
		return
	}
	if p.opts.OnGap != nil {
		p.opts.OnGap(g)
	}
	signal(p.wake)
}

// cut closes the connections of the sockets that gaps may have affected.
func (p *Provider) cut() {
	for _, g := range p.gaps.takeCuts() {
		for _, a := range p.open() {
			if g.Namespace == "" || g.Namespace == a.ns {
				a.cut(g.Room)
			}
		}
	}
}

// cut closes the connections of the members of a room, or of all local sockets.
func (a *Adapter) cut(r adapter.Room) {
	cutter, ok := a.host.(adapter.Cutter)
	if !ok {
		a.host.Logger().Warn("socketio: this host cannot cut connections: the gap policy has no effect", "event", "adapter.cannot_cut", "namespace", a.ns)
		return
	}
	var t adapter.Target
	if r != "" {
		t.Rooms = []adapter.Room{r}
	}
	members := a.Members(t)
	for _, m := range members {
		cutter.Cut(m)
	}
	a.p.cutSockets.Add(uint64(len(members)))
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
