package emitter

import (
	"context"
	"fmt"
	"iter"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/parser"
)

// AckReply is one socket's answer to a broadcast.
type AckReply[R any] struct {
	// Node is the node that passed the answer on; empty where the wire does not say.
	Node  string
	Value R
}

// BroadcastWithAck sends an event to the sockets o selects and yields their
// answers as they arrive, each decoded into an R. The event is sent by this call,
// not by the first step of the loop; breaking out of the loop gives up the rest.
// Errors are yielded beside the zero AckReply: for an answer that does not fit R,
// and last, when the wait ended before all had answered, an *adapter.PartialError.
// A ctx without deadline gets cluster.Options.RequestsTimeout.
func BroadcastWithAck[R any](ctx context.Context, o Operator, event string, args ...any) iter.Seq2[AckReply[R], error] {
	return decoded[R](o.ask(ctx, event, args))
}

// EmitWithAck sends an event to one socket and returns the first value of the
// client's answer. It fails with ErrNoSocket when no node has the socket or it
// disconnects, and with an *adapter.PartialError when the wait ends first. A ctx
// without deadline gets cluster.Options.RequestsTimeout.
func EmitWithAck[R any](ctx context.Context, to RemoteSocket, event string, args ...any) (R, error) {
	for r, err := range BroadcastWithAck[R](ctx, to.self(), event, args...) {
		return r.Value, err
	}
	var zero R
	return zero, fmt.Errorf("socketio: emit %q: %w", event, ErrNoSocket)
}

// ServerSideEmitWithAck is ServerSideEmit, and yields the answer of every node as
// it arrives, decoded into an R; last, when nodes did not answer, an
// *adapter.PartialError. The event is sent by this call.
func ServerSideEmitWithAck[R any](ctx context.Context, o Operator, event string, args ...any) iter.Seq2[AckReply[R], error] {
	p, err := serverEvent(event, args)
	if err != nil {
		return failed[R](err)
	}
	a, err := o.hub.link(ctx, o.namespace)
	if err != nil {
		return failed[R](err)
	}
	return decoded[R](a.ServerSideEmitWithAck(ctx, p), nil)
}

// FetchSockets describes the selected sockets of all nodes. When nodes did not
// answer it returns what arrived and an *adapter.PartialError.
func (o Operator) FetchSockets(ctx context.Context) ([]RemoteSocket, error) {
	a, err := o.hub.link(ctx, o.namespace)
	if err != nil {
		return nil, err
	}
	found, err := a.FetchSockets(ctx, o.target)
	out := make([]RemoteSocket, len(found))
	for i := range found {
		out[i] = RemoteSocket{all: o.Of(o.namespace), info: found[i]}
	}
	return out, err
}

// ServerCount returns the number of nodes that serve the namespace. This process
// is none.
func (o Operator) ServerCount(ctx context.Context) (int, error) {
	a, err := o.hub.link(ctx, o.namespace)
	if err != nil {
		return 0, err
	}
	return a.ServerCount(ctx)
}

// ask sends an event that wants answers.
func (o Operator) ask(ctx context.Context, event string, args []any) (iter.Seq2[adapter.Reply, error], error) {
	p, err := clientEvent(event, args)
	if err != nil {
		return nil, err
	}
	a, err := o.hub.link(ctx, o.namespace)
	if err != nil {
		return nil, err
	}
	return a.BroadcastWithAck(ctx, p, o.target), nil
}

func failed[R any](err error) iter.Seq2[AckReply[R], error] {
	return func(yield func(AckReply[R], error) bool) { yield(AckReply[R]{}, err) }
}

func decoded[R any](replies iter.Seq2[adapter.Reply, error], err error) iter.Seq2[AckReply[R], error] {
	if err != nil {
		return failed[R](err)
	}
	return func(yield func(AckReply[R], error) bool) {
		for r, err := range replies {
			reply := AckReply[R]{Node: r.Node}
			if err == nil {
				reply.Value, err = first[R](r.Packet)
			}
			if !yield(reply, err) {
				return
			}
		}
	}
}

// first decodes the first value of an answer; one without values gives the zero R.
func first[R any](p *adapter.Packet) (R, error) {
	var v R
	if p == nil {
		return v, nil
	}
	args := parser.Args{Data: p.Data}
	for _, a := range p.Attachments {
		args.Attachments = append(args.Attachments, parser.Attachment{At: a.At, Data: a.Data})
	}
	if args.Len() == 0 {
		return v, nil
	}
	if err := args.Decode(parser.Codec{}, 0, &v); err != nil {
		return v, fmt.Errorf("socketio: emitter: decode an answer: %w", err)
	}
	return v, nil
}
