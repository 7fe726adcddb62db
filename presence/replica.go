package presence

import (
	"encoding/json"
	"log/slog"
	"time"
)

// peer is what this node knows of one node: itself, or another.
type peer struct {
	id, node string
	entries  map[uint64]*entry

	// Of other nodes only.
	seen      time.Time // when it was last heard of
	have      uint64    // everything up to this number is in entries
	latest    uint64    // the last number it is known to have sent
	asked     time.Time // when it was last asked for what is missing
	state     *state    // what is arriving; nil: nothing
	truncated bool      // entries of it were refused
}

// state is a peer's state while its parts arrive.
type state struct {
	seq  uint64
	part int // the next one
	refs map[uint64]struct{}
}

// maxPeers bounds the nodes that are known at a time.
const maxPeers = 10_000

func newPeer(id, node string) *peer {
	return &peer{id: id, node: node, entries: make(map[uint64]*entry)}
}

func (q *peer) behind() bool { return q.have < q.latest }

// receive takes a message of another node.
func (p *Presence) receive(payload []byte) {
	var m message
	err := json.Unmarshal(payload, &m)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Received++
	p.stats.ReceivedBytes += uint64(len(payload))
	if err != nil || m.V != wireVersion || m.From == "" || m.From == p.self.id {
		p.stats.BadMessages++
		return
	}
	if p.closed {
		return
	}
	p.takeLocked(&m, time.Now())
	p.signalLocked()
}

func (p *Presence) takeLocked(m *message, now time.Time) {
	q := p.peers[m.From]
	if m.Kind == kindBye {
		if q != nil {
			p.removeLocked(q)
		}
		return
	}
	if q == nil {
		if len(p.peers) >= maxPeers {
			return
		}
		q = newPeer(m.From, m.Node)
		p.peers[m.From] = q
	}
	q.seen = now
	q.latest = max(q.latest, m.Seq)
	switch m.Kind {
	case kindHello:
		p.outbox.beat = true
	case kindAsk:
		if have, me := m.Have[p.self.id]; me {
			p.outbox.serve(have)
		}
	case kindDelta:
		p.deltaLocked(q, m)
	case kindState:
		p.stateLocked(q, m, now)
	}
	switch {
	case !q.behind():
		q.asked = time.Time{}
	case q.state == nil:
		p.askLocked(q, now)
	}
	p.checkReadyLocked()
}

// deltaLocked applies the next change; any other is dropped.
func (p *Presence) deltaLocked(q *peer, m *message) {
	if m.Seq != q.have+1 {
		return
	}
	p.addLocked(q, m.Add)
	for _, ref := range m.Del {
		if e := q.entries[ref]; e != nil {
			p.drop(e)
		}
	}
	q.have = m.Seq
}

// stateLocked applies a part of all a node has. What has begun to arrive and does not
// end changes nothing for good: the node is asked again.
func (p *Presence) stateLocked(q *peer, m *message, now time.Time) {
	if m.Seq < q.have || m.Seq == q.have && !q.truncated {
		return
	}
	if m.Part == 0 {
		q.state = &state{seq: m.Seq, refs: make(map[uint64]struct{})}
		q.truncated = false
	}
	st := q.state
	if st == nil || st.seq != m.Seq || st.part != m.Part {
		q.state = nil
		return
	}
	st.part++
	q.asked = now
	p.addLocked(q, m.Add)
	for i := range m.Add {
		st.refs[m.Add[i].Ref] = struct{}{}
	}
	if !m.Last {
		return
	}
	q.state = nil
	for ref, e := range q.entries {
		if _, there := st.refs[ref]; !there {
			p.drop(e)
		}
	}
	q.have = m.Seq
}

func (p *Presence) addLocked(q *peer, add []wireEntry) {
	for i := range add {
		w := &add[i]
		old := q.entries[w.Ref]
		if old == nil && p.count >= p.opts.MaxTotal {
			p.stats.Refused++
			q.truncated = true
			continue
		}
		e := &entry{ref: w.Ref, owner: q, socket: w.Socket, meta: string(w.Meta), since: w.Since, at: w.Since + w.At}
		if old != nil && old.user.key == w.Key && old.user.room.name == w.Room {
			e.user, e.socket = old.user, old.socket
		} else {
			e.user = p.user(w.Room, w.Key)
		}
		p.put(e)
	}
}

// askLocked asks a node for what is missing, unless that has just happened.
func (p *Presence) askLocked(q *peer, now time.Time) {
	if !q.asked.IsZero() && now.Sub(q.asked) < p.interval()/2 {
		return
	}
	p.stats.Gaps++
	p.outbox.askFor(q, q.have, now)
}

// askFor asks a node for what follows a number; for all it has after 0.
func (o *outbox) askFor(q *peer, have uint64, now time.Time) {
	q.asked = now
	if o.ask == nil {
		o.ask = make(map[string]uint64)
	}
	o.ask[q.id] = have
}

// removeLocked forgets a node, and its entries.
func (p *Presence) removeLocked(q *peer) {
	delete(p.peers, q.id)
	delete(p.outbox.ask, q.id)
	for _, e := range q.entries {
		p.drop(e)
	}
}

// superviseLocked removes nodes that are dead and asks again those that owe
// something.
func (p *Presence) superviseLocked(now, last time.Time) {
	// Who has not run for a while has not listened either.
	slept := now.Sub(last) > p.opts.Lease/2
	for _, q := range p.peers {
		switch {
		case slept:
			q.seen = now
		case now.Sub(q.seen) >= p.opts.Lease:
			p.stats.Expired++
			p.log.Warn("socketio: presence: a node is silent, its members leave",
				slog.String("event", "presence.node_expired"), slog.String("node", q.node), slog.Int("sockets", len(q.entries)))
			p.removeLocked(q)
			continue
		}
		if q.state != nil && now.Sub(q.asked) > p.interval() {
			q.state = nil // the rest has been lost
		}
		if q.state == nil && q.behind() {
			p.askLocked(q, now)
		}
		if q.truncated && p.count < p.opts.MaxTotal-p.opts.MaxTotal/10 && now.Sub(q.asked) > p.interval() {
			p.outbox.askFor(q, 0, now)
		}
	}
}

// interval is how often a node is heard of.
func (p *Presence) interval() time.Duration { return p.opts.Lease / 3 }
