package cluster

import (
	"errors"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/hist"
)

// Histogram is the distribution of what a Provider measured.
type Histogram = hist.Snapshot

var errGivenUp = errors.New("socketio: given up before it was published")

// follows returns who wants to hear what becomes of a broadcast; nil for one
// without a trace.
func (a *Adapter) follows(p *adapter.Packet) adapter.TransitObserver {
	if p == nil || p.Meta.Trace == "" {
		return nil
	}
	o, _ := a.host.(adapter.TransitObserver)
	return o
}

// received reports that a broadcast of another node has been delivered here.
func (a *Adapter) received(m *Message, began time.Time, recipients int) {
	if o := a.follows(m.Packet); o != nil && m.Kind == Broadcast {
		o.Received(m.Packet, m.From, began, recipients)
	}
}

// leaves reports that a broadcast has been published, or was given up.
func (it *outgoing) leaves(err error) {
	if it.told != nil && it.m.Kind == Broadcast {
		it.told.Published(it.m.Packet, it.at, err)
	}
}
