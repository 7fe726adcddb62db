package cluster

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

const (
	// greetWithin is how long a new node waits for its peers to say how far they got.
	greetWithin = time.Second
	// refillWithin is how long messages of one sender wait for missing ones before
	// them.
	refillWithin = 2 * time.Second
	// maxAhead bounds the messages of one sender that wait so.
	maxAhead = 4096
	// entryOverhead is what an entry counts beside its bytes.
	entryOverhead = 256
)

// journal makes a Log of a bus without one. It puts what this node sends, once the
// bus has taken it, and what it receives in one order: messages of one sender by
// their numbers and without a hole, those of several as they come. A place in it
// is the vector of the numbers taken so far, so it means the same on every node.
// It keeps the events of that order for clients that come back and for nodes that
// missed some.
type journal struct {
	Bus
	Vault

	// Immutable once the namespace is open.
	a    *Adapter
	next Receiver // the namespace's recovering.receive
	opts adapter.Recovery
	ctx  context.Context // ends with the namespace
	stop context.CancelFunc

	// order makes taking a message and handing it on one step. It is taken before all
	// other locks of the package.
	order sync.Mutex

	mu      sync.Mutex // guards the following; leaf lock
	closed  bool
	settled bool // the peers have said how far they got, or had time to
	sources map[uint64]*source
	list    []entry
	bytes   int64
	places  map[adapter.NodeID]vector // of the peers; nil once settled
	waiters map[*Message]chan adapter.Offset
	moved   chan struct{} // closed when a message is taken; nil when nobody waits

	running sync.WaitGroup
}

var _ Log = (*journal)(nil)

// source is one sender.
type source struct {
	seq     uint64 // all up to here have been taken
	trimmed uint64 // events up to here are not kept, if there were any
	heard   time.Time
	ahead   map[uint64]*Message // came before their turn
	filling bool
}

// entry is a message that is kept: an event, a hole, or what a peer may have to be
// told. With epoch 0 it is an event without a number.
type entry struct {
	epoch, seq uint64
	m          *Message
	place      vector
	size       int64
	at         time.Time
}

func newJournal(a *Adapter, opts adapter.Recovery) *journal {
	j := &journal{
		Bus: a.p.bus, Vault: a.p.saver.vault, a: a, opts: opts,
		sources: make(map[uint64]*source),
		places:  make(map[adapter.NodeID]vector),
		waiters: make(map[*Message]chan adapter.Offset),
	}
	j.ctx, j.stop = context.WithCancel(context.Background())
	return j
}

// keep is how long messages are kept. Who has not been heard for longer cannot have
// sent what a client that may come back has missed.
func (j *journal) keep() time.Duration { return j.opts.Window + j.opts.Grace }

// receive is the bus's Receiver.
func (j *journal) receive(m *Message, at adapter.Offset) {
	if m == nil || m.From == j.a.self || at != "" {
		j.next(m, at)
		return
	}
	if isCarrier(m) {
		if !j.a.isFresh(m, at) {
			j.a.p.duplicates.Add(1)
			return
		}
		m = unpack(m)
		if m.Kind == refill {
			j.answer(m)
		}
	}
	j.order.Lock()
	defer j.order.Unlock()
	switch {
	case m.Ext.Seq != 0 && m.Ext.Scope != ScopeRoom:
		j.takeLocked(m)
	case isEvent(m):
		j.strayLocked(m)
	default:
		j.next(m, "")
	}
}

// takeLocked takes a numbered message in its turn. The caller holds j.order.
func (j *journal) takeLocked(m *Message) {
	j.a.nodes.heard(m.From)
	j.mu.Lock()
	s := j.sourceLocked(m)
	s.heard = time.Now()
	switch n := m.Ext.Seq; {
	case n <= s.seq:
		j.mu.Unlock()
		j.lateLocked(m)
		return
	case n > s.seq+1 && len(s.ahead) < maxAhead:
		s.ahead[n] = m
		j.fillLocked(m.Ext.Epoch, s)
		j.mu.Unlock()
		return
	case n > s.seq+1:
		first := s.oldest()
		j.mu.Unlock()
		j.giveUpLocked(m.Ext.Epoch, first.Ext.Seq-1)
		j.takeLocked(first)
		j.takeLocked(m)
		return
	}
	for ; m != nil; m = s.ahead[s.seq+1] {
		delete(s.ahead, m.Ext.Seq)
		at := j.placeLocked(s, m)
		j.mu.Unlock()
		j.next(m, at)
		j.passed(m, at)
		j.mu.Lock()
	}
	j.mu.Unlock()
}

