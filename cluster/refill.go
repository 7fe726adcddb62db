package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// An answer to a request for messages holds no more than this.
const (
	maxRefillMessages = 1000
	maxRefillBytes    = 1 << 20
)

// carrierName is the event of the server-side emits in which journals send what the
// wires of the reference have no form for: [name, kind, text...].
const carrierName = "socketfleet:journal"

var carrierHead = []byte(`["` + carrierName + `",`)

// carry makes m, in place, a message every wire has a form for.
func carry(m *Message) {
	args := []any{carrierName, m.Kind}
	for _, r := range m.Rooms {
		args = append(args, r)
	}
	data, _ := json.Marshal(args) // strings and a number
	m.Kind, m.Packet, m.Rooms = ServerSideEmit, &adapter.Packet{Data: data}, nil
}

func isCarrier(m *Message) bool {
	return m.Kind == ServerSideEmit && m.Packet != nil && bytes.HasPrefix(m.Packet.Data, carrierHead)
}

// unpack returns what m carries; m itself when it is no carrier. What cannot be
// read becomes a Hello's place, which says nothing.
func unpack(m *Message) *Message {
	if !isCarrier(m) {
		return m
	}
	c := *m
	c.Kind, c.Packet, c.Rooms = place, nil, nil
	var args []json.RawMessage
	var kind Kind
	if json.Unmarshal(m.Packet.Data, &args) != nil || len(args) < 2 || json.Unmarshal(args[1], &kind) != nil {
		return &c
	}
	for _, raw := range args[2:] {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return &c
		}
		c.Rooms = append(c.Rooms, text)
	}
	switch kind {
	case Takeover, Hole, Hello, refill:
		c.Kind = kind
	}
	return &c
}

// ledger is the publisher's bus where namespaces have journals.
type ledger struct {
	Bus
	p *Provider
}

// Publish implements Bus. What the bus has taken gets its place in the journal.
func (l *ledger) Publish(ctx context.Context, batch []*Message) ([]adapter.Offset, error) {
	for _, m := range batch {
		if m.Kind >= Takeover {
			carry(m)
		}
	}
	at, err := l.Bus.Publish(ctx, batch)
	sent := len(batch)
	if err != nil {
		sent, _ = progress(err, sent)
	}
	for _, m := range batch[:sent] {
		if m.Ext.Seq == 0 || m.Ext.Scope == ScopeRoom {
			continue
		}
		if j := l.p.journalOf(m.From); j != nil {
			j.own(m)
		}
	}
	return at, err
}

func (p *Provider) journalOf(self adapter.NodeID) *journal {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.journals[self]
}

// settle asks the peers of a new node how far they got, and waits a moment. What a
// sender has said itself counts; of senders that say nothing others know.
func (j *journal) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, greetWithin)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	peers, err := j.a.others(ctx)
	for ctx.Err() == nil && (err != nil || j.placesKnown() < peers) {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, v := range j.places {
		for _, c := range v {
			if j.sources[c.epoch] == nil {
				j.sources[c.epoch] = &source{seq: c.seq, trimmed: c.seq, heard: time.Now(), ahead: make(map[uint64]*Message)}
			}
		}
	}
	j.settled, j.places = true, nil
}

func (j *journal) placesKnown() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.places)
}

// passed looks at what only the journal understands, in its turn.
func (j *journal) passed(m *Message, at adapter.Offset) {
	switch {
	case m.From == j.a.self:
	case m.Kind == Hello: // the answer is numbered, and so tells this node's own place
		_ = j.a.publish(&Message{Kind: place, Rooms: []adapter.Room{at}})
	case m.Kind == place && len(m.Rooms) == 1:
		if v, ok := parseVector(m.Rooms[0]); ok {
			j.mu.Lock()
			if !j.settled {
				j.places[m.From] = v
			}
			j.mu.Unlock()
		}
	}
}

// copied is a message on its way to a node that missed it.
type copied struct {
	Seq    uint64
	Kind   Kind
	Packet *adapter.Packet `json:",omitempty"`
	Target adapter.Target
	Rooms  []adapter.Room `json:",omitempty"`
	Close  bool           `json:",omitempty"`
	Token  uint64         `json:",omitempty"`
	Scope  Scope
	From   adapter.NodeID
}

// refilled answers a request: the messages of use up to a number.
type refilled struct {
	UpTo uint64
	List []copied
}

// answer tells a peer what it missed: [epoch, after, up to].
func (j *journal) answer(m *Message) {
	if m.RequestID == "" || len(m.Rooms) != 3 {
		return
	}
	var n [3]uint64
	for i := range n {
		var err error
		if n[i], err = strconv.ParseUint(m.Rooms[i], 36, 48); err != nil {
			return
		}
	}
	j.a.replyLater(m, &Message{Kind: ServerSideEmitResponse}, func(reply *Message) {
		data, err := json.Marshal([]refilled{j.kept(n[0], n[1], n[2])})
		if err != nil {
			data = []byte(`[]`)
		}
		reply.Packet = &adapter.Packet{Data: data}
	})
}

