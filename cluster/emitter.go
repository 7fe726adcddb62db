package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/socketfleet/socketfleet/adapter"
)

// EmitterID is the sender of messages published by processes that serve no
// sockets. It is no node: it is never counted and never waited for.
const EmitterID adapter.NodeID = "emitter"

// emitterPrefix begins the ids under which emitters wait for answers: nobody
// answers to EmitterID itself.
const emitterPrefix = EmitterID + "-"

// IsEmitter reports whether id is that of a process that serves no sockets.
func IsEmitter(id adapter.NodeID) bool {
	return id == EmitterID || strings.HasPrefix(id, emitterPrefix)
}

// Emit queues m for the nodes of m.Namespace on behalf of a process that serves no
// sockets there. It fails with adapter.ErrQueueFull or adapter.ErrClosed, and never
// blocks. m must not be changed afterwards.
func (p *Provider) Emit(m *Message) error {
	if m.RequestID == "" {
		m.From = EmitterID
	}
	if m.Packet != nil && m.Packet.Meta != (adapter.Meta{}) && !p.opts.NoExtensions {
		m.Ext.Version = ExtVersion
	}
	volatile := m.Target.Flags.Has(adapter.Volatile) && m.Kind == Broadcast && m.RequestID == ""
	return p.pub.out.push(newOutgoing(m, volatile), false)
}

// OpenEmitter returns an adapter that asks the nodes of a namespace without being
// one: it hears answers and nothing else, and ServerCount may be 0. Close it when
// it is not needed; Provider.Close does too. ctx bounds the opening only. A
// namespace has one adapter of a provider at a time.
func (p *Provider) OpenEmitter(ctx context.Context, namespace string) (*Adapter, error) {
	a := newAdapter(p, bystander{namespace, p.opts.Logger})
	a.self, a.emitter, a.epoch = emitterPrefix+newID(), true, 0
	if err := p.attach(ctx, a); err != nil {
		return nil, err
	}
	return a, nil
}

// Flush waits until every message queued so far has been published or given up.
// Volatile ones are not waited for. Stats.Lost tells what was given up.
func (p *Provider) Flush(ctx context.Context) error {
	last := p.pub.out.last()
	if last == nil {
		return nil
	}
	select {
	case <-last:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("socketio: flush: %w", adapter.CauseOf(ctx))
	}
}

// bystander is the Host of a namespace that has no sockets here.
type bystander struct {
	namespace string
	log       *slog.Logger
}

var _ adapter.Host = bystander{}

func (b bystander) Namespace() string                                     { return b.namespace }
func (b bystander) Node() adapter.NodeID                                  { return EmitterID }
func (b bystander) Logger() *slog.Logger                                  { return b.log }
func (bystander) Deliver(*adapter.Packet, adapter.Flags) adapter.Delivery { return nothing{} }
func (bystander) Describe(adapter.Member) adapter.Remote                  { return adapter.Remote{} }
func (bystander) Disconnect(adapter.Member, bool)                         {}
func (bystander) ServerEvent(*adapter.Packet, func(adapter.Reply))        {}
func (bystander) DeliverWithAck(context.Context, *adapter.Packet, adapter.Flags, func(adapter.Reply)) adapter.Delivery {
	return nothing{}
}

// nothing is the Delivery of a process that has nobody to deliver to.
type nothing struct{}

func (nothing) To(adapter.Member) error { return nil }
func (nothing) Count() int              { return 0 }
