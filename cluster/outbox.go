package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// A batch holds no more than this, so that one write stays small and a failure
// repeats little.
const (
	maxBatchMessages = 512
	maxBatchBytes    = 256 << 10
)

// outgoing is one message on its way to the bus.
type outgoing struct {
	m        *Message
	to       adapter.NodeID // for answers
	build    func(*Message) // for answers: fills in m when its turn comes; may be nil
	size     int
	at       time.Time
	volatile bool
	done     chan struct{}           // closed when published or dropped; may be nil
	told     adapter.TransitObserver // hears what becomes of it; may be nil
}

func newOutgoing(m *Message, volatile bool) outgoing {
	return outgoing{m: m, size: sizeOf(m), at: time.Now(), volatile: volatile}
}

// outbox is a bounded FIFO between callers, who never wait, and one goroutine
// that drains it. A batch stays in the queue, and counts, until it is sent.
type outbox struct {
	// Immutable.
	maxBytes, maxMessages int
	maxAge                time.Duration
	wake                  chan struct{} // capacity 1

	mu       sync.Mutex // guards the following; leaf lock
	items    []outgoing
	inflight int // items at the head that the drainer is sending
	bytes    int
	volatile int // volatile items behind those in flight
	closed   bool
	dropped  uint64 // items given up after they were queued
	lost     uint64 // those of them that were not volatile
	refused  uint64 // items not taken
}

func newOutbox(o *Options) *outbox {
	return &outbox{
		maxBytes: o.MaxOutboundBytes, maxMessages: o.MaxOutboundMessages, maxAge: o.MaxOutboundAge,
		wake: make(chan struct{}, 1),
	}
}

// newReplybox returns the queue of answers. One broadcast makes as many of them
// as there are local sockets, so it is bounded by bytes in the first place.
func newReplybox(o *Options) *outbox {
	b := newOutbox(o)
	b.maxMessages *= 10
	return b
}

// push queues it. When there is no space, waiting volatile items go first; a
// volatile item without space is dropped silently, any other is refused with
// adapter.ErrQueueFull. force ignores the bounds.
func (o *outbox) push(it outgoing, force bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return adapter.ErrClosed
	}
	if !force && !o.admitLocked(&it) {
		o.refused++
		if it.volatile {
			return nil
		}
		return adapter.ErrQueueFull
	}
	o.items = append(o.items, it)
	o.bytes += it.size
	if it.volatile {
		o.volatile++
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return nil
}

func (o *outbox) admitLocked(it *outgoing) bool {
	if len(o.items) > 0 && it.at.Sub(o.items[0].at) > o.maxAge {
		return false
	}
	if o.fitsLocked(it.size) {
		return true
	}
	if o.volatile > 0 && !it.volatile {
		o.shedLocked()
	}
	return o.fitsLocked(it.size)
}

func (o *outbox) fitsLocked(size int) bool {
	return len(o.items) < o.maxMessages && o.bytes+size <= o.maxBytes
}

// shedLocked drops every waiting volatile item: one pass makes room for many.
func (o *outbox) shedLocked() {
	kept := o.items[:o.inflight]
	for _, it := range o.items[o.inflight:] {
		if it.volatile {
			o.discardLocked(&it)
			continue
		}
		kept = append(kept, it)
	}
	clear(o.items[len(kept):])
	o.items = kept
	o.volatile = 0
}

func (o *outbox) discardLocked(it *outgoing) {
	o.dropped++
	if !it.volatile {
		o.lost++
	}
	it.leaves(errGivenUp)
	o.bytes -= it.size
	if it.done != nil {
		close(it.done)
	}
}

// next waits for items and appends the next batch to buf. It returns nothing
// when ctx is done, or when the outbox is closed and empty.
func (o *outbox) next(ctx context.Context, buf []outgoing) []outgoing {
	for {
		batch, closed := o.peek(buf)
		if len(batch) > 0 || closed {
			return batch
		}
		select {
		case <-o.wake:
		case <-ctx.Done():
			return buf[:0]
		}
	}
}

func (o *outbox) peek(buf []outgoing) (batch []outgoing, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	batch = buf[:0]
	size := 0
	for i := range o.items {
		it := &o.items[i]
		if i > 0 && (i == maxBatchMessages || size+it.size > maxBatchBytes) {
			break
		}
		size += it.size
		if i >= o.inflight && it.volatile {
			o.volatile--
		}
		batch = append(batch, *it)
	}
	o.inflight = len(batch)
	return batch, o.closed
}

// sent removes n items from the head. The rest of the batch stays in flight: the
// next peek takes it again.
func (o *outbox) sent(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.items[:n] {
		it := &o.items[i]
		it.leaves(nil)
		o.bytes -= it.size
		if it.done != nil {
			close(it.done)
		}
	}
	o.cutLocked(n)
}

// drop gives up n items at the head.
func (o *outbox) drop(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.items[:n] {
		o.discardLocked(&o.items[i])
	}
	o.cutLocked(n)
}

// expire gives up the items of the batch in flight that are older than maxAge
// and returns how many there were.
func (o *outbox) expire(now time.Time) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for n < o.inflight && now.Sub(o.items[n].at) > o.maxAge {
		o.discardLocked(&o.items[n])
		n++
	}
	o.cutLocked(n)
	return n
}

func (o *outbox) cutLocked(n int) {
	clear(o.items[:n])
	o.items = o.items[n:]
	o.inflight -= min(n, o.inflight)
	if len(o.items) == 0 {
		o.items = nil
	}
}

// close refuses what comes later; what is queued can still be sent.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

type outboxStats struct {
	messages, bytes  int
	dropped, refused uint64
	lost             uint64
}

func (o *outbox) stats() outboxStats {
	o.mu.Lock()
	defer o.mu.Unlock()
	return outboxStats{messages: len(o.items), bytes: o.bytes, dropped: o.dropped, refused: o.refused, lost: o.lost}
}

// last returns a channel that is closed when the newest item that is not volatile
// has been sent or given up, and all before it; nil when there is none.
func (o *outbox) last() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := len(o.items) - 1; i >= 0; i-- {
		it := &o.items[i]
		if it.volatile {
			continue
		}
		if it.done == nil {
			it.done = make(chan struct{})
		}
		return it.done
	}
	return nil
}

// sizeOf estimates the bytes of m on a wire.
func sizeOf(m *Message) int {
	n := 160 + len(m.Namespace)
	if p := m.Packet; p != nil {
		n += len(p.Data)
		for i := range p.Attachments {
			n += len(p.Attachments[i].Data) + 8
		}
	}
	for _, list := range [...][]adapter.Room{m.Rooms, m.Target.Rooms, m.Target.Except} {
		for _, r := range list {
			n += len(r) + 4
		}
	}
	for i := range m.Sockets {
		s := &m.Sockets[i]
		n += 64 + len(s.ID) + len(s.Data) + len(s.Handshake)
		for _, r := range s.Rooms {
			n += len(r) + 4
		}
	}
	return n
}
