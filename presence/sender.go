package presence

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"time"
)

const (
	// flushEvery is the least time between two messages with changes.
	flushEvery = 10 * time.Millisecond
	// serveEvery is the least time between two answers to those who missed something:
	// one answer is for all.
	serveEvery = 100 * time.Millisecond
	// keepBytes bounds the changes that can be sent again, in bytes.
	keepBytes = 256 << 10
	// readyAfter is how long List waits for other nodes after New.
	readyAfter = 2 * time.Second
)

// outbox is what waits to be sent.
type outbox struct {
	add []*entry // changes, in order
	del []uint64
	ask map[string]uint64 // nodes that are to send what follows a number

	beat     bool
	hello    bool
	asked    bool // somebody misses what follows askedFor
	askedFor uint64

	lastRef uint64
	seq     uint64 // of the last change sent
	kept    []sent // the last ones, in order
	size    int    // of kept, in bytes

	flushed, served, beaten time.Time // when that last happened
}

type sent struct {
	seq     uint64
	payload []byte
}

func (o *outbox) waiting() bool {
	return len(o.add)+len(o.del)+len(o.ask) > 0 || o.beat || o.asked
}

// serve notes that a node has nothing after a number.
func (o *outbox) serve(have uint64) {
	if !o.asked || have < o.askedFor {
		o.asked, o.askedFor = true, have
	}
}

func (o *outbox) keep(s sent) {
	o.kept = append(o.kept, s)
	o.size += len(s.payload)
	for o.size > keepBytes {
		o.size -= len(o.kept[0].payload)
		o.kept[0].payload = nil
		o.kept = o.kept[1:]
	}
}

// run sends what there is to send and watches the leases.
func (p *Presence) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	p.mu.Lock()
	p.outbox.hello = true
	p.mu.Unlock()
	last := time.Now()
	for {
		now := time.Now()
		timer.Reset(p.step(now, last))
		last = now
		select {
		case <-p.stop:
			p.send(&message{Kind: kindBye})
			return
		case <-p.wake:
		case <-timer.C:
		}
	}
}

// step does what is due and returns when something will be.
func (p *Presence) step(now, last time.Time) time.Duration {
	p.mu.Lock()
	p.superviseLocked(now, last)
	next := p.interval() / 2
	soon := func(at time.Time) bool { // whether it is time, or when it will be
		if at.After(now) {
			next = min(next, at.Sub(now))
			return false
		}
		return true
	}
	if at := p.endGrace(now); !at.IsZero() {
		next = min(next, at.Sub(now))
	}
	o := &p.outbox
	var batch []*message
	if len(o.add)+len(o.del) > 0 && soon(o.flushed.Add(flushEvery)) {
		o.flushed = now
		batch = p.changesLocked()
	}
	serve := o.asked && soon(o.served.Add(serveEvery))
	if serve {
		o.asked, o.served = false, now
	}
	if len(o.ask) > 0 {
		batch = append(batch, &message{Kind: kindAsk, Have: o.ask, Seq: o.seq})
		o.ask = nil
	}
	if o.hello || o.beat || soon(o.beaten.Add(p.interval())) {
		kind := kindBeat
		if o.hello {
			kind = kindHello
		}
		batch = append(batch, &message{Kind: kind, Seq: o.seq})
		o.hello, o.beat = false, false
	}
	if len(batch) > 0 {
		o.beaten = now
	}
	have := o.askedFor
	if len(p.dirty) > 0 {
		signal(p.news)
	}
	p.mu.Unlock()
	for _, m := range batch {
		p.send(m)
	}
	if serve {
		p.answer(have)
	}
	return next
}

