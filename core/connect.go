package core

import (
	"context"
	"errors"
	"log/slog"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/engineio"
	"github.com/socketfleet/socketfleet/internal/parser"
)

// runConnect takes a socket through the middlewares, accepts it and runs the
// OnConnect handlers, on the socket's dispatcher: its first events wait behind.
func (s *Socket) runConnect() {
	ob := s.beginConnect()
	ob.end(s.enterNamespace(ob.ctx))
}

func (s *Socket) beginConnect() observation {
	return s.nsp.srv.begin(s.Context(), Op{Kind: OpConnect, Namespace: s.nsp, Socket: s})
}

// admitUnasked accepts a socket that no user code is asked about.
func (s *Socket) admitUnasked() {
	if !s.nsp.srv.observed() { // then the socket needs no context either
		s.accept()
		return
	}
	ob := s.beginConnect()
	s.accept()
	ob.end(nil)
}

// enterNamespace returns why the socket was refused.
func (s *Socket) enterNamespace(ctx context.Context) error {
	if err := s.admitted(ctx); err != nil {
		s.client.drop(s)
		if s.close(ReasonServerNamespace, nil) {
			s.client.turnAway(s.nsp.name, err)
		}
		return err
	}
	if !s.accept() {
		return ErrDisconnected
	}
	for h := range s.nsp.chain() {
		for _, fn := range h.connect {
			s.nsp.srv.failed("OnConnect", s.nsp, guard(func() error { return fn(ctx, s) }))
		}
	}
	return nil
}

// runMiddleware returns what the first refusing middleware says. A panic is
// logged here and refuses the socket without giving anything away.
func (s *Socket) runMiddleware(ctx context.Context) error {
	for h := range s.nsp.chain() {
		for _, fn := range h.middleware {
			err := guard(func() error { return fn(ctx, s) })
			if _, ok := err.(*panicError); ok {
				s.nsp.srv.failed("middleware", s.nsp, err)
				err = errors.New("internal error")
			}
			if err != nil {
				s.nsp.srv.namespaceRefused(s.handshake.req, s.nsp.name, fn, err)
				return err
			}
			if s.closed() {
				return ErrDisconnected
			}
		}
	}
	return nil
}

// accept connects the socket: from here on events reach it and it reaches its
// rooms. It reports false when the client has gone meanwhile.
func (s *Socket) accept() bool {
	s.members.Lock()
	defer s.members.Unlock()
	s.mu.Lock()
	if s.state.Load() != stateConnecting {
		s.mu.Unlock()
		return false
	}
	s.state.Store(stateGreeting)
	s.mu.Unlock()
	s.nsp.add(s)
	s.nsp.group.connects.Add(1)
	s.logTurn("socketio: socket connected", "socket.connect", "")
	s.client.joined()
	rooms := append([]Room{s.id}, s.early...)
	s.early = nil
	if s.Recovered() {
		s.greeted() // what it missed goes out before the reply, as in the reference
		return s.resume(rooms)
	}
	s.nsp.adapter.Join(s, rooms...)
	s.lease.joined()
	s.keep()
	s.greet()
	return true
}

// logTurn writes what happened to the socket, for those who look for one client.
func (s *Socket) logTurn(text, event string, reason DisconnectReason) {
	log := s.nsp.srv.log
	if !log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	log.LogAttrs(context.Background(), slog.LevelDebug, text, slog.String("event", event), slog.String("namespace", s.nsp.name),
		slog.String("socket", s.id), slog.String("transport", s.Transport()), slog.String("reason", string(reason)))
}

// greeted ends the holding back of messages.
func (s *Socket) greeted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.CompareAndSwap(stateGreeting, stateConnected)
}

// greet tells the client that it is connected, then sends what has reached the
// socket since it is in its rooms: a client that knows of its connection misses
// nothing, and none gets an event before it knows.
func (s *Socket) greet() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Load() != stateGreeting {
		return // closed meanwhile
	}
	s.reply()
	for _, m := range s.heldBack {
		_ = s.write(m) // a failure closes the connection
	}
	s.heldBack = nil
	s.state.Store(stateConnected)
}

// maxHeldBack is how many messages are kept for a socket until its client has
// been told that it is connected. Nothing waits meanwhile, so more means that one
// goroutine floods the others.
const maxHeldBack = 16_384

// holdBack keeps a message until the client has been greeted. It returns false
// when that has happened.
func (s *Socket) holdBack(m *engineio.Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Load() != stateGreeting {
		return false
	}
	if len(s.heldBack) == maxHeldBack {
		s.heldBack = append(s.heldBack, m) // the last one
		s.nsp.srv.work.Add(1)
		go func() { // the caller may hold a lock that closing takes
			defer s.nsp.srv.work.Done()
			s.nsp.srv.stats.limit("held_back")
			s.client.forceClose(ErrQueuePackets, false)
		}()
	}
	if len(s.heldBack) < maxHeldBack {
		s.heldBack = append(s.heldBack, m)
	}
	return true
}

// encodePacket builds the one message all recipients share.
func encodePacket(t parser.Type, nsp string, id uint64, hasID bool, data []byte, atts []adapter.Attachment) *engineio.Message {
	buf := engineio.Reserve(len(data) + len(nsp) + 32)
	buf = parser.AppendHeader(buf, t, len(atts), nsp, id, hasID)
	buf = append(buf, data...)
	if len(atts) == 0 {
		return engineio.NewMessage(buf, nil)
	}
	bins := make([][]byte, len(atts))
	for i, a := range atts {
		bins[i] = a.Data
	}
	return engineio.NewMessage(buf, bins)
}

// reply answers an accepted CONNECT. A failure closes the connection, which ends
// this socket too.
func (s *Socket) reply() {
	if s.client.v2() {
		s.client.send(parser.Connect, s.nsp.name, nil)
		return
	}
	body := `{"sid":"` + s.id + `"}`
	if s.lease != nil {
		body = `{"sid":"` + s.id + `","pid":"` + s.lease.pid + `"}`
	}
	s.client.send(parser.Connect, s.nsp.name, []byte(body))
}
