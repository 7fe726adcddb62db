package engineio

import (
	"sync/atomic"
	"time"

	"github.com/socketfleet/socketfleet/internal/hist"
)

// Stats is a snapshot of a server's counters. The first six fields, QueuedBytes
// and HighQueues are current numbers, all others count since the start.
type Stats struct {
	Sessions  int // open sessions
	Polling   int // of these, on HTTP long-polling
	WebSocket int // of these, on a WebSocket
	Streams   int // of these, on WebTransport
	Polls     int // GET requests of polling that are being answered
	Posts     int // POST requests of polling that are being read or handled

	Opened          uint64
	OpenedOn        map[string]uint64            // by the transport they began on
	ClosedOn        map[string]map[Reason]uint64 // Closed by the transport they ended on
	UpgradesFailed  uint64                       // that were begun and led to nothing
	Upgraded        uint64                       // sessions that moved from polling to another transport
	Closed          map[Reason]uint64            // reasons other than those of this package count as forced close
	HandshakeErrors map[Code]uint64              // refused requests
	Overloaded      uint64                       // handshakes answered 503
	OriginsRefused  uint64

	PacketsIn, PacketsOut uint64
	BytesIn, BytesOut     uint64             // of packets, without framing on the way in
	In, Out               map[string]Traffic // the same by transport
	SlowConsumers         uint64             // sessions closed because the client fell behind
	VolatileDropped       uint64
	VolatileDrops         map[string]uint64 // the same by cause: "closed", "no_poll", "high_water", "queue_full"
	UnsolicitedPongs      uint64
	Conflated             uint64 // messages that a newer one with their key replaced
	Panics                uint64 // recovered from the program's handlers

	QueuedBytes int64             // in all queues now; each counts a shared message
	HighQueues  int               // sessions with more than HighWaterBytes queued now
	LimitsHit   map[string]uint64 // by the limit's name; every limit is in it

	// Handshakes is how long the handshakes that succeeded took, by transport: from
	// the request to the answer. PingRTT is the time from a ping, which waits behind
	// what is queued, to its pong.
	Handshakes map[string]hist.Snapshot
	PingRTT    hist.Snapshot
}

var allTransports = [...]string{onPolling: Polling, onWebSocket: WebSocket, onStream: WebTransport}

func transportIndex(name string) int {
	for i, known := range allTransports {
		if name == known {
			return i
		}
	}
	return 0
}

// drop is why a volatile message was dropped.
type drop uint8

const (
	dropNone      drop = iota
	dropClosed         // the session is over
	dropNoPoll         // no request waits
	dropHighWater      // more than HighWaterBytes wait
	dropFull           // the queue is full
	drops
)

var dropNames = [drops]string{"", "closed", "no_poll", "high_water", "queue_full"}

var allReasons = [...]Reason{
	ReasonTransportClose, ReasonTransportError, ReasonForcedClose,
	ReasonPingTimeout, ReasonParseError, ReasonShutdown,
}

// counters are what Stats is read from.
type counters struct {
	sessions, polling, webSocket atomic.Int64
	streams, expected            atomic.Int64 // expected: accepted, and yet without a first packet
	polls, posts                 atomic.Int64
	opened                       [len(allTransports)]atomic.Uint64
	upgraded, upgradesFailed     atomic.Uint64
	closed                       [len(allTransports)][len(allReasons)]atomic.Uint64
	refused                      [codes]atomic.Uint64
	overloaded, originsRefused   atomic.Uint64
	in, out                      [len(allTransports)]flow // by carrier
	slow                         atomic.Uint64
	volatileDropped              [drops]atomic.Uint64
	conflated, pongs, panics     atomic.Uint64
	limits                       [limits]atomic.Uint64

	handshakes [len(allTransports)]*hist.Recorder
	pingRTT    *hist.Recorder
}

func (c *counters) init() {
	for i := range c.handshakes {
		c.handshakes[i] = hist.NewDurations()
	}
	c.pingRTT = hist.NewDurations()
}

func (c *counters) closedWith(transport string, r Reason) *atomic.Uint64 {
	for i, known := range allReasons {
		if r == known {
			return &c.closed[transportIndex(transport)][i]
		}
	}
	return c.closedWith(transport, ReasonForcedClose)
}

func (c *counters) transport(name string) *atomic.Int64 {
	switch name {
	case WebSocket:
		return &c.webSocket
	case WebTransport:
		return &c.streams
	}
	return &c.polling
}

// Stats returns the server's counters.
func (srv *Server) Stats() Stats {
	c := &srv.count
	st := Stats{
		Sessions:         int(c.sessions.Load()),
		Polling:          int(c.polling.Load()),
		WebSocket:        int(c.webSocket.Load()),
		Streams:          int(c.streams.Load()),
		Polls:            int(c.polls.Load()),
		Posts:            int(c.posts.Load()),
		OpenedOn:         make(map[string]uint64, len(allTransports)),
		ClosedOn:         make(map[string]map[Reason]uint64, len(allTransports)),
		Handshakes:       make(map[string]hist.Snapshot, len(allTransports)),
		PingRTT:          c.pingRTT.Snapshot(),
		Upgraded:         c.upgraded.Load(),
		UpgradesFailed:   c.upgradesFailed.Load(),
		Closed:           make(map[Reason]uint64, len(allReasons)),
		HandshakeErrors:  make(map[Code]uint64, codes),
		Overloaded:       c.overloaded.Load(),
		OriginsRefused:   c.originsRefused.Load(),
		In:               make(map[string]Traffic, len(allTransports)),
		Out:              make(map[string]Traffic, len(allTransports)),
		SlowConsumers:    c.slow.Load(),
		VolatileDrops:    make(map[string]uint64, drops),
		UnsolicitedPongs: c.pongs.Load(),
		Conflated:        c.conflated.Load(),
		Panics:           c.panics.Load(),
		QueuedBytes:      srv.budget.total.Bytes.Load(),
		HighQueues:       int(srv.budget.total.High.Load()),
		LimitsHit:        make(map[string]uint64, limits),
	}
	for d := dropClosed; d < drops; d++ {
		n := c.volatileDropped[d].Load()
		st.VolatileDrops[dropNames[d]] = n
		st.VolatileDropped += n
	}
	for l := range limits {
		st.LimitsHit[l.String()] = c.limits[l].Load()
	}
	for t, name := range allTransports {
		st.OpenedOn[name] = c.opened[t].Load()
		st.Opened += st.OpenedOn[name]
		st.Handshakes[name] = c.handshakes[t].Snapshot()
		in, out := c.in[t].snapshot(), c.out[t].snapshot()
		st.In[name], st.Out[name] = in, out
		st.PacketsIn, st.BytesIn = st.PacketsIn+in.total(), st.BytesIn+in.Bytes
		st.PacketsOut, st.BytesOut = st.PacketsOut+out.total(), st.BytesOut+out.Bytes
		by := make(map[Reason]uint64, len(allReasons))
		for i, r := range allReasons {
			by[r] = c.closed[t][i].Load()
			st.Closed[r] += by[r]
		}
		st.ClosedOn[name] = by
	}
	for i := range c.refused {
		st.HandshakeErrors[Code(i)] = c.refused[i].Load()
	}
	return st
}

// logGate lets one log line pass in 10 s, so that clients cannot flood the log.
type logGate struct{ next atomic.Int64 }

func (g *logGate) allow() bool {
	now := time.Now().UnixNano()
	next := g.next.Load()
	return now >= next && g.next.CompareAndSwap(next, now+int64(10*time.Second))
}
