package testutil

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/internal/parser"
)

// expectTimeout bounds the waits of helpers without a context.
const expectTimeout = 30 * time.Second

// maxEvents is how many events a Socket keeps for Next. A test that lets more
// pile up loses the connection.
const maxEvents = 100_000

// Socket is one namespace of a Client.
type Socket struct {
	// Immutable after newSocket.
	client *Client
	nsp    string
	auth   any

	mu        sync.Mutex    // guards the following; leaf lock
	changed   chan struct{} // closed and replaced whenever something below changes
	connected bool
	left      bool // by either side's wish: no reconnection
	refused   error
	id        string
	pid       string
	offset    string
	recovered bool
	connects  int
	reasons   []string // of disconnections, oldest first
	waited    int      // how many of them WaitDisconnect has returned
	nextAck   uint64
	acks      map[uint64]chan parser.Packet
	handlers  map[string][]func(Args)
	any       []func(Args)
	events    []Args // those without a handler
}

func newSocket(c *Client, nsp string, auth any) *Socket {
	return &Socket{client: c, nsp: nsp, auth: auth, changed: make(chan struct{}),
		acks: make(map[uint64]chan parser.Packet), handlers: make(map[string][]func(Args))}
}

func (s *Socket) changedLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// wait calls done, under the lock, until it reports true.
func (s *Socket) wait(ctx context.Context, what string, done func() bool) error {
	for {
		s.mu.Lock()
		ok, changed := done(), s.changed
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("testutil: wait for %s in %s: %w", what, s.nsp, ctx.Err())
		}
	}
}

// connect asks to join the namespace.
func (s *Socket) connect(ctx context.Context) error {
	s.mu.Lock()
	pid, offset := s.pid, s.offset
	s.left, s.refused = false, nil
	s.mu.Unlock()
	auth, err := connectPayload(s.auth, pid, offset)
	if err != nil {
		return err
	}
	return s.client.sendPacket(ctx, s.nsp, parser.Connect, 0, false, auth, nil)
}

// connectPayload merges the recovery fields into the user's auth object, whose
// members win.
func connectPayload(auth any, pid, offset string) ([]byte, error) {
	if auth == nil && pid == "" {
		return nil, nil
	}
	members := make(map[string]json.RawMessage)
	set := func(k, v string) {
		if v != "" {
			members[k] = parser.AppendString(nil, v)
		}
	}
	set("pid", pid)
	set("offset", offset)
	if auth != nil {
		b, err := json.Marshal(auth)
		if err == nil && pid == "" {
			return b, nil // whatever it is
		}
		if err == nil {
			err = json.Unmarshal(b, &members)
		}
		if err != nil {
			return nil, fmt.Errorf("testutil: auth: %w", err)
		}
	}
	return json.Marshal(members)
}

// ID returns the socket id the server gave, of the last connection.
func (s *Socket) ID() string { s.mu.Lock(); defer s.mu.Unlock(); return s.id }

// PID returns the recovery id; empty where the server does not recover.
func (s *Socket) PID() string { s.mu.Lock(); defer s.mu.Unlock(); return s.pid }

// Offset returns the last offset seen.
func (s *Socket) Offset() string { s.mu.Lock(); defer s.mu.Unlock(); return s.offset }

// Recovered reports whether the last connect restored the session before.
func (s *Socket) Recovered() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.recovered }

// Connected reports whether the namespace is joined.
func (s *Socket) Connected() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.connected }

// Connects counts how often the namespace was joined.
func (s *Socket) Connects() int { s.mu.Lock(); defer s.mu.Unlock(); return s.connects }

// Namespace returns the name.
func (s *Socket) Namespace() string { return s.nsp }

// SetRecovery sets what the next connect sends, for tests that forge it.
func (s *Socket) SetRecovery(pid, offset string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pid, s.offset = pid, offset
}

// WaitConnected waits until the namespace is joined. A refusal is a
// *ConnectError.
func (s *Socket) WaitConnected(ctx context.Context) error {
	var refused error
	err := s.wait(ctx, "connect", func() bool {
		refused = s.refused
		return s.connected || refused != nil
	})
	if err == nil {
		err = refused
	}
	return err
}

// WaitDisconnect waits for the next disconnection that it has not returned yet
// and returns its reason, in the words of the official client.
func (s *Socket) WaitDisconnect(ctx context.Context) (string, error) {
	var reason string
	err := s.wait(ctx, "disconnect", func() bool {
		if s.waited == len(s.reasons) {
			return false
		}
		reason = s.reasons[s.waited]
		s.waited++
		return true
	})
	return reason, err
}

// Reason returns why the namespace was left last; empty when it never was.
func (s *Socket) Reason() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.reasons) == 0 {
		return ""
	}
	return s.reasons[len(s.reasons)-1]
}

// Disconnect leaves the namespace; the connection stays.
func (s *Socket) Disconnect() error {
	err := s.client.sendPacket(context.Background(), s.nsp, parser.Disconnect, 0, false, nil, nil)
	s.leave("io client disconnect")
	return err
}

func (s *Socket) wantsReconnect() bool { s.mu.Lock(); defer s.mu.Unlock(); return !s.left }

