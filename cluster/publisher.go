package cluster

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/socketfleet/socketfleet/internal/hist"
)

// Between attempts to publish the publisher waits, from the first to the last of
// these, doubling.
const (
	minBackOff = 10 * time.Millisecond
	maxBackOff = 500 * time.Millisecond
	logEvery   = time.Second
)

// publisher drains an outbox into the bus. run belongs to one goroutine.
type publisher struct {
	// Immutable.
	bus Bus
	out *outbox
	log *slog.Logger

	published        [256]atomic.Uint64 // by Kind
	failures         [len(publishFailures)]atomic.Uint64
	sizes, durations *hist.Recorder // of batches that were published

	// Owned by the goroutine of run.
	batch  []outgoing
	msgs   []*Message
	logged time.Time
	muted  int
}

func newPublisher(bus Bus, opts *Options) *publisher {
	return &publisher{
		bus: bus, out: newOutbox(opts), log: opts.Logger,
		sizes: hist.NewSizes(), durations: hist.NewDurations(),
	}
}

// run publishes until ctx is done, or the outbox is closed and empty.
func (p *publisher) run(ctx context.Context) {
	wait := minBackOff
	for {
		p.batch = p.out.next(ctx, p.batch)
		if len(p.batch) == 0 {
			return
		}
		err := p.publish(ctx)
		clear(p.batch)
		clear(p.msgs)
		if err == nil {
			wait = minBackOff
			continue
		}
		if !pause(ctx, wait) {
			return
		}
		wait = min(2*wait, maxBackOff)
	}
}

// publish sends the batch once and settles what became of it.
func (p *publisher) publish(ctx context.Context) error {
	p.msgs = p.msgs[:0]
	for i := range p.batch {
		p.msgs = append(p.msgs, p.batch[i].m)
	}
	ctx, cancel := context.WithTimeout(ctx, p.out.maxAge)
	defer cancel()
	began := time.Now()
	_, err := p.bus.Publish(ctx, p.msgs)
	if err == nil {
		p.durations.Since(began)
		p.sizes.Observe(int64(len(p.batch)))
		p.sent(len(p.batch))
		return nil
	}
	sent, permanent := progress(err, len(p.batch))
	p.failures[slices.Index(publishFailures[:], failureOf(err, permanent))].Add(1)
	p.sent(sent)
	lost := 0
	if permanent && sent < len(p.batch) {
		p.out.drop(1)
		lost = 1
	}
	lost += p.out.expire(time.Now())
	p.report(err, lost)
	if permanent || sent == len(p.batch) {
		return nil // nothing is to be tried again
	}
	return err
}

// sent counts the first n messages of the batch as published.
func (p *publisher) sent(n int) {
	for _, m := range p.msgs[:n] {
		p.published[m.Kind].Add(1)
	}
	p.out.sent(n)
}

// PublishFailure says why an attempt to publish failed.
type PublishFailure string

const (
	PublishTimeout     PublishFailure = "timeout"     // the backend took too long
	PublishBackend     PublishFailure = "backend"     // it is away, or refused
	PublishUnencodable PublishFailure = "unencodable" // the message has no form on the wire
)

var publishFailures = [...]PublishFailure{PublishTimeout, PublishBackend, PublishUnencodable}

func failureOf(err error, permanent bool) PublishFailure {
	var ne net.Error
	switch {
	case permanent:
		return PublishUnencodable
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return PublishTimeout
	}
	return PublishBackend
}

// progress reads from err how many of n messages were sent.
func progress(err error, n int) (sent int, permanent bool) {
	var pe *PublishError
	if !errors.As(err, &pe) {
		return 0, false
	}
	return min(max(pe.Sent, 0), n), pe.Permanent
}

// counts fills in what Stats says of publishing.
func (p *publisher) counts(s *Stats) {
	s.PublishedKinds = make(map[Kind]uint64)
	for i := range p.published {
		if n := p.published[i].Load(); n > 0 {
			s.PublishedKinds[Kind(i)] = n
			s.Published += n
		}
	}
	s.PublishFailures = make(map[PublishFailure]uint64, len(publishFailures))
	for i, f := range publishFailures {
		s.PublishFailures[f] = p.failures[i].Load()
		s.PublishErrors += s.PublishFailures[f]
	}
}

// report logs a failure, at most once per logEvery.
func (p *publisher) report(err error, lost int) {
	now := time.Now()
	if now.Sub(p.logged) < logEvery {
		p.muted++
		return
	}
	p.log.Warn("socketio: publishing to the other nodes failed", "event", "adapter.publish_failed",
		"error", err, "dropped", lost, "unlogged", p.muted)
	p.logged, p.muted = now, 0
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// replier drains the queue of answers. run belongs to one goroutine.
type replier struct {
	bus Bus
	out *outbox

	failures atomic.Uint64
}

// run answers until ctx is done, or the queue is closed and empty.
func (r *replier) run(ctx context.Context) {
	var batch []outgoing
	for {
		batch = r.out.next(ctx, batch)
		if len(batch) == 0 {
			return
		}
		for i := range batch {
			if r.one(ctx, &batch[i]) != nil {
				r.failures.Add(1)
			}
			r.out.sent(1)
		}
		clear(batch)
	}
}

func (r *replier) one(ctx context.Context, it *outgoing) error {
	if it.build != nil {
		it.build(it.m)
	}
	ctx, cancel := context.WithTimeout(ctx, r.out.maxAge)
	defer cancel()
	return r.bus.Reply(ctx, it.to, it.m)
}
