package cluster

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// receive applies a message of another node. It is the bus's Receiver and does
// not block: it touches memory and queues.
func (a *Adapter) receive(m *Message, at adapter.Offset) {
	if m == nil {
		return
	}
	if m.From == a.self {
		a.own(m)
		return
	}
	a.p.arrived(m)
	if !a.isFresh(m, at) {
		a.p.duplicates.Add(1)
		return
	}
	if m.Kind == AdapterClose {
		a.forget(m.From)
		return
	}
	a.nodes.heard(m.From)
	if a.emitter {
		a.settle(m)
		return
	}
	m.Target.Flags &^= adapter.Local
	switch m.Kind {
	case Heartbeat, InitialHeartbeat:
		a.heartbeat(m)
	case Broadcast:
		a.deliver(m)
	case SocketsJoin:
		_ = a.Adapter.SocketsJoin(context.Background(), m.Target, m.Rooms...)
	case SocketsLeave:
		_ = a.Adapter.SocketsLeave(context.Background(), m.Target, m.Rooms...)
	case DisconnectSockets:
		_ = a.Adapter.DisconnectSockets(context.Background(), m.Target, m.Close)
	case ServerSideEmit:
		a.serverEvent(m)
	case FetchSockets, AllRooms, Sockets:
		a.describe(m)
	default:
		a.settle(m)
	}
}

// own looks at a message that came back: one this node did not send shows that
// another node has its id.
func (a *Adapter) own(m *Message) {
	if isBeat(m.Kind) && m.Ext.Version > 0 && m.Ext.Epoch != a.epoch {
		a.p.twin("adapter id", a.self)
	}
}

// isFresh reports whether m has not been received before, as far as its number
// tells.
func (a *Adapter) isFresh(m *Message, at adapter.Offset) bool {
	if m.Ext.Seq == 0 || a.p.layout == nil {
		return true
	}
	lane, ok := a.p.laneOf(m, at)
	return !ok || a.seqs.fresh(m.From, lane, m.Ext, time.Now())
}

// laneOf returns the lane in which the sender of m, which may subscribe otherwise
// than this node, numbered it. It is not ok when this node cannot follow that.
func (p *Provider) laneOf(m *Message, at adapter.Offset) (Lane, bool) {
	mine, ok := p.layout.Lane(m)
	if !m.Kind.Known() {
		mine, ok = Lane{Log: at != "", Rooms: true}, true
	}
	switch m.Ext.Scope {
	case ScopeShared:
		return Lane{Log: mine.Log}, ok
	case ScopeAll:
		return Lane{Log: mine.Log, Rooms: true}, ok && mine.Rooms
	case ScopeRoom:
		if len(m.Target.Rooms) == 1 {
			return Lane{Room: m.Target.Rooms[0]}, true
		}
	}
	return Lane{}, false
}

// skipped counts a message the bus did not read.
func (a *Adapter) skipped(from adapter.NodeID, x Ext) {
	if x.Scope == ScopeAll && !a.seqs.fresh(from, Lane{Rooms: true}, x, time.Now()) {
		a.p.duplicates.Add(1)
	}
}

// forget ends all waits for a node that left.
func (a *Adapter) forget(id adapter.NodeID) {
	if id == "" || IsEmitter(id) {
		return
	}
	a.nodes.gone(id)
	a.seqs.dropNode(id)
	for _, r := range a.requests.all() {
		r.answers.Forget(id)
	}
}

// describe answers the requests about sockets and rooms. Describing thousands of
// sockets takes long: it is left to the replier.
func (a *Adapter) describe(m *Message) {
	if m.RequestID == "" {
		return
	}
	switch m.Kind {
	case FetchSockets:
		a.replyLater(m, &Message{Kind: FetchSocketsResponse}, func(answer *Message) {
			answer.Sockets, _ = a.Adapter.FetchSockets(context.Background(), m.Target) // never fails
		})
	case AllRooms:
		a.replyLater(m, &Message{Kind: AllRoomsResponse}, func(answer *Message) { answer.Rooms = a.Rooms() })
	case Sockets:
		a.replyLater(m, &Message{Kind: SocketsResponse}, func(answer *Message) {
			for _, member := range a.Members(adapter.Target{Rooms: m.Rooms}) {
				answer.Sockets = append(answer.Sockets, adapter.Remote{ID: member.ID()})
			}
		})
	}
}

