package history

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Config is what a deployment promises. The package comment says what the fields
// mean. The zero value is the strictest.
type Config struct {
	Margin     time.Duration
	Settle     time.Duration
	JoinGrace  time.Duration
	AtMostOnce bool
	// Logged is set where the sockets of the emitting node are served from the same
	// log as all others, and the reasons to miss a message count for them too.
	Logged bool
	// Repeats is set where a message may come twice: Report.Repeats counts such.
	Repeats bool
}

const never = math.MaxInt64

// message is one emit.
type message struct {
	node, emitter, room string
	seq                 uint64
	begin               int64
	returned            int64 // never: the node died in between
	left                int64 // when its node's queue was seen empty; never: not seen
	told                bool  // its node reported that others may not get it
}

// node is one life of a process.
type node struct {
	exit    int64 // never: still alive
	flushes []Event
	gaps    []Event
	untold  []Event    // gaps in which others may not have got this node's messages
	pending []*message // without left
}

// session is one connection of a client.
type session struct {
	node       string
	ready, end int64
}

// chain is a session and those that recovered it.
type chain struct {
	client   string
	rooms    []string
	sessions []*session
	got      map[string]map[uint64]bool // by emitter
	top      map[string]uint64          // the highest number received, by emitter
}

func (c *chain) ready() int64 { return c.sessions[0].ready }
func (c *chain) end() int64   { return c.sessions[len(c.sessions)-1].end }

type sessionKey struct {
	client string
	n      int
}

// checker holds what the passes over a history share.
type checker struct {
	cfg      Config
	rep      *Report
	nodes    map[string]*node
	emitters map[string]map[uint64]*message
	order    []*message
	sessions map[sessionKey]*session
	chainOf  map[sessionKey]*chain
	chains   []*chain
	last     map[string]*chain // by client
}

// Check judges a history; the order of events does not matter, their times do.
func Check(events []Event, cfg Config) *Report {
	c := &checker{
		cfg: cfg, rep: newReport(),
		nodes: make(map[string]*node), emitters: make(map[string]map[uint64]*message),
		sessions: make(map[sessionKey]*session), chainOf: make(map[sessionKey]*chain), last: make(map[string]*chain),
	}
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	for _, e := range events {
		c.takeNode(e)
		c.takeSession(e)
	}
	c.settleNodes()
	for _, e := range events {
		if e.Kind == Deliver {
			c.takeDelivery(e)
		}
	}
	for _, ch := range c.chains {
		c.judge(ch)
	}
	c.rep.sort()
	return c.rep
}

func (c *checker) node(name string) *node {
	n := c.nodes[name]
	if n == nil {
		n = &node{exit: never}
		c.nodes[name] = n
	}
	return n
}

func (c *checker) takeNode(e Event) {
	switch e.Kind {
	case Emit:
		c.takeEmit(e)
	case Emitted:
		if m := c.emitters[e.Emitter][e.Seq]; m != nil {
			m.returned = e.At
			m.told = m.told || e.Reason != ""
		}
	case Flushed:
		n := c.node(e.Node)
		n.flushes = append(n.flushes, e)
	case Gap:
		n := c.node(e.Node)
		n.gaps = append(n.gaps, e)
		if e.Reason == "publish" || e.Reason == "failover" {
			n.untold = append(n.untold, e)
		}
		c.rep.Gaps[e.Reason]++
	case Exit:
		c.node(e.Node).exit = e.At
	case Fault:
		c.rep.Faults[e.Reason]++
	}
}

func (c *checker) takeEmit(e Event) {
	m := &message{node: e.Node, emitter: e.Emitter, room: e.Room, seq: e.Seq, begin: e.At, returned: never, left: never}
	if c.emitters[e.Emitter] == nil {
		c.emitters[e.Emitter] = make(map[uint64]*message)
	}
	c.emitters[e.Emitter][e.Seq] = m
	c.order = append(c.order, m)
	n := c.node(e.Node)
	n.pending = append(n.pending, m)
	c.rep.Emitted++
}

func (c *checker) takeSession(e Event) {
	key := sessionKey{e.Client, e.Session}
	s := c.sessions[key]
	switch {
	case e.Kind == Connect:
		c.open(e)
	case s == nil:
	case e.Kind == Ready:
		s.ready, s.node = e.At, e.Node
	case e.Kind == Disconnect:
		s.end = e.At
	}
}

