package adaptertest

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/socketfleet/socketfleet/adapter"
)

// ErrGone is what a closed Socket answers.
var ErrGone = errors.New("adaptertest: socket is gone")

// Answer makes the reply to a packet that wants one; nil gives none.
type Answer func(p *adapter.Packet) *adapter.Packet

// Host is a namespace whose sockets record what they receive.
type Host struct {
	ns, node string

	mu     sync.Mutex // guards the following; leaf lock
	answer Answer
	events []*adapter.Packet
	gone   map[adapter.SocketID]bool // by Disconnect: whether the connection ends
}

var _ adapter.Host = (*Host)(nil)

// NewHost returns the namespace ns of a node.
func NewHost(ns string, node adapter.NodeID) *Host {
	return &Host{ns: ns, node: node, gone: make(map[adapter.SocketID]bool)}
}

// SetAnswer decides the reply to server-side emits that want one. Without it
// there is none.
func (h *Host) SetAnswer(fn Answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = fn
}

// Namespace implements adapter.Host.
func (h *Host) Namespace() string { return h.ns }

// Node implements adapter.Host.
func (h *Host) Node() adapter.NodeID { return h.node }

// Logger implements adapter.Host: it discards.
func (h *Host) Logger() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Deliver implements adapter.Host.
func (h *Host) Deliver(p *adapter.Packet, f adapter.Flags) adapter.Delivery {
	return &delivery{p: p, f: f}
}

// DeliverWithAck implements adapter.Host. Each socket answers as SetAnswer says.
func (h *Host) DeliverWithAck(ctx context.Context, p *adapter.Packet, f adapter.Flags, ack func(adapter.Reply)) adapter.Delivery {
	return &delivery{ctx: ctx, p: p, f: f, ack: ack}
}

// Describe implements adapter.Host.
func (h *Host) Describe(m adapter.Member) adapter.Remote {
	s := m.(*Socket)
	return adapter.Remote{ID: s.id, Data: s.Data, Handshake: s.Handshake}
}

// Disconnect implements adapter.Host: it only takes notes.
func (h *Host) Disconnect(m adapter.Member, closeConn bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone[m.ID()] = closeConn
}

// Disconnected reports whether Disconnect was called for id, and with what.
func (h *Host) Disconnected(id adapter.SocketID) (gone, closeConn bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	closeConn, gone = h.gone[id]
	return gone, closeConn
}

// ServerEvent implements adapter.Host.
func (h *Host) ServerEvent(p *adapter.Packet, ack func(adapter.Reply)) {
	h.mu.Lock()
	h.events = append(h.events, p)
	answer := h.answer
	h.mu.Unlock()
	if ack == nil || answer == nil {
		return
	}
	if reply := answer(p); reply != nil {
		ack(adapter.Reply{Packet: reply})
	}
}

// ServerEvents returns the server-side emits received so far.
func (h *Host) ServerEvents() []*adapter.Packet {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]*adapter.Packet(nil), h.events...)
}

// Received is one packet as a Socket got it.
type Received struct {
	Packet *adapter.Packet
	Flags  adapter.Flags
	Acked  bool // an answer was asked for
}

// Socket is a member that records.
type Socket struct {
	id adapter.SocketID

	// Data and Handshake are what Describe tells. Set them before the first Join.
	Data, Handshake json.RawMessage

	mu     sync.Mutex // guards the following; leaf lock
	answer Answer
	got    []Received
	closed bool
	acks   map[*pendingAck]struct{}
}

var _ adapter.Member = (*Socket)(nil)

// NewSocket returns a socket that records what it receives.
func NewSocket(id adapter.SocketID) *Socket {
	return &Socket{id: id, acks: make(map[*pendingAck]struct{})}
}

// SetAnswer decides the reply to packets that want one. Without it the socket
// owes the answer until it is closed.
func (s *Socket) SetAnswer(fn Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = fn
}

// ID implements adapter.Member.
func (s *Socket) ID() adapter.SocketID { return s.id }

// Received returns what the socket got so far, in order.
func (s *Socket) Received() []Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Received(nil), s.got...)
}

// Close makes the socket refuse packets and fail the answers it owes.
func (s *Socket) Close() {
	s.mu.Lock()
	s.closed = true
	owed := s.acks
	s.acks = make(map[*pendingAck]struct{})
	s.mu.Unlock()
	for p := range owed {
		p.answer(adapter.Reply{Socket: s.id, Err: ErrGone})
	}
}

// Owes returns how many answers are still wanted from s.
func (s *Socket) Owes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for p := range s.acks {
		if p.ctx.Err() == nil {
			n++
		}
	}
	return n
}

type pendingAck struct {
	ctx  context.Context
	done atomic.Bool
	ack  func(adapter.Reply)
}

func (p *pendingAck) answer(r adapter.Reply) {
	if p.ctx.Err() == nil && !p.done.Swap(true) {
		p.ack(r)
	}
}

type delivery struct {
	ctx context.Context
	p   *adapter.Packet
	f   adapter.Flags
	ack func(adapter.Reply)
	n   int
}

func (d *delivery) Count() int { return d.n }

// To records the packet. Sockets answer at once, on the caller's goroutine: the
// earliest moment the interface allows.
func (d *delivery) To(m adapter.Member) error {
	d.n++
	s := m.(*Socket)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrGone
	}
	s.got = append(s.got, Received{Packet: d.p, Flags: d.f, Acked: d.ack != nil})
	answer := s.answer
	var pending *pendingAck
	if d.ack != nil {
		pending = &pendingAck{ctx: d.ctx, ack: d.ack}
		if answer == nil {
			s.acks[pending] = struct{}{}
		}
	}
	s.mu.Unlock()
	if pending == nil || answer == nil {
		return nil
	}
	if reply := answer(d.p); reply != nil {
		pending.answer(adapter.Reply{Socket: s.id, Packet: reply})
	}
	return nil
}