// serverEvent passes a server-side emit to the host.
func (a *Adapter) serverEvent(m *Message) {
	if m.Packet == nil {
		return
	}
	if m.RequestID == "" {
		a.host.ServerEvent(m.Packet, nil)
		return
	}
	var once sync.Once
	a.host.ServerEvent(m.Packet, func(r adapter.Reply) {
		if r.Err != nil {
			return // the wire has no word for it: the requester times out
		}
		once.Do(func() { a.reply(m, &Message{Kind: ServerSideEmitResponse, Packet: firstArg(r.Packet)}) })
	})
}

// settle hands an answer to the request that waits for it.
func (a *Adapter) settle(m *Message) {
	switch m.Kind {
	case FetchSocketsResponse, AllRoomsResponse, SocketsResponse, ServerSideEmitResponse,
		BroadcastClientCount, BroadcastAck:
	default:
		return // a heartbeat, or a kind of the future
	}
	r := a.requests.get(m.RequestID)
	if r == nil {
		a.p.late.Add(1)
		return
	}
	r.heard(m)
	switch m.Kind {
	case BroadcastClientCount:
		r.answers.Report(m.From, max(m.Count, 0))
	case BroadcastAck:
		r.answers.Add(adapter.Reply{Node: m.From, Packet: orEmpty(m.Packet)})
	default:
		r.answers.Answer(adapter.Reply{Node: m.From, Packet: orEmpty(m.Packet)})
	}
}

// deliver queues a broadcast of another node for the local sockets.
func (a *Adapter) deliver(m *Message) {
	if m.Packet == nil {
		return
	}
	began := time.Now()
	if m.RequestID == "" {
		n := a.DeliverLocal(m.Packet, m.Target)
		a.received(m, began, n)
		return
	}
	timeout := m.Timeout
	if timeout <= 0 {
		timeout = a.p.opts.RequestsTimeout
	}
	ctx, cancel := context.WithTimeout(context.Background(), min(timeout, maxAnswerTimeout))
	w := &answering{a: a, req: m, done: cancel}
	if !a.answers.add(w) { // leaving, but still counted
		cancel()
		a.reply(m, &Message{Kind: BroadcastClientCount})
		return
	}
	context.AfterFunc(ctx, func() { a.answers.remove(w) })
	n := a.DeliverLocalWithAck(ctx, m.Packet, m.Target, w.ack)
	a.received(m, began, n)
	w.counted(n)
}

// answering is one broadcast of another node whose local recipients owe
// acknowledgements. The requester learns their number before the first of them.
type answering struct {
	// Immutable.
	a    *Adapter
	req  *Message
	done context.CancelFunc

	mu    sync.Mutex // guards the following; ordered before the replies' outbox
	known bool       // the number has been sent
	early []adapter.Reply
	owed  int
}

func (w *answering) ack(r adapter.Reply) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.known {
		w.early = append(w.early, r)
		return
	}
	w.passLocked(r)
}

// counted sends the number of recipients, without those that failed already,
// then what came meanwhile.
func (w *answering) counted(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.early = slices.DeleteFunc(w.early, func(r adapter.Reply) bool {
		if r.Err != nil {
			n--
		}
		return r.Err != nil
	})
	w.a.reply(w.req, &Message{Kind: BroadcastClientCount, Count: n})
	w.known, w.owed = true, n
	for _, r := range w.early {
		w.passLocked(r)
	}
	w.early = nil
	if w.owed == 0 {
		w.done()
	}
}

func (w *answering) passLocked(r adapter.Reply) {
	if r.Err == nil {
		w.a.reply(w.req, &Message{Kind: BroadcastAck, Packet: firstArg(r.Packet)})
	}
	if w.owed--; w.owed == 0 {
		w.done()
	}
}

// answers are the broadcasts of other nodes whose acknowledgements this node
// still collects.
type answers struct {
	mu     sync.Mutex // guards the following; leaf lock
	closed bool
	open   map[*answering]struct{}
}

func (s *answers) init() { s.open = make(map[*answering]struct{}) }

func (s *answers) add(w *answering) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.open[w] = struct{}{}
	return true
}

func (s *answers) remove(w *answering) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, w)
}

// end gives up what is open.
func (s *answers) end() {
	s.mu.Lock()
	s.closed = true
	open := s.open
	s.init()
	s.mu.Unlock()
	for w := range open {
		w.done()
	}
}