func (c *checker) open(e Event) {
	s := &session{ready: never, end: never}
	ch := c.last[e.Client]
	switch {
	case ch != nil && e.Recovered:
		c.rep.Recovered++
	case ch != nil:
		c.rep.NotRecovered++
	}
	if ch == nil || !e.Recovered {
		ch = &chain{client: e.Client, rooms: e.Rooms, got: make(map[string]map[uint64]bool), top: make(map[string]uint64)}
		c.chains = append(c.chains, ch)
		c.last[e.Client] = ch
	}
	ch.sessions = append(ch.sessions, s)
	key := sessionKey{e.Client, e.Session}
	c.sessions[key], c.chainOf[key] = s, ch
}

// settleNodes finds out when messages left their nodes, and whether those
// reported trouble with them.
func (c *checker) settleNodes() {
	for _, n := range c.nodes {
		var before Event
		for _, f := range n.flushes {
			told := f.Dropped != before.Dropped || c.cfg.AtMostOnce && f.Uncertain != before.Uncertain
			for len(n.pending) > 0 && n.pending[0].returned <= f.At {
				n.pending[0].left = f.At
				n.pending[0].told = n.pending[0].told || told
				n.pending = n.pending[1:]
			}
			before = f
		}
		for _, m := range n.pending {
			m.told = m.told || n.exit != never
		}
	}
}

func (c *checker) takeDelivery(e Event) {
	c.rep.Delivered++
	ch := c.chainOf[sessionKey{e.Client, e.Session}]
	m := c.emitters[e.Emitter][e.Seq]
	if m == nil || ch == nil || m.begin > e.At {
		c.rep.found(Finding{What: Unknown, Client: e.Client, Emitter: e.Emitter, Seq: e.Seq, At: e.At})
		return
	}
	got := ch.got[e.Emitter]
	if got == nil {
		got = make(map[uint64]bool)
		ch.got[e.Emitter] = got
	}
	switch top := ch.top[e.Emitter]; {
	case got[e.Seq] && c.cfg.Repeats:
		c.rep.Repeats++
	case got[e.Seq]:
		c.rep.found(Finding{What: Duplicate, Client: e.Client, Node: m.node, Emitter: e.Emitter, Seq: e.Seq, At: e.At})
	case e.Seq < top:
		c.rep.found(Finding{What: Reordered, Client: e.Client, Node: m.node, Emitter: e.Emitter, Seq: e.Seq, At: e.At})
	default:
		ch.top[e.Emitter] = e.Seq
	}
	got[e.Seq] = true
}

// judge looks for what a chain did not get.
func (c *checker) judge(ch *chain) {
	for _, m := range c.order {
		if !c.entitled(ch, m) {
			continue
		}
		c.rep.Due++
		if ch.got[m.emitter][m.seq] {
			continue
		}
		switch local := c.local(ch, m); {
		case !local && c.inGap(ch, m):
			c.rep.InGap++
		case !local && (m.told || c.meets(c.node(m.node).untold, m)):
			c.rep.Told++
		default:
			c.rep.found(Finding{What: Missing, Client: ch.client, Node: m.node, Emitter: m.emitter, Seq: m.seq, At: m.begin, Local: local})
		}
	}
}

func (c *checker) entitled(ch *chain, m *message) bool {
	if ch.ready() == never || m.begin < ch.ready()+int64(c.cfg.JoinGrace) {
		return false
	}
	if m.room != "" && !slices.Contains(ch.rooms, m.room) {
		return false
	}
	return m.seq < ch.top[m.emitter] || ch.end()-m.begin >= int64(c.cfg.Settle)
}

// local reports whether the client was on the emitting node, and long enough not
// to need a recovery.
func (c *checker) local(ch *chain, m *message) bool {
	for _, s := range ch.sessions {
		if !c.cfg.Logged && s.node == m.node && s.ready <= m.begin && m.begin < s.end {
			return len(ch.sessions) == 1 || s.end == never || s.end-m.begin >= int64(c.cfg.Settle)
		}
	}
	return false
}

func (c *checker) inGap(ch *chain, m *message) bool {
	for _, s := range ch.sessions {
		n := c.nodes[s.node]
		if n == nil {
			continue
		}
		if c.meets(n.gaps, m) {
			return true
		}
	}
	return false
}

// meets reports whether one of gaps overlaps the time m needed to leave its node.
func (c *checker) meets(gaps []Event, m *message) bool {
	return slices.ContainsFunc(gaps, func(g Event) bool {
		return m.begin <= g.At && m.left >= g.From-int64(c.cfg.Margin)
	})
}