// changesLocked makes messages of the changes that wait.
func (p *Presence) changesLocked() []*message {
	o := &p.outbox
	var out []*message
	for add := range batches(o.add) {
		o.seq++
		out = append(out, &message{Kind: kindDelta, Seq: o.seq, Add: add})
	}
	for del := range slices.Chunk(o.del, 8*maxBatch) {
		if n := len(out); n > 0 && len(out[n-1].Del) == 0 && len(out[n-1].Add) < maxBatch {
			out[n-1].Del = del // the last additions leave room
			continue
		}
		o.seq++
		out = append(out, &message{Kind: kindDelta, Seq: o.seq, Del: del})
	}
	o.add, o.del = nil, nil
	return out
}

// answer sends what those who have everything up to a number miss: the changes
// again, or all there is, which may hold more than was sent as changes so far. Who has
// nothing gets all there is: what came and went is not news.
func (p *Presence) answer(have uint64) {
	p.mu.Lock()
	o := &p.outbox
	seq := o.seq
	if n := len(o.kept); have > 0 && n > 0 && o.kept[0].seq <= have+1 {
		again := slices.Clone(o.kept[min(int(have+1-o.kept[0].seq), n):])
		p.mu.Unlock()
		for _, s := range again {
			p.emit(s.payload)
		}
		return
	}
	p.stats.Snapshots++
	all := slices.Collect(maps.Values(p.self.entries))
	p.mu.Unlock()
	p.sendState(all, seq)
}

// sendState sends all entries, as they were at seq or later.
func (p *Presence) sendState(all []*entry, seq uint64) {
	parts := slices.Collect(batches(all))
	if len(parts) == 0 {
		parts = [][]wireEntry{nil}
	}
	for i, add := range parts {
		p.send(&message{Kind: kindState, Seq: seq, Part: i, Last: i == len(parts)-1, Add: add})
	}
}

// batches cuts entries into what one message takes.
func batches(all []*entry) func(yield func([]wireEntry) bool) {
	return func(yield func([]wireEntry) bool) {
		for len(all) > 0 {
			n, size := 0, 0
			for n < min(len(all), maxBatch) && (n == 0 || size < maxBatchBytes) {
				size += all[n].size()
				n++
			}
			out := make([]wireEntry, n)
			for i, e := range all[:n] {
				out[i] = e.wire()
			}
			all = all[n:]
			if !yield(out) {
				return
			}
		}
	}
}

// send encodes a message and passes it on.
func (p *Presence) send(m *message) {
	m.V, m.From, m.Node = wireVersion, p.self.id, p.node
	payload, err := json.Marshal(m)
	if err != nil { // meta was encoded before; this is a bug
		p.log.Error("socketio: presence: message not sent", slog.String("event", "presence.encode_failed"), slog.Any("error", err))
		return
	}
	if m.Kind == kindDelta {
		p.mu.Lock()
		p.outbox.keep(sent{m.Seq, payload})
		p.mu.Unlock()
	}
	p.emit(payload)
}

// emit passes an encoded message on. One that is lost here is missed by the others,
// as if it had been lost later.
func (p *Presence) emit(payload []byte) {
	err := p.bus.emit(payload)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Sent++
	p.stats.SentBytes += uint64(len(payload))
	if err != nil {
		p.stats.SendErrors++
	}
}

// awaitPeers finds out whom List has to wait for.
func (p *Presence) awaitPeers() {
	ctx, cancel := context.WithTimeout(context.Background(), readyAfter)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	p.workers.Go(func() {
		select {
		case <-p.stop:
			cancel()
		case <-stop:
		}
	})
	n, err := p.bus.count(ctx)
	p.mu.Lock()
	if err == nil {
		p.expect = n - 1
	}
	p.checkReadyLocked()
	p.mu.Unlock()
	select {
	case <-p.ready:
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		p.setReadyLocked()
	}
}

// checkReadyLocked lets List go when all other nodes have been heard.
func (p *Presence) checkReadyLocked() {
	if p.expect < 0 || len(p.peers) < p.expect {
		return
	}
	for _, q := range p.peers {
		if q.behind() {
			return
		}
	}
	p.setReadyLocked()
}

func (p *Presence) setReadyLocked() {
	select {
	case <-p.ready:
	default:
		close(p.ready)
	}
}