// lateLocked takes a message whose place has passed: a repetition, or one this node
// went on without. The caller holds j.order.
func (j *journal) lateLocked(m *Message) {
	switch {
	case m.Kind >= Takeover:
	case isEvent(m) && j.a.isFresh(m, ""):
		j.strayLocked(m)
	case isEvent(m):
		j.a.p.duplicates.Add(1)
	default:
		j.next(m, "") // which tells a repetition
	}
}

// oldest returns the first message that waits; nil for none.
func (s *source) oldest() (first *Message) {
	for n, m := range s.ahead {
		if first == nil || n < first.Ext.Seq {
			first = m
		}
	}
	return first
}

// sourceLocked returns the sender of m. What it sent before this node had heard of
// it is of no interest while the node starts, and missing afterwards.
func (j *journal) sourceLocked(m *Message) *source {
	s := j.sources[m.Ext.Epoch]
	if s == nil {
		s = &source{ahead: make(map[uint64]*Message)}
		if !j.settled {
			s.seq, s.trimmed = m.Ext.Seq-1, m.Ext.Seq-1
		}
		j.sources[m.Ext.Epoch] = s
	}
	return s
}

// placeLocked gives m the next place.
func (j *journal) placeLocked(s *source, m *Message) adapter.Offset {
	s.seq = m.Ext.Seq
	v := j.vectorLocked()
	if isKept(m) {
		j.appendLocked(entry{epoch: m.Ext.Epoch, seq: m.Ext.Seq, m: m, place: v})
	}
	j.trimLocked()
	if j.moved != nil {
		close(j.moved)
		j.moved = nil
	}
	return v.offset()
}

// isEvent reports whether m is what clients may have missed.
func isEvent(m *Message) bool {
	return m.Kind == Broadcast && m.RequestID == "" && !m.Target.Flags.Has(adapter.Volatile)
}

// isKept reports whether m is of use later.
func isKept(m *Message) bool {
	switch m.Kind {
	case Broadcast:
		return isEvent(m)
	case Hole, SocketsJoin, SocketsLeave, DisconnectSockets, Takeover:
		return true
	}
	return false
}

func (j *journal) appendLocked(e entry) {
	m := *e.m // whoever handles it may change the flags of its own
	m.Target.Flags &^= adapter.Local
	e.m, e.at, e.size = &m, time.Now(), int64(sizeOf(&m))+entryOverhead
	j.list = append(j.list, e)
	j.bytes += e.size
}

// vectorLocked returns this node's place: all senders but those that have been
// silent for long.
func (j *journal) vectorLocked() vector {
	v := make(vector, 0, len(j.sources))
	now := time.Now()
	for epoch, s := range j.sources {
		if s.seq > 0 && now.Sub(s.heard) <= 2*j.keep() {
			v = append(v, component{epoch, s.seq})
		}
	}
	slices.SortFunc(v, func(a, b component) int { return byEpoch(a, b.epoch) })
	return v
}

