package prometheus

import (
	"context"
	"errors"
	"strconv"
	"strings"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/cluster/forward"
	"github.com/socketfleet/socketfleet/core"
)

// slowCauses are the limits whose end is the end of a slow consumer.
var slowCauses = []string{"queue_bytes", "queue_packets", "total_queue_bytes", "write_timeout"}

func (c *Collector) engine(o out, st *core.EngineStats) {
	m := &c.m
	o.gauge(m.sessions, float64(st.Polling), "polling")
	o.gauge(m.sessions, float64(st.WebSocket), "websocket")
	o.gauge(m.sessions, float64(st.Streams), "webtransport")
	for transport, n := range st.OpenedOn {
		o.counter(m.opened, n, transport)
	}
	for transport, reasons := range st.ClosedOn {
		for reason, n := range reasons {
			o.counter(m.closed, n, transport, label(string(reason)))
		}
	}
	for code, n := range st.HandshakeErrors {
		o.counter(m.handshakeErrors, n, strconv.Itoa(int(code)))
	}
	o.counter(m.handshakeErrors, st.Overloaded, "overload")
	o.counter(m.originsRefused, st.OriginsRefused)
	for transport, h := range st.Handshakes {
		o.histogram(m.handshakes, h, transport)
	}
	o.counter(m.upgrades, st.Upgraded, "ok")
	o.counter(m.upgrades, st.UpgradesFailed, "failed")
	o.histogram(m.pingRTT, st.PingRTT)
	c.traffic(o, "in", st.In)
	c.traffic(o, "out", st.Out)
	o.gauge(m.inFlight, float64(st.Polls), "poll")
	o.gauge(m.inFlight, float64(st.Posts), "post")
	o.counter(m.pongs, st.UnsolicitedPongs)
	o.gauge(m.queued, float64(st.QueuedBytes))
	o.gauge(m.highQueues, float64(st.HighQueues))
	for cause, n := range st.VolatileDrops {
		o.counter(m.volatile, n, cause)
	}
	o.counter(m.conflated, st.Conflated)
	for _, cause := range slowCauses {
		o.counter(m.slow, st.LimitsHit[cause], cause)
	}
}

func (c *Collector) traffic(o out, direction string, all map[string]core.Traffic) {
	for transport, t := range all {
		for typ, n := range t.Packets {
			if typ != core.TypeInvalid || direction == "in" {
				o.counter(c.m.packets, n, direction, transport, typ)
			}
		}
		o.counter(c.m.bytes, t.Bytes, direction, transport)
	}
}

func (c *Collector) server(o out, st *core.Stats) {
	m := &c.m
	o.gauge(m.nsp, float64(st.Namespaces))
	o.gauge(m.acks, float64(st.PendingAcks))
	o.counter(m.ackTimeouts, st.AckTimeouts)
	o.counter(m.unknownAcks, st.UnknownAcks)
	for limit, n := range st.LimitsHit {
		o.counter(m.limits, n, limit)
	}
	for limit := range st.Engine.LimitsHit {
		if _, hit := st.LimitsHit[limit]; !hit {
			o.counter(m.limits, 0, limit) // a rate needs a first value
		}
	}
	for result, n := range st.RecoveryResults {
		o.counter(m.recoveries, n, string(result))
	}
	o.histogram(m.recovered, st.RecoveredPackets)
	o.counter(m.protocolErrors, st.ProtocolErrors)
	o.counter(m.badArguments, st.BadArguments)
	o.counter(m.connectTimeouts, st.ConnectTimeouts)
	o.counter(m.overflow, st.InboundOverflows)
	remaining := 0
	select {
	case <-c.srv.Draining():
		remaining = st.Engine.Sessions
		o.gauge(m.draining, 1)
	default:
		o.gauge(m.draining, 0)
	}
	o.gauge(m.drainRemaining, float64(remaining))
}

func (c *Collector) namespaces(o out, all map[string]core.NamespaceStats) {
	m := &c.m
	for name, st := range all {
		o.gauge(m.sockets, float64(st.Sockets), name)
		o.gauge(m.rooms, float64(st.Rooms), name)
		o.counter(m.connects, st.Connects, name)
		for reason, n := range st.ConnectErrors {
			o.counter(m.connectErrors, n, name, reason)
		}
		for reason, n := range st.Disconnects {
			o.counter(m.disconnects, n, name, label(string(reason)))
		}
		o.counter(m.handlerErrors, st.HandlerErrors, name)
		o.counter(m.panics, st.HandlerPanics, name)
		o.counter(m.sent, st.Sent, name)
		o.counter(m.broadcasts, st.Broadcasts, name, "cluster")
		o.counter(m.broadcasts, st.LocalBroadcasts, name, "local")
		o.histogram(m.recipients, st.Recipients, name)
	}
}

