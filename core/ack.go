package core

import (
	"context"
	"sync"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/parser"
)

// pendingAck waits for the answers to one packet, from one socket or from all
// recipients of a broadcast: they share its id, so that the packet is encoded
// once.
type pendingAck struct {
	id  uint64
	ctx context.Context
	fn  func(adapter.Reply)

	mu      sync.Mutex // guards the following; taken after no other lock
	sockets []*Socket  // that were asked; nil once released
	over    bool
}

// newPendingAck returns a pendingAck that frees itself when ctx is done, which
// therefore has to happen when no more answers are wanted.
func newPendingAck(ctx context.Context, id uint64, fn func(adapter.Reply)) *pendingAck {
	a := &pendingAck{id: id, ctx: ctx, fn: fn}
	if ctx.Done() != nil {
		context.AfterFunc(ctx, a.release)
	}
	return a
}

// await registers s as one that owes an answer. The socket is told first: a
// release that comes in between then finds what it has to undo.
func (a *pendingAck) await(s *Socket) error {
	if err := s.expectAck(a); err != nil {
		return err
	}
	a.mu.Lock()
	over := a.over
	if !over {
		a.sockets = append(a.sockets, s)
	}
	a.mu.Unlock()
	if over {
		s.forgetAck(a.id)
		return a.ctx.Err()
	}
	return nil
}

// release forgets every socket that has not answered.
func (a *pendingAck) release() {
	a.mu.Lock()
	sockets := a.sockets
	a.sockets, a.over = nil, true
	a.mu.Unlock()
	for _, s := range sockets {
		s.forgetAck(a.id)
	}
}

// answer passes on the reply of a socket that has been taken off the books.
func (a *pendingAck) answer(r adapter.Reply) {
	if a.ctx.Err() == nil {
		a.fn(r)
	}
}

// expectAck notes that the client owes an answer to a, and has the connection read
// on for it.
func (s *Socket) expectAck(a *pendingAck) error {
	err := s.addAck(a)
	if err == nil {
		s.client.wakeReader()
	}
	return err
}

func (s *Socket) addAck(a *pendingAck) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed() {
		return ErrDisconnected
	}
	if exceeds(len(s.acks)+1, s.nsp.srv.opts.MaxPendingAcks) {
		s.nsp.srv.stats.limit("pending_acks")
		return ErrTooManyAcks
	}
	if s.acks == nil {
		s.acks = make(map[uint64]*pendingAck)
	}
	s.acks[a.id] = a
	s.client.pendingAcks.Add(1)
	s.nsp.srv.stats.pendingAcks.Add(1)
	return nil
}

// forgetAck drops an expected answer and reports whether it was expected.
func (s *Socket) forgetAck(id uint64) (*pendingAck, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.acks[id]
	if ok {
		delete(s.acks, id)
		s.client.pendingAcks.Add(-1)
		s.nsp.srv.stats.pendingAcks.Add(-1)
	}
	return a, ok
}

// onAck resolves a wait with the client's answer, on the goroutine that read it.
// An answer to a wait that has ended is late, whether or not release has run.
func (s *Socket) onAck(p *parser.Packet) {
	a, ok := s.forgetAck(p.ID)
	if !ok || a.ctx.Err() != nil {
		s.nsp.srv.stats.unknownAcks.Add(1)
		if p.ID >= s.nsp.ackID.Load() { // else it is late, and others were asked too
			s.client.strayAck()
		}
		return
	}
	packet := &adapter.Packet{Data: ownData(p), Attachments: ownAttachments(p.Attachments)}
	a.answer(adapter.Reply{Socket: s.id, Packet: packet})
}

// failAcks ends every wait for this socket's answers.
func (s *Socket) failAcks() {
	s.mu.Lock()
	acks := s.acks
	s.acks = nil
	s.client.pendingAcks.Add(-int64(len(acks)))
	s.nsp.srv.stats.pendingAcks.Add(-int64(len(acks)))
	s.mu.Unlock()
	for _, a := range acks {
		a.answer(adapter.Reply{Socket: s.id, Err: ErrDisconnected})
	}
}

// ownData returns a copy of the packet's data where it belongs to the reader's
// buffer.
func ownData(p *parser.Packet) []byte {
	if p.Owned {
		return p.Data
	}
	return append([]byte(nil), p.Data...)
}

func ownAttachments(atts []parser.Attachment) []adapter.Attachment {
	if len(atts) == 0 {
		return nil
	}
	out := make([]adapter.Attachment, len(atts))
	for i, a := range atts {
		out[i] = adapter.Attachment(a)
	}
	return out
}

func parserAttachments(atts []adapter.Attachment) []parser.Attachment {
	if len(atts) == 0 {
		return nil
	}
	out := make([]parser.Attachment, len(atts))
	for i, a := range atts {
		out[i] = parser.Attachment(a)
	}
	return out
}