// trimLocked keeps the journal within its limits.
func (j *journal) trimLocked() {
	now := time.Now()
	n := 0
	for n < len(j.list) && (j.opts.MaxPackets > 0 && len(j.list)-n > j.opts.MaxPackets ||
		j.opts.MaxBytes > 0 && j.bytes > j.opts.MaxBytes || now.Sub(j.list[n].at) > j.keep()) {
		e := &j.list[n]
		if s := j.sources[e.epoch]; s != nil {
			s.trimmed = e.seq
		} else if e.epoch == 0 && now.Sub(e.at) <= j.keep() {
			for _, s := range j.sources { // whom it was for is not known any more
				s.trimmed = max(s.trimmed, s.seq)
			}
		}
		j.bytes -= e.size
		*e = entry{}
		n++
	}
	if j.list = j.list[n:]; len(j.list) == 0 {
		j.list = nil
	}
	for epoch, s := range j.sources {
		if now.Sub(s.heard) > 4*j.keep() && len(s.ahead) == 0 && !s.filling && epoch != j.a.epoch {
			delete(j.sources, epoch)
		}
	}
}

// strayLocked delivers an event without a number. Who was away when it came cannot
// know whether it was for them. The caller holds j.order.
func (j *journal) strayLocked(m *Message) {
	j.a.p.arrived(m)
	if m.Packet == nil {
		return
	}
	m.Target.Flags &^= adapter.Local
	j.mu.Lock()
	j.appendLocked(entry{m: &Message{Kind: Hole, Target: m.Target}})
	j.trimLocked()
	j.mu.Unlock()
	r := j.a.rec
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deliverLocked(m.Packet, m.Target, "")
}

// giveUpLocked goes on although messages up to a number are missing. The caller
// holds j.order.
func (j *journal) giveUpLocked(epoch, upTo uint64) {
	m := &Message{Kind: Hole, Ext: Ext{Epoch: epoch, Seq: upTo}}
	j.mu.Lock()
	s := j.sources[epoch]
	if s == nil || s.seq >= upTo {
		j.mu.Unlock()
		return
	}
	at := j.placeLocked(s, m)
	j.mu.Unlock()
	j.a.rec.missedSome(at)
}

// own takes a message of this node that the bus has taken. Numbers that were given
// up before leave a hole for all.
func (j *journal) own(m *Message) {
	j.order.Lock()
	defer j.order.Unlock()
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return
	}
	s := j.sources[m.Ext.Epoch]
	if s == nil {
		s = &source{}
		j.sources[m.Ext.Epoch] = s
	}
	s.heard = time.Now()
	if m.Ext.Seq > s.seq+1 {
		j.placeLocked(s, &Message{Kind: Hole, Ext: Ext{Epoch: m.Ext.Epoch, Seq: m.Ext.Seq - 1}})
	}
	wait := j.waiters[m]
	delete(j.waiters, m)
	m = unpack(m)
	at := j.placeLocked(s, m)
	j.mu.Unlock()
	j.next(m, at)
	if wait != nil {
		wait <- at
	}
}

// ValidOffset implements Log.
func (j *journal) ValidOffset(offset adapter.Offset) bool {
	_, ok := parseVector(offset)
	return ok
}

// Before implements Log: it reports whether b has something a has not. Senders this
// node does not know, or has not heard for long, do not count: other nodes may have
// forgotten them.
func (j *journal) Before(a, b adapter.Offset) bool {
	v, _ := parseVector(a)
	w, _ := parseVector(b)
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range w {
		if s := j.sources[c.epoch]; v.of(c.epoch) < c.seq && s != nil && time.Since(s.heard) <= j.keep() {
			return true
		}
	}
	return false
}

// Append implements Log. Behind a Hello it waits for the other nodes to say how far
// they got.
func (j *journal) Append(ctx context.Context, m *Message) (adapter.Offset, error) {
	done, kind := make(chan adapter.Offset, 1), m.Kind
	j.mu.Lock()
	j.waiters[m] = done
	j.mu.Unlock()
	defer func() {
		j.mu.Lock()
		delete(j.waiters, m)
		j.mu.Unlock()
	}()
	j.a.extend(m)
	if err := j.a.p.pub.out.push(newOutgoing(m, false), true); err != nil {
		return "", err
	}
	select {
	case at := <-done:
		if kind == Hello {
			j.settle(ctx)
		}
		return at, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// end stops what the journal runs.
func (j *journal) end() {
	j.mu.Lock()
	j.closed = true
	j.list = nil
	j.mu.Unlock()
	j.stop()
	j.running.Wait()
}
