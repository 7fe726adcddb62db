package cluster

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/hist"
)

// Provider makes the adapters of one node that share a Bus.
type Provider struct {
	// Immutable after NewProvider.
	bus     Bus
	layout  Layout // nil: messages have no numbers
	opts    Options
	pub     *publisher
	replies *replier
	saver   *saver
	stop    context.CancelFunc
	rest    context.CancelFunc // stops the keeper
	running sync.WaitGroup

	wake chan struct{} // capacity 1: connections are to be cut

	received [256]atomic.Uint64 // by Kind
	lags     *hist.Recorder     // of received messages with an Ext.Sent
	early    atomic.Uint64
	late     atomic.Uint64

	gaps                                         gaps
	duplicates, missing, lost, twins, cutSockets atomic.Uint64

	mu       sync.Mutex // guards the following; leaf lock
	closed   bool
	adapters map[*Adapter]struct{}
	journals map[adapter.NodeID]*journal // by Adapter.Self
	twinAt   time.Time                   // when another node with an id of ours was noticed
	twinID   string
}

var (
	_ adapter.Provider       = (*Provider)(nil)
	_ adapter.HealthReporter = (*Provider)(nil)
)

// NewProvider returns a provider of adapters joined by bus, which it owns: Close
// closes the bus.
func NewProvider(bus Bus, opts Options) *Provider {
	opts = opts.withDefaults()
	ctx, stop := context.WithCancel(context.Background())
	p := &Provider{
		bus:      bus,
		opts:     opts,
		pub:      newPublisher(newNumbering(bus), &opts),
		replies:  &replier{bus: bus, out: newReplybox(&opts)},
		stop:     stop,
		wake:     make(chan struct{}, 1),
		lags:     hist.NewDurations(),
		adapters: make(map[*Adapter]struct{}),
		journals: make(map[adapter.NodeID]*journal),
	}
	if _, ok := bus.(Log); opts.Recovery && !ok {
		p.pub.bus = &ledger{Bus: p.pub.bus, p: p}
	}
	p.saver = newSaver(bus, opts.Logger, func(run func(context.Context)) {
		p.running.Go(func() { run(ctx) })
	})
	p.layout, _ = bus.(Layout)
	if r, ok := bus.(GapReporter); ok {
		r.ReportGaps(p.gap)
	}
	p.running.Go(func() { p.pub.run(ctx) })
	p.running.Go(func() { p.replies.run(ctx) })
	keep, rest := context.WithCancel(ctx)
	p.rest = rest
	p.running.Go(func() { (&keeper{p: p}).run(keep) })
	return p
}

// Open implements adapter.Provider: it attaches h's namespace to the bus.
func (p *Provider) Open(ctx context.Context, h adapter.Host) (adapter.Adapter, error) {
	a := newAdapter(p, h)
	var err error
	if a.rec, err = p.recovery(a, h); err != nil {
		return nil, err
	}
	if err := p.attach(ctx, a); err != nil {
		return nil, err
	}
	if a.rec == nil {
		return a, nil
	}
	if err := a.rec.greet(ctx); err != nil {
		_ = a.Close(ctx) // the error says it all
		return nil, fmt.Errorf("socketio: read the log of namespace %s: %w", a.ns, err)
	}
	return a.rec, nil
}

func (p *Provider) attach(ctx context.Context, a *Adapter) error {
	if !p.add(a) {
		return adapter.ErrClosed
	}
	began := time.Now()
	attach := Attach{
		Namespace: a.ns, Self: a.self, Receive: a.receive, HasRoom: a.HasRoom, Skipped: a.skipped, Emitter: a.emitter,
	}
	if a.rec != nil {
		attach.Receive, attach.Log = a.rec.receive, true
	}
	if a.rec != nil && a.rec.journal != nil {
		attach.Receive, attach.Log, attach.AllRooms = a.rec.journal.receive, false, true
	}
	att, err := p.bus.Attach(ctx, attach)
	if err != nil {
		p.remove(a)
		return fmt.Errorf("socketio: join namespace %s: %w", a.ns, err)
	}
	a.att = att
	// Until now a part of what others sent could come.
	p.gaps.excuse(Gap{Namespace: a.ns, From: began, To: time.Now()})
	a.announce(InitialHeartbeat, p.beatEvery(p.len()))
	return nil
}

// Close implements adapter.Provider. It closes the adapters that are still open,
// publishes what is queued until ctx is done, and closes the bus.
func (p *Provider) Close(ctx context.Context) error {
	p.rest()
	for _, a := range p.shut() {
		_ = a.Close(ctx) // the bus is closed below in any case
	}
	p.pub.out.close()
	p.replies.out.close()
	p.saver.close()
	cut := context.AfterFunc(ctx, p.stop)
	p.running.Wait()
	cut()
	p.stop()
	if err := p.bus.Close(ctx); err != nil {
		return fmt.Errorf("socketio: close bus: %w", err)
	}
	return nil
}