// leave is lost for good.
func (s *Socket) leave(reason string) {
	s.mu.Lock()
	s.left = true
	s.mu.Unlock()
	s.lost(reason)
}

// lost marks the namespace as not joined any more.
func (s *Socket) lost(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connected {
		s.reasons = append(s.reasons, reason)
	} else if s.refused == nil && !s.client.opts.Reconnect {
		s.refused = &CloseError{Reason: reason}
	}
	s.connected = false
	for id, ch := range s.acks {
		close(ch)
		delete(s.acks, id)
	}
	s.changedLocked()
}

// Emit sends an event. []byte anywhere in args is sent as binary.
func (s *Socket) Emit(event string, args ...any) error {
	return s.emit(context.Background(), 0, false, event, args)
}

// EmitID is Emit with an acknowledgement id of the caller's choice; nobody waits
// for the answer.
func (s *Socket) EmitID(id uint64, event string, args ...any) error {
	return s.emit(context.Background(), id, true, event, args)
}

func (s *Socket) emit(ctx context.Context, id uint64, hasID bool, event string, args []any) error {
	data, atts, err := parser.Codec{}.AppendEvent(nil, event, args...)
	if err != nil {
		return err
	}
	return s.client.sendPacket(ctx, s.nsp, parser.Event, id, hasID, data, atts)
}

// EmitWithAck sends an event and returns the server's answer. It fails when ctx
// ends or the namespace is left first.
func (s *Socket) EmitWithAck(ctx context.Context, event string, args ...any) (Args, error) {
	ch := make(chan parser.Packet, 1)
	s.mu.Lock()
	id := s.nextAck
	s.nextAck++
	s.acks[id] = ch
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.acks, id)
		s.mu.Unlock()
	}()
	if err := s.emit(ctx, id, true, event, args); err != nil {
		return Args{}, err
	}
	select {
	case p, ok := <-ch:
		if !ok {
			return Args{}, fmt.Errorf("testutil: emit %s: socket has been disconnected", event)
		}
		return newArgs(s, p), nil
	case <-ctx.Done():
		return Args{}, fmt.Errorf("testutil: emit %s: %w", event, ctx.Err())
	}
}

// On runs fn for every event of that name from now on; Next no longer sees them.
// Handlers of a client run one after the other.
func (s *Socket) On(event string, fn func(Args)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers[event] = append(s.handlers[event], fn)
}

// OnAny runs fn for every event, before other handlers and beside Next.
func (s *Socket) OnAny(fn func(Args)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.any = append(s.any, fn)
}

// Next returns the oldest event of that name that has not been taken, waiting
// for one if need be. "" takes any event.
func (s *Socket) Next(ctx context.Context, event string) (Args, error) {
	var got Args
	err := s.wait(ctx, fmt.Sprintf("event %q", event), func() bool {
		i := slices.IndexFunc(s.events, func(a Args) bool { return event == "" || a.Name == event })
		if i >= 0 {
			got = s.events[i]
			s.events = slices.Delete(s.events, i, i+1)
		}
		return i >= 0
	})
	return got, err
}

// Expect is Next that fails the test after 10 s.
func (s *Socket) Expect(tb testing.TB, event string) Args {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), expectTimeout)
	defer cancel()
	a, err := s.Next(ctx, event)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// Pending returns the events Next has not taken, oldest first.
func (s *Socket) Pending() []Args {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// take handles one packet on the reading goroutine.
func (s *Socket) take(p parser.Packet) {
	switch p.Type {
	case parser.Connect:
		s.takeConnect(p)
	case parser.ConnectError:
		s.takeRefusal(p)
	case parser.Disconnect:
		s.leave("io server disconnect")
	case parser.Ack:
		s.mu.Lock()
		ch := s.acks[p.ID]
		delete(s.acks, p.ID)
		s.mu.Unlock()
		if ch != nil {
			ch <- p
		}
	case parser.Event:
		s.takeEvent(newArgs(s, p))
	}
}

func (s *Socket) takeConnect(p parser.Packet) {
	var reply struct{ SID, PID string }
	_ = json.Unmarshal(p.Data, &reply)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recovered = reply.PID != "" && reply.PID == s.pid
	s.id, s.pid, s.connected, s.refused = reply.SID, reply.PID, true, nil
	s.connects++
	s.changedLocked()
}

func (s *Socket) takeRefusal(p parser.Packet) {
	refused := new(ConnectError)
	if err := json.Unmarshal(p.Data, refused); err != nil {
		refused.Message = string(p.Data)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused, s.left = refused, true
	s.changedLocked()
}

func (s *Socket) takeEvent(a Args) {
	s.mu.Lock()
	if s.pid != "" {
		s.offset = a.lastString(s.offset)
	}
	fns := slices.Concat(s.any, s.handlers[a.Name])
	if len(s.handlers[a.Name]) == 0 {
		s.events = append(s.events, a)
		s.changedLocked()
	}
	flooded := len(s.events) > maxEvents
	s.mu.Unlock()
	if flooded {
		s.client.Engine().end("too many unread events", nil)
	}
	if len(fns) > 0 {
		s.client.later(func() {
			for _, fn := range fns {
				fn(a)
			}
		})
	}
}
