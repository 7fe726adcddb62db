package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// ErrNodeLost is why a *adapter.PartialError ended a wait early: nodes that
// owed answers died.
var ErrNodeLost = errors.New("socketio: a node was lost")

const (
	// keepEvery is the keeper's rhythm, unless leases are short.
	keepEvery = 500 * time.Millisecond
	// beatSpacing bounds a node to ten heartbeats a second, however many
	// namespaces it has.
	beatSpacing = 100 * time.Millisecond
	// twinMemory is how long Health tells of a twin, and the time between logs.
	twinMemory = time.Minute
)

// keeper does on a rhythm what keeps a node a member. run belongs to one
// goroutine.
type keeper struct {
	p *Provider

	// Owned by the goroutine of run.
	last   time.Time // tick
	beaten map[*Adapter]time.Time
}

func (k *keeper) run(ctx context.Context) {
	every := min(keepEvery, k.p.opts.Lease/4)
	tick := time.NewTicker(every)
	defer tick.Stop()
	k.last = time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.p.wake:
			k.p.cut()
		case <-tick.C:
			k.tick(time.Now())
		}
	}
}

func (k *keeper) tick(now time.Time) {
	open := k.p.open()
	slept := now.Sub(k.last) > k.p.opts.Lease/2
	k.last = now
	health := k.p.busHealth()
	deaf := !health.Up || now.Sub(health.Since) < k.p.opts.Lease
	for _, a := range open {
		if slept || deaf {
			a.nodes.excuse(now)
		}
		a.bury(now)
		a.settleHoles(now)
	}
	if health.Up {
		k.beat(now, open)
	}
}

// beat announces this node in every namespace, now and then.
func (k *keeper) beat(now time.Time, open []*Adapter) {
	every := k.p.beatEvery(len(open))
	beaten := make(map[*Adapter]time.Time, len(open))
	for _, a := range open {
		at := k.beaten[a]
		switch {
		case at.IsZero():
			at = now // Open has announced it
		case a.requests.waiting(now.Add(-keepEvery)):
			a.announce(InitialHeartbeat, every)
			at = now
		case now.Sub(at) >= every:
			a.announce(Heartbeat, every)
			at = now
		}
		beaten[a] = at
	}
	k.beaten = beaten
}

// beatEvery is the time between two heartbeats of one of n namespaces.
func (p *Provider) beatEvery(n int) time.Duration {
	return max(p.opts.Heartbeat, time.Duration(n)*beatSpacing)
}

// announce publishes a heartbeat. An InitialHeartbeat asks peers for theirs.
func (a *Adapter) announce(kind Kind, every time.Duration) {
	if a.epoch == 0 {
		return
	}
	// What finds no space is not missed.
	_ = a.publish(&Message{Kind: kind, Ext: Ext{Name: a.host.Node(), Every: every}})
}

// heartbeat takes note of another node's heartbeat and answers one that asks.
func (a *Adapter) heartbeat(m *Message) {
	a.nodes.beat(m.From, m.Ext)
	if m.Ext.Name != "" && m.Ext.Name == a.host.Node() && m.From != a.self {
		a.p.twin("node id", m.Ext.Name)
	}
	if m.Kind == InitialHeartbeat && m.Ext.Version > 0 && a.epoch != 0 {
		a.reply(m, &Message{Kind: Heartbeat, Ext: Ext{Name: a.host.Node(), Every: a.p.beatEvery(a.p.len())}})
	}
}

// bury takes out the nodes that died without a word: those whose heartbeats
// stopped, and those that are waited for, were asked for a sign of life, and
// gave none for Options.Lease.
func (a *Adapter) bury(now time.Time) {
	for _, id := range a.nodes.lapsed(now) {
		a.lose(id)
	}
	lease := a.p.opts.Lease
	for _, r := range a.requests.all() {
		if now.Sub(r.began) <= lease {
			continue
		}
		for _, id := range r.answers.Silent(a.nodes.leased()) {
			if a.nodes.silentSince(id, now.Add(-lease)) {
				a.lose(id)
			}
		}
	}
}

// lose ends all waits for a node that died.
func (a *Adapter) lose(id adapter.NodeID) {
	name, since := a.nodes.name(id), a.nodes.since(id)
	a.p.lost.Add(1)
	a.host.Logger().Warn("socketio: a node is silent and counts as dead", "event", "cluster.node_lost", "namespace", a.ns, "node", name)
	a.nodes.gone(id)
	a.seqs.dropNode(id)
	for _, r := range a.requests.all() {
		if !since.After(r.began) { // else it may not be one of those asked
			r.answers.Lose(id, name, ErrNodeLost)
		}
	}
}

// settleHoles counts the messages that did not come, and reports those that no
// known gap explains.
func (a *Adapter) settleHoles(now time.Time) {
	for _, h := range a.seqs.settle(now) {
		a.p.missing.Add(h.missing)
		if a.p.gaps.explained(a.ns, h) {
			continue
		}
		g := Gap{
			Kind: GapSequence, From: h.since, To: h.at, Namespace: a.ns, Room: h.lane.Room,
			Node: a.nodes.name(h.from), Missing: h.missing, Reason: "numbered messages did not arrive",
		}
		if a.p.opts.GapPolicy != GapIgnore {
			a.host.Logger().Warn("socketio: messages of another node are missing", "event", "adapter.gap",
				"namespace", a.ns, "node", g.Node, "missing", h.missing, "missing_since", h.since)
		}
		a.p.gap(g)
	}
}

// twin reports that another node bears an id of this one.
func (p *Provider) twin(what, id string) {
	p.twins.Add(1)
	now := time.Now()
	p.mu.Lock()
	recent := now.Sub(p.twinAt) < twinMemory && p.twinID == id
	if !recent {
		p.twinAt, p.twinID = now, id
	}
	p.mu.Unlock()
	if !recent {
		p.opts.Logger.Error("socketio: two nodes have the same id: messages between them are lost, give each its own", "event", "cluster.node_twin",
			"what", what, "node", id)
	}
}
