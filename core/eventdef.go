package core

import (
	"context"
	"fmt"
	"iter"
)

// Emitter is what an event can be sent to: a *Server, *Namespace, *Socket,
// BroadcastOperator, RemoteSocket or *NamespaceFamily, and any client with such a
// method.
type Emitter interface {
	Emit(event string, args ...any) error
}

var (
	_ Emitter = (*Server)(nil)
	_ Emitter = (*NamespaceFamily)(nil)
	_ Emitter = (*Socket)(nil)
	_ Emitter = BroadcastOperator{}
	_ Emitter = RemoteSocket{}
)

// ArgDecoder decodes the arguments of a received event: Args, and what a client
// has in its place.
type ArgDecoder interface {
	Decode(i int, v any) error
}

// EventDef names an event and the type of its one argument in one place, for
// everybody who sends or receives it. Define it as a package variable:
//
//	var Moved = core.DefineEvent[Position]("moved")
type EventDef[T any] struct{ name string }

// DefineEvent describes an event. It panics on a reserved name.
func DefineEvent[T any](name string) EventDef[T] { return EventDef[T]{defined(name)} }

// defined returns name, or panics when no peer may emit it.
func defined(name string) string {
	if err := checkName(name); err != nil {
		panic(err)
	}
	return name
}

// Name returns the event's name.
func (d EventDef[T]) Name() string { return d.name }

// On is core.On for this event.
func (d EventDef[T]) On(l Listener, fn func(ctx context.Context, s *Socket, v T) error) (cancel func()) {
	return On(l, d.name, fn)
}

// Emit sends the event.
func (d EventDef[T]) Emit(to Emitter, v T) error { return to.Emit(d.name, v) }

// Decode returns the argument of a received event.
func (d EventDef[T]) Decode(args ArgDecoder) (T, error) { return decodeFirst[T](d.name, args) }

func decodeFirst[T any](name string, args ArgDecoder) (v T, err error) {
	if err = args.Decode(0, &v); err != nil {
		err = fmt.Errorf("socketio: event %q: %w", name, err)
	}
	return v, err
}

// AckEventDef is EventDef for an event that is answered with an R.
type AckEventDef[T, R any] struct{ name string }

// DefineAckEvent describes an event that is answered. It panics on a reserved
// name.
func DefineAckEvent[T, R any](name string) AckEventDef[T, R] {
	return AckEventDef[T, R]{defined(name)}
}

// Name returns the event's name.
func (d AckEventDef[T, R]) Name() string { return d.name }

// On is core.OnAck for this event.
func (d AckEventDef[T, R]) On(l Listener, fn func(ctx context.Context, s *Socket, v T) (R, error)) (cancel func()) {
	return OnAck(l, d.name, fn)
}

// Ask sends the event to one socket and returns its answer; see EmitWithAck.
func (d AckEventDef[T, R]) Ask(ctx context.Context, to Acker, v T) (R, error) {
	return EmitWithAck[R](ctx, to, d.name, v)
}

// AskAll sends the event to many sockets and yields their answers; see
// BroadcastWithAck.
func (d AckEventDef[T, R]) AskAll(ctx context.Context, to BroadcastOperator, v T) iter.Seq2[AckReply[R], error] {
	return BroadcastWithAck[R](ctx, to, d.name, v)
}

// Decode returns the argument of a received event.
func (d AckEventDef[T, R]) Decode(args ArgDecoder) (T, error) { return decodeFirst[T](d.name, args) }

// DecodeAck returns the value of a received answer.
func (d AckEventDef[T, R]) DecodeAck(args ArgDecoder) (R, error) { return decodeFirst[R](d.name, args) }
