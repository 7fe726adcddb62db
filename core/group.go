package core

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/hist"
)

// Histogram is the distribution of what a server measured; see Stats.
type Histogram = hist.Snapshot

// Names of the groups that stand for more than one namespace.
const (
	groupDynamic = "_dynamic" // of families that OfFunc made
	groupUnknown = "_unknown" // namespaces that do not exist
	groupOther   = "_other"   // beyond maxGroups
)

// maxGroups bounds the groups, and with them the time series of a server.
const maxGroups = 256

// NamespaceStats are the counters of one namespace, or of all namespaces of one
// family.
type NamespaceStats struct {
	Sockets int // connected sockets of this node
	Rooms   int // rooms with a member on this node, without those of one socket's id

	Connects      uint64            // sockets accepted
	ConnectErrors map[string]uint64 // clients refused: "middleware", "invalid_namespace", "limit", "unavailable"
	Disconnects   map[DisconnectReason]uint64

	Events        uint64 // events handed to handlers
	HandlerErrors uint64
	HandlerPanics uint64

	Sent            uint64 // emits to one socket of this node
	Broadcasts      uint64 // all other emits, to sockets of any node
	LocalBroadcasts uint64 // likewise, to sockets of this node only
	// Recipients is how many sockets of this node each broadcast was queued for,
	// whichever node it came from.
	Recipients Histogram
}

// group counts for the namespaces that share a name in statistics. It outlives
// them, so that its counters never fall.
type group struct {
	name string // immutable

	connects, events, handlerErrors, panics atomic.Uint64
	sent, broadcasts, localBroadcasts       atomic.Uint64
	recipients                              *hist.Recorder

	mu            sync.Mutex // guards the following; leaf lock
	connectErrors map[string]uint64
	disconnects   map[DisconnectReason]uint64
}

// groupLocked returns the group of a namespace, under Server.mu.
func (srv *Server) groupLocked(name string) *group {
	g := srv.groups[name]
	if g == nil && len(srv.groups) >= maxGroups {
		name = groupOther
		g = srv.groups[name]
	}
	if g == nil {
		g = &group{name: name, recipients: hist.NewSizes()}
		srv.groups[name] = g
	}
	return g
}

// StatsName returns the name under which the namespace is counted in
// Stats.ByNamespace: its own, or for all namespaces of a family one that no client
// chose. That is the text of the pattern given to OfPattern, and "_dynamic" for
// OfFunc. From the 256th name on it is "_other".
func (n *Namespace) StatsName() string { return n.group.name }

// groupName is StatsName without the bound.
func (n *Namespace) groupName() string {
	switch {
	case n.family == nil:
		return n.name
	case n.family.pattern != nil:
		return n.family.pattern.String()
	}
	return groupDynamic
}

func (g *group) refused(err error) {
	reason := "middleware"
	switch {
	case errors.Is(err, errInvalidNamespace):
		reason = "invalid_namespace"
	case errors.Is(err, errTooManyNamespaces):
		reason = "limit"
	case errors.Is(err, errUnavailable):
		reason = "unavailable"
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	count(&g.connectErrors, reason)
}

// refused counts a client that a namespace, which may not exist, did not accept.
func (srv *Server) refused(name string, err error) {
	srv.stats.connectErrors.Add(1)
	srv.mu.Lock()
	var g *group
	if n, ok := srv.namespaces[name]; ok {
		g = n.group
	} else {
		g = srv.groupLocked(groupUnknown)
	}
	srv.mu.Unlock()
	g.refused(err)
}

func (g *group) disconnected(r DisconnectReason) {
	g.mu.Lock()
	defer g.mu.Unlock()
	count(&g.disconnects, r)
}

// broadcast counts an emit.
func (g *group) broadcast(f adapter.Flags) {
	if f.Has(adapter.Local) {
		g.localBroadcasts.Add(1)
		return
	}
	g.broadcasts.Add(1)
}

func (g *group) stats() NamespaceStats {
	s := NamespaceStats{
		Connects:        g.connects.Load(),
		Events:          g.events.Load(),
		HandlerErrors:   g.handlerErrors.Load(),
		HandlerPanics:   g.panics.Load(),
		Sent:            g.sent.Load(),
		Broadcasts:      g.broadcasts.Load(),
		LocalBroadcasts: g.localBroadcasts.Load(),
		Recipients:      g.recipients.Snapshot(),
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s.ConnectErrors, s.Disconnects = cloneMap(g.connectErrors), cloneMap(g.disconnects)
	return s
}

// byNamespace gathers the statistics of all groups. Its cost grows with the number
// of namespaces, not of sockets.
func (srv *Server) byNamespace(all []*Namespace) map[string]NamespaceStats {
	srv.mu.Lock()
	groups := slices.Collect(maps.Values(srv.groups))
	srv.mu.Unlock()
	out := make(map[string]NamespaceStats, len(groups))
	for _, g := range groups {
		out[g.name] = g.stats()
	}
	for _, n := range all {
		name := n.StatsName()
		s := out[name]
		n.mu.Lock()
		s.Sockets += len(n.sockets)
		n.mu.Unlock()
		if c, ok := n.adapter.(adapter.RoomCounter); ok {
			s.Rooms += c.RoomCount()
		}
		out[name] = s
	}
	return out
}

// scheme names the adapter without giving its address away.
func (o *Options) scheme() string {
	if o.Adapter != nil {
		return "custom"
	}
	if scheme, _, ok := strings.Cut(o.AdapterURL, ":"); ok {
		return scheme
	}
	return "memory"
}
