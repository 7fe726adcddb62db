package cluster

import (
	"context"
	"slices"
	"sync"

	"github.com/socketfleet/socketfleet/adapter"
)

// receive applies a message of another node. It is the bus's Receiver and does
// not block: it touches memory and queues.
func (a *Adapter) receive(m *Message, _ adapter.Offset) {
	if m == nil || m.From == a.self {
		return
	}
	a.p.received[m.Kind].Add(1)
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

// forget ends all waits for a node that left.
func (a *Adapter) forget(id adapter.NodeID) {
	if id == "" || IsEmitter(id) {
		return
	}
	a.nodes.gone(id)
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
	if m.RequestID == "" {
		a.DeliverLocal(m.Packet, m.Target)
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
	w.counted(a.DeliverLocalWithAck(ctx, m.Packet, m.Target, w.ack))
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