// adapter reports nothing for an adapter that joins no nodes.
func (c *Collector) adapter(o out, st *core.Stats) {
	m, name := &c.m, st.AdapterScheme
	h := st.Adapter
	if h == nil {
		return
	}
	o.gauge(m.up, boolean(h.Up), name)
	o.counter(m.reconnects, h.Reconnects, name, "connection")
	o.counter(m.reconnects, h.Resubscribes, name, "resubscribe")
	o.counter(m.reconnects, h.ProbeFailures, name, "probe")
	o.counter(m.backendReceived, h.Received, name)
	o.counter(m.dropped, h.Dropped, name, "inbound")
	if p, ok := c.srv.Provider().(interface{ Stats() cluster.Stats }); ok {
		c.cluster(o, name, p.Stats())
	}
}

func (c *Collector) cluster(o out, name string, st cluster.Stats) {
	m := &c.m
	o.counter(m.dropped, st.Dropped, name, "outbound")
	o.counter(m.dropped, st.Refused, name, "refused")
	o.counter(m.dropped, st.RepliesDropped, name, "replies")
	c.kinds(o, m.published, st.PublishedKinds, 0, name)
	for cause, n := range st.PublishFailures {
		o.counter(m.publishErrors, n, name, string(cause))
	}
	o.histogram(m.batch, st.BatchSizes, name)
	o.histogram(m.publishDuration, st.PublishDurations, name)
	o.gauge(m.queueBytes, float64(st.QueueBytes), name)
	o.gauge(m.queueMessages, float64(st.QueueMessages), name)
	c.kinds(o, m.received, st.Received, st.Unknown, name)
	o.histogram(m.lag, st.Lags, name)
	o.counter(m.early, st.Early, name)
	o.counter(m.duplicates, st.Duplicates, name)
	for _, kind := range gapKinds {
		if _, has := st.Gaps[kind]; !has {
			o.counter(m.gaps, 0, name, string(kind)) // a rate needs a first value
		}
	}
	for kind, n := range st.Gaps {
		o.counter(m.gaps, n, name, string(kind))
	}
	o.counter(m.missing, st.Missing, name)
	o.counter(m.late, st.RepliesLate, name)
	o.gauge(m.pending, float64(st.RequestsPending), name)
	o.gauge(m.nodes, float64(st.Nodes))
	o.counter(m.nodesLost, st.NodesLost)
	o.counter(m.twins, st.Twins)
	if st.Measures != nil {
		c.measures(o, name, st.Measures)
	}
}

// kinds reports how many messages there were of each kind.
func (c *Collector) kinds(o out, d *prom.Desc, all map[cluster.Kind]uint64, unknown uint64, name string) {
	for kind, n := range all {
		if kind.Known() {
			o.counter(d, n, name, strings.ToLower(kind.String()))
			continue
		}
		unknown += n
	}
	o.counter(d, unknown, name, other)
}

func (c *Collector) measures(o out, name string, b *cluster.Measures) {
	m := &c.m
	o.gauge(m.subscriptions, float64(b.Subscriptions), name)
	o.histogram(m.roundTrip, b.RoundTrips, name)
	for i, q := range b.Inbound {
		worker := strconv.Itoa(i)
		o.gauge(m.inbound, float64(q.Messages), name, worker)
		o.gauge(m.inboundMax, float64(q.MaxMessages), name, worker)
	}
}

// gapKinds are those that every adapter may report.
var gapKinds = []cluster.GapKind{cluster.GapSequence, "connection", "overrun"}

// forwarder reports nothing for a server without core.Options.Forwarder.
func (c *Collector) forwarder(o out) {
	f, ok := c.srv.Forwarder().(interface{ Stats() forward.Stats })
	if !ok {
		return
	}
	m, st := &c.m, f.Stats()
	for kind, n := range st.Forwarded {
		o.counter(m.forwarded, n, string(kind))
	}
	for reason, n := range st.Failed {
		o.counter(m.forwardFailures, n, string(reason))
	}
	for kind, h := range st.Durations {
		o.histogram(m.forwardDuration, h, string(kind))
	}
	o.gauge(m.forwardInFlight, float64(st.InFlight))
	o.gauge(m.tunnels, float64(st.Tunnels))
	o.counter(m.hops, st.Accepted)
	for reason, n := range st.Refused {
		o.counter(m.hopsRefused, n, string(reason))
	}
	o.counter(m.lookups, st.Lookups)
	o.counter(m.lookupErrors, st.LookupErrors)
	o.counter(m.leases, st.LeaseFailures)
}

// label writes a reason as a label's value: "ping timeout" as "ping_timeout".
func label(reason string) string { return strings.ReplaceAll(reason, " ", "_") }

func isTimeout(err error) bool { return errors.Is(err, context.DeadlineExceeded) }
