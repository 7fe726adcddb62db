package core

import (
	"sync"
	"sync/atomic"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/engineio"
)

// Stats is a snapshot of a server's counters. Counters start at zero with the
// server.
type Stats struct {
	Engine EngineStats

	Sockets     int // connected sockets of this node, all namespaces
	Namespaces  int
	PendingAcks int // acknowledgements the sockets of this node owe

	Events         uint64 // events handed to handlers
	HandlerErrors  uint64 // errors returned by handlers
	HandlerPanics  uint64
	BadArguments   uint64 // arguments that did not fit their handler's type
	ConnectErrors  uint64 // clients refused by a namespace
	ProtocolErrors uint64 // connections closed for a bad packet
	UnknownAcks    uint64 // acknowledgements nobody waited for
	// InboundOverflows counts clients disconnected because they sent faster than
	// their events were handled while this server waited for an acknowledgement.
	InboundOverflows uint64
	ConnectTimeouts  uint64 // connections that joined no namespace in time
	Recoveries       uint64 // sessions that clients resumed
	RecoveryFailures uint64 // clients that wanted to, and got a new session
	RecoveryResults  map[RecoveryResult]uint64
	RecoveredPackets Histogram // what the clients that resumed had missed
	VolatileDropped  uint64
	Expired          uint64 // sockets disconnected by ExpireAt
	Disconnects      map[DisconnectReason]uint64
	LimitsHit        map[string]uint64 // by the limit's name; those never hit are not in it
	AckTimeouts      uint64            // waits for acknowledgements that took too long

	// ByNamespace has the counters of each namespace, under a name that no client
	// chose: see Namespace.StatsName. Clients refused because there is no such
	// namespace are under "_unknown", and from the 256th name on all are under
	// "_other".
	ByNamespace map[string]NamespaceStats

	// AdapterScheme is the scheme of Options.AdapterURL, and "custom" for
	// Options.Adapter.
	AdapterScheme string
	// Adapter is the state of the adapter's connection; nil for adapters that
	// have none to lose.
	Adapter *adapter.Health
}

// EngineStats are the counters of the Engine.IO layer.
type EngineStats = engineio.Stats

// Traffic is what one transport has carried in one direction.
type Traffic = engineio.Traffic

// TypeInvalid is, in Traffic.Packets, the type of what a client sent and is no
// packet.
const TypeInvalid = engineio.TypeInvalid

// counters are what the server counts itself.
type counters struct {
	events, handlerErrors, panics, badArguments                 atomic.Uint64
	connectErrors, protocolErrors, unknownAcks                  atomic.Uint64
	inboundOverflows, connectTimeouts, volatileDropped, expired atomic.Uint64

	pendingAcks atomic.Int64
	ackTimeouts atomic.Uint64

	mu     sync.Mutex // guards the following; leaf lock
	limits map[string]uint64
}

func (c *counters) limit(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	count(&c.limits, name)
}

func count[K comparable](m *map[K]uint64, key K) {
	if *m == nil {
		*m = make(map[K]uint64)
	}
	(*m)[key]++
}

// Stats returns the server's counters. Its cost grows with the number of
// namespaces, not of sockets.
func (srv *Server) Stats() Stats {
	c := &srv.stats
	out := Stats{
		Engine:           srv.engine.Stats(),
		Events:           c.events.Load(),
		HandlerErrors:    c.handlerErrors.Load(),
		HandlerPanics:    c.panics.Load(),
		BadArguments:     c.badArguments.Load(),
		ConnectErrors:    c.connectErrors.Load(),
		ProtocolErrors:   c.protocolErrors.Load(),
		UnknownAcks:      c.unknownAcks.Load(),
		InboundOverflows: c.inboundOverflows.Load(),
		ConnectTimeouts:  c.connectTimeouts.Load(),
		VolatileDropped:  c.volatileDropped.Load(),
		Expired:          c.expired.Load(),
		PendingAcks:      int(c.pendingAcks.Load()),
		AckTimeouts:      c.ackTimeouts.Load(),
		AdapterScheme:    srv.opts.scheme(),
	}
	srv.restores.snapshot(&out)
	c.mu.Lock()
	out.LimitsHit = cloneMap(c.limits)
	c.mu.Unlock()
	for name, n := range out.Engine.LimitsHit {
		if n > 0 {
			out.LimitsHit[name] += n
		}
	}
	all := srv.all()
	out.Namespaces = len(all)
	out.ByNamespace = srv.byNamespace(all)
	out.Disconnects = make(map[DisconnectReason]uint64)
	for _, s := range out.ByNamespace {
		out.Sockets += s.Sockets
		for r, n := range s.Disconnects {
			out.Disconnects[r] += n
		}
	}
	if h, ok := srv.provider.(adapter.HealthReporter); ok {
		health := h.Health()
		out.Adapter = &health
	}
	return out
}

func cloneMap[K comparable, V any](m map[K]V) map[K]V {
	out := make(map[K]V, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
