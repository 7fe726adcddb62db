package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"

	"github.com/socketfleet/socketfleet/internal/parser"
)

// Event is one event from a client on its way to its handlers.
type Event struct {
	// Name is the event's name.
	Name string
	// Args are the arguments the client sent, without a function it passed for
	// the acknowledgement.
	Args Args

	s     *Socket
	id    uint64
	hasID bool
	acked atomic.Bool
	err   error // the first a handler returned; owned by the dispatcher
}

// WantsAck reports whether the client asked for an acknowledgement.
func (e *Event) WantsAck() bool { return e.hasID }

// Ack answers the client. Only the first call counts; it does nothing when the
// client did not ask.
func (e *Event) Ack(args ...any) error {
	if !e.hasID || e.acked.Swap(true) {
		return nil
	}
	args, err := flatten(args)
	if err != nil {
		return err
	}
	return e.s.sendAck(e.id, args)
}

// EventHandler handles one event of one socket. What an event middleware
// receives as next runs the rest of the middlewares and then the handlers.
type EventHandler func(ctx context.Context, s *Socket, e *Event) error

// Listener is what events are registered on: a *Server or *Namespace routes the
// events of all its sockets, a *NamespaceFamily those of all its namespaces, a
// *Socket only its own.
type Listener interface {
	listen(event string, fn EventHandler) (cancel func())
}

var (
	_ Listener = (*Server)(nil)
	_ Listener = (*Namespace)(nil)
	_ Listener = (*NamespaceFamily)(nil)
	_ Listener = (*Socket)(nil)
)

// On routes an event to fn, with the event's first argument decoded into a T:
// the zero T when there is none. A T of type Args receives all arguments. An
// argument that does not fit T is logged at debug level and counted, and fn is
// not called. An error of fn is logged and counted and disconnects nobody. The
// returned function removes the route. On panics on a reserved event name.
func On[T any](l Listener, event string, fn func(ctx context.Context, s *Socket, v T) error) (cancel func()) {
	return l.listen(event, func(ctx context.Context, s *Socket, e *Event) error {
		v, err := decodeAs[T](e.Args)
		if err != nil {
			return &argumentError{err}
		}
		return fn(ctx, s, v)
	})
}

// OnAck is On, and sends fn's result to a client that asked for an
// acknowledgement: several values when R is Args. When fn returns an error no
// acknowledgement is sent.
func OnAck[T, R any](l Listener, event string, fn func(ctx context.Context, s *Socket, v T) (R, error)) (cancel func()) {
	return l.listen(event, func(ctx context.Context, s *Socket, e *Event) error {
		v, err := decodeAs[T](e.Args)
		if err != nil {
			return &argumentError{err}
		}
		r, err := fn(ctx, s, v)
		if err != nil {
			return err
		}
		return e.Ack(r)
	})
}

// OnArgs routes an event to fn with all its arguments.
func OnArgs(l Listener, event string, fn func(ctx context.Context, s *Socket, a Args) error) (cancel func()) {
	return On(l, event, fn)
}

// argumentError is a client's mistake: an argument of a type its handler does
// not take.
type argumentError struct{ err error }

func (e *argumentError) Error() string { return e.err.Error() }
func (e *argumentError) Unwrap() error { return e.err }

// panicError is a panic of user code, turned into an error where it happened.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// guard runs fn and turns its panic into an error.
func guard(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return fn()
}

// failed logs and counts what user code returned or panicked with. That a client
// has gone meanwhile is no failure of the handler.
func (srv *Server) failed(what string, nsp *Namespace, err error) {
	switch e := err.(type) {
	case nil:
	case *panicError:
		srv.stats.panics.Add(1)
		nsp.group.panics.Add(1)
		srv.log.Error("socketio: handler panicked", "event", "handler.panic",
			"what", what, "namespace", nsp.name, "panic", fmt.Sprint(e.value), "stack", string(e.stack))
	case *argumentError:
		srv.stats.badArguments.Add(1)
		srv.log.Debug("socketio: event argument refused", "event", "event.bad_argument", "what", what, "namespace", nsp.name, "error", e.err)
	default:
		if errors.Is(err, ErrDisconnected) {
			srv.log.Debug("socketio: the client has gone", "event", "handler.client_gone", "what", what, "namespace", nsp.name, "error", err)
			return
		}
		srv.stats.handlerErrors.Add(1)
		nsp.group.handlerErrors.Add(1)
		srv.log.LogAttrs(context.Background(), slog.LevelWarn, "socketio: handler failed",
			slog.String("event", "handler.error"), slog.String("what", what), slog.String("namespace", nsp.name), slog.Any("error", err))
	}
}

// run hands e to the catch-all listeners, then through the middlewares to the
// handlers.
func (s *Socket) run(e *Event) {
	n := s.nsp
	if !n.srv.observed() {
		s.runEvent(s.Context(), e)
		return
	}
	ob := n.srv.begin(s.Context(), Op{Kind: OpEvent, Namespace: n, Socket: s, Name: e.Name, Known: n.routes(e.Name)})
	s.runEvent(ob.ctx, e)
	ob.end(e.err)
}

// routes reports whether a handler for the event is registered on the namespace or
// its family.
func (n *Namespace) routes(event string) bool {
	return n.anyHook(func(t *hookTable) bool { return len(t.events[event]) > 0 })
}

func (s *Socket) runEvent(ctx context.Context, e *Event) {
	n := s.nsp
	for h := range n.chain() {
		for _, fn := range h.any {
			n.srv.failed("OnAny", n, guard(func() error { fn(ctx, s, e); return nil }))
		}
	}
	handler := dispatch
	own, family := n.hooks.load(), n.familyHooks()
	if own.wrap != nil {
		handler = own.wrap(handler)
	}
	if family != nil && family.wrap != nil {
		handler = family.wrap(handler)
	}
	if every := n.srv.every.load(); every.wrap != nil {
		handler = every.wrap(handler)
	}
	if err := guard(func() error { return handler(ctx, s, e) }); err != nil {
		n.srv.failed("event", n, err)
		e.failed(err)
	}
}

// dispatch runs every handler of e, the family's first, the socket's own last.
func dispatch(ctx context.Context, s *Socket, e *Event) error {
	n := s.nsp
	for h := range n.chain() {
		s.call(ctx, e, h.events[e.Name])
	}
	if own := s.hooks.Load(); own != nil {
		s.call(ctx, e, own.load().events[e.Name])
	}
	return nil
}

func (s *Socket) call(ctx context.Context, e *Event, routes []*route) {
	for _, r := range routes {
		if err := guard(func() error { return r.fn(ctx, s, e) }); err != nil {
			s.nsp.srv.failed("event", s.nsp, err)
			e.failed(err)
		}
	}
}

// failed keeps the first error of the event's handlers for the observers.
func (e *Event) failed(err error) {
	if e.err == nil {
		e.err = err
	}
}

// checkName refuses the event names neither side may emit
// (socket.io-protocol v5; socket.io lib/socket-types.ts).
func checkName(event string) error {
	if parser.IsReserved(event) {
		return fmt.Errorf("socketio: %q: %w", event, ErrReserved)
	}
	return nil
}
