package nats

import (
	"context"
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

// Bounds of what waits to be decoded for one namespace.
const (
	inboxMessages = 4096
	inboxBytes    = 8 << 20
)

// parcel is a received message.
type parcel struct {
	data   []byte
	at     time.Time      // of arrival
	offset adapter.Offset // in the journal
	alone  bool           // no message: the server says that nobody else is there
	dead   adapter.NodeID // no message: this node is dead
	mark   cluster.Kind   // no message: what the reader of the journal says itself
}

// inbox queues parcels for one worker. A full one loses the oldest, unless they
// come from the journal, whose reader can wait.
type inbox struct {
	wake  chan struct{} // capacity 1
	space chan struct{} // capacity 1: something was taken

	mu     sync.Mutex // guards the following; leaf lock
	queue  []parcel
	bytes  int
	lost   Gap  // dropped since the last report
	closed bool // nobody takes anything any more: what comes is dropped
}

func newInbox() *inbox {
	return &inbox{wake: make(chan struct{}, 1), space: make(chan struct{}, 1)}
}

func (q *inbox) push(p parcel) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.fullLocked(p) {
		if !q.dropLocked() {
			break
		}
	}
	q.addLocked(p)
}

// pushWait is push for the reader of the journal.
func (q *inbox) pushWait(ctx context.Context, p parcel) error {
	for !q.offer(p) {
		select {
		case <-q.space:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (q *inbox) offer(p parcel) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed && q.fullLocked(p) {
		return false
	}
	q.addLocked(p)
	return true
}

// close lets go whoever waits.
func (q *inbox) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed, q.queue, q.bytes = true, nil, 0
	signal(q.space)
}

func (q *inbox) fullLocked(p parcel) bool {
	return len(q.queue) > 0 && (len(q.queue) >= inboxMessages || q.bytes+len(p.data) > inboxBytes)
}

func (q *inbox) addLocked(p parcel) {
	if q.closed {
		return
	}
	q.queue = append(q.queue, p)
	q.bytes += len(p.data)
	signal(q.wake)
}

// dropLocked loses the oldest parcel that is not from the journal.
func (q *inbox) dropLocked() bool {
	for i, p := range q.queue {
		if p.offset != "" || p.mark != 0 {
			continue
		}
		q.bytes -= len(p.data)
		if i == 0 {
			q.queue[0] = parcel{}
			q.queue = q.queue[1:]
		} else {
			q.queue = append(q.queue[:i], q.queue[i+1:]...)
		}
		if q.lost.Dropped == 0 {
			q.lost.From = p.at
		}
		q.lost.Dropped++
		q.lost.To = time.Now()
		return true
	}
	return false
}

// pop returns the oldest parcel, and what was dropped since the last one.
func (q *inbox) pop() (p parcel, lost Gap, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 {
		q.queue = nil
		return p, lost, false
	}
	p, lost = q.queue[0], q.lost
	q.queue[0], q.lost = parcel{}, Gap{}
	q.queue = q.queue[1:]
	q.bytes -= len(p.data)
	signal(q.space)
	return p, lost, true
}
