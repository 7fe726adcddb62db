package core

import (
	"context"
	"sync/atomic"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/parser"
)

// ServerEvent is an event another node sent with ServerSideEmit.
type ServerEvent struct {
	Name string
	Args Args

	n     *Namespace
	ack   func(adapter.Reply) // nil when no answer is wanted
	acked atomic.Bool
}

// WantsAck reports whether the other node waits for an answer.
func (e *ServerEvent) WantsAck() bool { return e.ack != nil }

// Ack answers the other node with one value. Only the first call counts; it does
// nothing when no answer is wanted.
func (e *ServerEvent) Ack(v any) error {
	if e.ack == nil || e.acked.Swap(true) {
		return nil
	}
	data, atts, err := e.n.srv.codec.AppendArray(nil, v)
	if err != nil {
		return err
	}
	e.ack(adapter.Reply{Packet: &adapter.Packet{Data: data, Attachments: ownAttachments(atts)}})
	return nil
}

// maxServerEvents bounds the server-side events of a namespace that wait for
// their listeners.
const maxServerEvents = 10_000

// serverEvent runs the listeners of one event.
func (n *Namespace) serverEvent(p *adapter.Packet, ack func(adapter.Reply)) {
	name, _, ok := parser.EventName(p.Data)
	if !ok {
		return
	}
	e := &ServerEvent{Name: name, Args: argsOfPacket(n.srv.codec, p, 1), n: n, ack: ack}
	for h := range n.chain() {
		for _, r := range h.server[name] {
			n.srv.failed("OnServerEvent", n, guard(func() error { return r.fn(context.Background(), e) }))
		}
	}
}