func (p *Provider) shut() []*Adapter {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return p.openLocked()
}

// open returns the adapters that are not closed.
func (p *Provider) open() []*Adapter {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.openLocked()
}

func (p *Provider) openLocked() []*Adapter {
	open := make([]*Adapter, 0, len(p.adapters))
	for a := range p.adapters {
		open = append(open, a)
	}
	return open
}

func (p *Provider) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.adapters)
}

func (p *Provider) add(a *Adapter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.adapters[a] = struct{}{}
	if a.rec != nil && a.rec.journal != nil {
		p.journals[a.self] = a.rec.journal
	}
	return true
}

func (p *Provider) remove(a *Adapter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.adapters, a)
	delete(p.journals, a.self)
}

// Health implements adapter.HealthReporter. A bus that does not report its
// health is up. LastError tells of another node with an id of this one for a
// minute.
func (p *Provider) Health() adapter.Health {
	h := p.busHealth()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.twinID != "" && time.Since(p.twinAt) < twinMemory {
		h.LastError = "two nodes have the id " + strconv.Quote(p.twinID)
	}
	return h
}

func (p *Provider) busHealth() adapter.Health {
	if h, ok := p.bus.(adapter.HealthReporter); ok {
		return h.Health()
	}
	return adapter.Health{Up: true}
}

// Stats are counters since the start of a Provider, and gauges.
type Stats struct {
	Published       uint64 // messages the bus took, or gave up
	PublishedKinds  map[Kind]uint64
	PublishErrors   uint64                    // attempts that failed
	PublishFailures map[PublishFailure]uint64 // the same by why; all are in it
	Dropped         uint64                    // messages given up: volatile ones for space, old ones during an outage
	Lost            uint64                    // those of Dropped that were not volatile
	Refused         uint64                    // messages not queued: adapter.ErrQueueFull, or volatile without space
	QueueMessages   int
	QueueBytes      int // estimated
	ReplyErrors     uint64
	RepliesDropped  uint64          // answers not queued for want of space
	RepliesLate     uint64          // answers to requests that had ended
	Received        map[Kind]uint64 // messages of other nodes
	Unknown         uint64          // received messages of unknown kinds
	RequestsPending int
	Duplicates      uint64             // messages dropped because they had come before
	Missing         uint64             // numbered messages that did not come, inside of reported gaps too
	Gaps            map[GapKind]uint64 // by kind
	GapDisconnects  uint64             // sockets cut because of GapDisconnect
	NodesLost       uint64             // peers taken out because they were silent
	Twins           uint64             // messages that show another node with an id of this one
	// Nodes is how many nodes are known to be there, this one included: those whose
	// heartbeats are heard, which Node.js peers and nodes with Options.NoExtensions
	// do not send.
	Nodes int
	Bus   BusHealth

	// BatchSizes is how many messages each successful publication held, and
	// PublishDurations how long it took.
	BatchSizes, PublishDurations Histogram
	// Lags is how long received messages took from the emit on their node to this one,
	// by the clocks of the two: those of nodes that send Ext.Sent, without answers.
	// Early counts those that came, by these clocks, before they were sent; they are in
	// Lags as zero.
	Lags  Histogram
	Early uint64
	// Measures are those of the bus; nil when it has none.
	Measures *Measures
}

// Stats returns a snapshot.
func (p *Provider) Stats() Stats {
	out, rep := p.pub.out.stats(), p.replies.out.stats()
	s := Stats{
		Dropped:        out.dropped,
		Lost:           out.lost,
		Refused:        out.refused,
		QueueMessages:  out.messages,
		QueueBytes:     out.bytes,
		ReplyErrors:    p.replies.failures.Load(),
		RepliesDropped: rep.dropped + rep.refused,
		RepliesLate:    p.late.Load(),
		Received:       make(map[Kind]uint64),
		Duplicates:     p.duplicates.Load(),
		Missing:        p.missing.Load(),
		Gaps:           p.gaps.counts(),
		GapDisconnects: p.cutSockets.Load(),
		NodesLost:      p.lost.Load(),
		Twins:          p.twins.Load(),
		Bus:            p.Health(),

		BatchSizes:       p.pub.sizes.Snapshot(),
		PublishDurations: p.pub.durations.Snapshot(),
		Lags:             p.lags.Snapshot(),
		Early:            p.early.Load(),
	}
	if m, ok := p.bus.(Meter); ok {
		measures := m.Measure()
		s.Measures = &measures
	}
	p.pub.counts(&s)
	for i := range p.received {
		n := p.received[i].Load()
		if k := Kind(i); n > 0 && k.Known() {
			s.Received[k] = n
		} else {
			s.Unknown += n
		}
	}
	s.Nodes = 1
	for _, a := range p.open() {
		s.RequestsPending += a.requests.len()
		s.Nodes = max(s.Nodes, 1+len(a.nodes.leased()))
	}
	return s
}