// kept returns what is known of a sender's messages behind after. UpTo is 0 when it
// cannot be told which they were.
func (j *journal) kept(epoch, after, upTo uint64) (r refilled) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.sources[epoch]
	if s == nil || after < s.trimmed || s.seq <= after {
		return r
	}
	r.UpTo = min(upTo, s.seq)
	var size int64
	for i := range j.list {
		e := &j.list[i]
		if e.epoch != epoch || e.seq <= after || e.seq > upTo {
			continue
		}
		if size += e.size; len(r.List) >= maxRefillMessages || size > maxRefillBytes && len(r.List) > 0 {
			r.UpTo = r.List[len(r.List)-1].Seq
			break
		}
		r.List = append(r.List, copied{
			Seq: e.seq, Kind: e.m.Kind, Packet: e.m.Packet, Target: e.m.Target,
			Rooms: e.m.Rooms, Close: e.m.Close, Token: e.m.Token, Scope: e.m.Ext.Scope, From: e.m.From,
		})
	}
	return r
}

var errNobody = errors.New("socketio: no node has the missing messages")

// fetch asks the other nodes for messages of a sender until one knows them all, and
// returns those of use, in order, and up to where they are complete.
func (j *journal) fetch(ctx context.Context, epoch, after, upTo uint64) (list []*Message, known uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, refillWithin)
	defer cancel()
	for known = after; known < upTo; {
		more, err := j.ask(ctx, epoch, known, upTo)
		if err != nil && pause(ctx, refillWithin/20) { // the others may be getting it
			continue
		}
		if err != nil {
			return list, known, err
		}
		for _, c := range more.List {
			if c.Seq <= known || c.Seq > more.UpTo {
				continue
			}
			list = append(list, &Message{
				Kind: c.Kind, From: c.From, Namespace: j.a.ns, Packet: c.Packet, Target: c.Target, Rooms: c.Rooms,
				Close: c.Close, Token: c.Token, Ext: Ext{Version: ExtVersion, Epoch: epoch, Seq: c.Seq, Scope: c.Scope},
			})
		}
		known = more.UpTo
	}
	return list, known, nil
}

// ask returns the first answer that gets on.
func (j *journal) ask(ctx context.Context, epoch, after, upTo uint64) (refilled, error) {
	m := &Message{Kind: refill}
	for _, n := range []uint64{epoch, after, upTo} {
		m.Rooms = append(m.Rooms, strconv.FormatUint(n, 36))
	}
	carry(m)
	for r, err := range j.a.ServerSideEmitWithAck(ctx, m.Packet) {
		if err != nil {
			break
		}
		var list []refilled
		if json.Unmarshal(r.Packet.Data, &list) == nil && len(list) == 1 && list[0].UpTo > after && wellFormed(list[0].List) {
			return list[0], nil
		}
	}
	return refilled{}, errNobody
}

// wellFormed reports whether messages can be applied: in order, and whole.
func wellFormed(list []copied) bool {
	for i := range list {
		c := &list[i]
		if i > 0 && c.Seq <= list[i-1].Seq || c.Kind == Broadcast && (c.Packet == nil || !isArray(c.Packet.Data)) {
			return false
		}
	}
	return true
}

func isArray(data []byte) bool {
	return len(data) > 2 && data[0] == '[' && data[len(data)-1] == ']' && json.Valid(data)
}

// fillLocked gets what is missing before the first message of a sender that waits.
func (j *journal) fillLocked(epoch uint64, s *source) {
	if first := s.oldest(); first != nil {
		j.fillToLocked(epoch, s, first.Ext.Seq-1)
	}
}

// fillToLocked gets what is missing of a sender up to a number, on a goroutine of its
// own, one at a time for each sender.
func (j *journal) fillToLocked(epoch uint64, s *source, upTo uint64) {
	if s.filling || j.closed || s.seq >= upTo {
		return
	}
	s.filling = true
	after := s.seq
	j.running.Go(func() {
		list, known, _ := j.fetch(j.ctx, epoch, after, upTo) // what came counts
		if j.ctx.Err() == nil {
			j.filled(epoch, known, upTo, list)
		}
	})
}

// filled takes what peers had of a sender up to known, and goes on without the rest
// where later messages wait.
func (j *journal) filled(epoch, known, upTo uint64, list []*Message) {
	j.order.Lock()
	defer j.order.Unlock()
	for _, m := range list {
		j.skipTo(epoch, m.Ext.Seq-1)
		j.takeLocked(m)
	}
	j.skipTo(epoch, known)
	j.mu.Lock()
	s := j.sources[epoch]
	s.filling = false
	first, next := s.oldest(), s.seq+1
	j.mu.Unlock()
	if first == nil {
		return
	}
	if n := first.Ext.Seq - 1; n >= next && n <= upTo {
		j.giveUpLocked(epoch, n)
	}
	j.mu.Lock()
	ready := s.ahead[s.seq+1] != nil
	if !ready {
		j.fillLocked(epoch, s)
	}
	j.mu.Unlock()
	if ready {
		j.takeLocked(first)
	}
}

// skipTo notes that the messages of a sender up to a number, which a peer knows, are
// of no use, but those that came here. The caller holds j.order.
func (j *journal) skipTo(epoch, seq uint64) {
	for {
		j.mu.Lock()
		s := j.sources[epoch]
		if s.seq >= seq {
			j.mu.Unlock()
			return
		}
		first := s.oldest()
		if first == nil || first.Ext.Seq > seq {
			s.seq = seq
			j.mu.Unlock()
			return
		}
		s.seq = first.Ext.Seq - 1
		j.mu.Unlock()
		j.takeLocked(first)
	}
}
