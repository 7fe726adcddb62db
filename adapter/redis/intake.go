package redis

import (
	"context"
	"hash/maphash"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/socketfleet/socketfleet/cluster"
)

// Bounds of what waits to be decoded, for all workers together.
const (
	intakeMessages = 4096
	intakeBytes    = 16 << 20
	maxWorkers     = 4
)

// queued is what waits in an intake.
type queued interface {
	group() string // items of one group are handled in their order
	size() int     // bytes
	kept() bool    // never dropped: its reader waits for space
}

// intake spreads what was received over workers by namespace, so that all
// messages of a namespace are handled in the order Redis sent them. By sender
// would not do: a program can make one node join sockets to a room and another
// emit to it. The reader of a subscription never waits: a full queue loses its
// oldest item that is not kept. The reader of a stream can wait, because the stream
// keeps what comes; it leaves half of the queue to the others.
type intake[P queued] struct {
	// Immutable.
	workers []*worker[P]
	seed    maphash.Seed
	dropped *atomic.Uint64
}

func newIntake[P queued](handle func(P), gap func(Gap)) *intake[P] {
	n := min(runtime.GOMAXPROCS(0), maxWorkers)
	in := &intake[P]{seed: maphash.MakeSeed(), dropped: new(atomic.Uint64)}
	for range n {
		in.workers = append(in.workers, &worker[P]{
			handle: handle, gap: gap, dropped: in.dropped,
			maxCount: intakeMessages / n, maxBytes: intakeBytes / n,
			wake: make(chan struct{}, 1), space: make(chan struct{}, 1),
		})
	}
	return in
}

func (in *intake[P]) push(p P) { in.worker(p).push(p) }

// pushWait is for what is kept. It waits for space, until ctx is done.
func (in *intake[P]) pushWait(ctx context.Context, p P) error {
	w := in.worker(p)
	for !w.offer(p) {
		select {
		case <-w.space:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (in *intake[P]) worker(p P) *worker[P] {
	return in.workers[maphash.String(in.seed, p.group())%uint64(len(in.workers))]
}

// queues returns how full the queue of each worker is.
func (in *intake[P]) queues() []cluster.Queue {
	list := make([]cluster.Queue, len(in.workers))
	for i, w := range in.workers {
		w.mu.Lock()
		list[i] = cluster.Queue{Messages: len(w.queue), MaxMessages: w.maxCount, Bytes: w.bytes, MaxBytes: w.maxBytes}
		w.mu.Unlock()
	}
	return list
}

// start runs the workers until ctx is done.
func (in *intake[P]) start(ctx context.Context, wg *sync.WaitGroup) {
	for _, w := range in.workers {
		wg.Go(func() { w.run(ctx) })
	}
}

type worker[P queued] struct {
	// Immutable.
	handle   func(P)
	gap      func(Gap)
	dropped  *atomic.Uint64
	maxCount int
	maxBytes int
	wake     chan struct{} // capacity 1
	space    chan struct{} // capacity 1: something was taken

	mu    sync.Mutex // guards the following; leaf lock
	queue []P
	bytes int
	lost  Gap // dropped since the last report
}

func (w *worker[P]) push(p P) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.fullLocked(p, w.maxCount, w.maxBytes) && w.dropLocked() {
	}
	w.addLocked(p)
}

// offer adds p if there is space.
func (w *worker[P]) offer(p P) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fullLocked(p, w.maxCount/2, w.maxBytes/2) {
		return false
	}
	w.addLocked(p)
	return true
}

func (w *worker[P]) fullLocked(p P, count, bytes int) bool {
	return len(w.queue) > 0 && (len(w.queue) >= count || w.bytes+p.size() > bytes)
}

func (w *worker[P]) addLocked(p P) {
	w.queue = append(w.queue, p)
	w.bytes += p.size()
	signal(w.wake)
}

// dropLocked drops the oldest item that is not kept, if there is one.
func (w *worker[P]) dropLocked() bool {
	i := slices.IndexFunc(w.queue, func(p P) bool { return !p.kept() })
	if i < 0 {
		return false
	}
	w.bytes -= w.queue[i].size()
	if i == 0 {
		var none P
		w.queue[0] = none
		w.queue = w.queue[1:]
	} else {
		w.queue = slices.Delete(w.queue, i, i+1)
	}
	w.dropped.Add(1)
	w.lost.To = time.Now()
	if w.lost.Dropped == 0 {
		w.lost.From = w.lost.To
	}
	w.lost.Dropped++
	return true
}

// pop returns the oldest parcel, and what was dropped before it.
func (w *worker[P]) pop() (p P, lost Gap, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		w.queue = nil
		return p, lost, false
	}
	var none P
	p, lost = w.queue[0], w.lost
	w.queue[0], w.lost = none, Gap{}
	w.queue = w.queue[1:]
	w.bytes -= p.size()
	signal(w.space)
	return p, lost, true
}

func (w *worker[P]) run(ctx context.Context) {
	for {
		select {
		case <-w.wake:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil {
			p, lost, ok := w.pop()
			if !ok {
				break
			}
			if lost.Dropped > 0 {
				lost.Kind, lost.Reason = GapOverrun, "this node is too slow"
				w.gap(lost)
			}
			w.handle(p)
		}
	}
}
