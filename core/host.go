package core

import (
	"context"
	"encoding/json"
	"log/slog"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/engineio"
	"github.com/socketfleet/socketfleet/internal/parser"
)

// host is a namespace as its adapter sees it.
type host struct{ n *Namespace }

var (
	_ adapter.Host   = (*host)(nil)
	_ adapter.Cutter = (*host)(nil)
)

func (h *host) Namespace() string    { return h.n.name }
func (h *host) Node() adapter.NodeID { return h.n.srv.opts.NodeID }
func (h *host) Logger() *slog.Logger { return h.n.srv.log }

func (h *host) Deliver(p *adapter.Packet, f adapter.Flags) adapter.Delivery {
	return &delivery{n: h.n, p: p, flags: f}
}

func (h *host) DeliverWithAck(ctx context.Context, p *adapter.Packet, f adapter.Flags, ack func(adapter.Reply)) adapter.Delivery {
	return &delivery{n: h.n, p: p, flags: f, ack: newPendingAck(ctx, h.n.ackID.Add(1)-1, ack)}
}

func (h *host) Describe(m adapter.Member) adapter.Remote {
	s := m.(*Socket)
	handshake, err := s.handshake.MarshalJSON()
	if err != nil {
		handshake = json.RawMessage("{}")
	}
	return adapter.Remote{ID: s.id, Data: h.n.describe(s), Handshake: handshake}
}

func (h *host) Disconnect(m adapter.Member, closeConn bool) { m.(*Socket).Disconnect(closeConn) }

// Cut implements adapter.Cutter. The client sees a lost transport, and what was
// queued before.
func (h *host) Cut(m adapter.Member) {
	m.(*Socket).client.sess.Close(engineio.Reason(ReasonForcedClose), true)
}

func (h *host) ServerEvent(p *adapter.Packet, ack func(adapter.Reply)) {
	if !h.n.events.push(h.n.srv, maxServerEvents, func() { h.n.serverEvent(p, ack) }) {
		h.n.srv.stats.limit("server_events")
	}
}

// delivery encodes a packet on its first recipient.
type delivery struct {
	n     *Namespace
	p     *adapter.Packet
	flags adapter.Flags
	fails bool        // a parser of Options cannot encode the packet
	ack   *pendingAck // nil when no answer is wanted
	event string      // set when somebody listens to what is sent
	msg   *engineio.Message
	count int

	latest *engineio.Latest // nil unless the packet replaces another one
}

var (
	_ adapter.Delivery = (*delivery)(nil)
	_ adapter.Finisher = (*delivery)(nil)
)

func (d *delivery) To(m adapter.Member) error {
	if d.fails {
		return errUnencodable
	}
	if d.msg == nil {
		if err := d.encode(); err != nil {
			return err
		}
	}
	d.count++
	s := m.(*Socket)
	err := s.deliver(d.msg, d.flags, d.ack, d.latest)
	if d.event != "" && err == nil {
		d.n.tellSent(s, d.event, d.p)
	}
	return err
}

func (d *delivery) Count() int { return d.count }

// Done implements adapter.Finisher.
func (d *delivery) Done() { d.n.group.recipients.Observe(int64(d.count)) }

func (d *delivery) encode() (err error) {
	var id uint64
	if d.ack != nil {
		id = d.ack.id
	}
	d.latest = d.n.latest(d.p, d.ack)
	d.msg, err = d.n.srv.encode(parser.Event, d.n.name, id, d.ack != nil, d.p.Data, d.p.Attachments)
	if err != nil { // which an adapter has nowhere to return to from a broadcast
		d.fails = true
		d.n.srv.log.Warn("socketio: event not sent", "event", "packet.unencodable", "namespace", d.n.name, "error", err)
		return err
	}
	if d.n.listensToSent() {
		d.event, _, _ = parser.EventName(d.p.Data)
	}
	if d.flags.Has(adapter.NoCompress) {
		d.msg.NoCompress()
	}
	return nil
}
