package redis

import (
	"context"
	"hash/maphash"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of what waits to be decoded, for all workers together.
const (
	intakeMessages = 4096
	intakeBytes    = 16 << 20
	maxWorkers     = 4
)

// parcel is a received message on its way from the reader to a worker.
type parcel struct {
	to      *attachment
	kind    channelKind
	channel string
	payload string
}

// intake spreads parcels over workers by namespace, so that all messages of a
// namespace are handled in the order Redis sent them. By sender would not do: a
// program can make one node join sockets to a room and another emit to it. The
// reader never waits: a full queue loses its oldest parcel.
type intake struct {
	// Immutable.
	workers []*worker
	seed    maphash.Seed
	dropped *atomic.Uint64
}

func newIntake(handle func(parcel), gap func(Gap)) *intake {
	n := min(runtime.GOMAXPROCS(0), maxWorkers)
	in := &intake{seed: maphash.MakeSeed(), dropped: new(atomic.Uint64)}
	for range n {
		in.workers = append(in.workers, &worker{
			handle: handle, gap: gap, dropped: in.dropped,
			maxCount: intakeMessages / n, maxBytes: intakeBytes / n,
			wake: make(chan struct{}, 1),
		})
	}
	return in
}

func (in *intake) push(p parcel) {
	i := maphash.String(in.seed, p.to.Namespace) % uint64(len(in.workers))
	in.workers[i].push(p)
}

// start runs the workers until ctx is done.
func (in *intake) start(ctx context.Context, wg *sync.WaitGroup) {
	for _, w := range in.workers {
		wg.Go(func() { w.run(ctx) })
	}
}

type worker struct {
	// Immutable.
	handle   func(parcel)
	gap      func(Gap)
	dropped  *atomic.Uint64
	maxCount int
	maxBytes int
	wake     chan struct{} // capacity 1

	mu    sync.Mutex // guards the following; leaf lock
	queue []parcel
	bytes int
	lost  Gap // dropped since the last report
}

func (w *worker) push(p parcel) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 && (len(w.queue) >= w.maxCount || w.bytes+len(p.payload) > w.maxBytes) {
		w.dropLocked()
	}
	w.queue = append(w.queue, p)
	w.bytes += len(p.payload)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *worker) dropLocked() {
	w.bytes -= len(w.queue[0].payload)
	w.queue[0] = parcel{}
	w.queue = w.queue[1:]
	w.dropped.Add(1)
	w.lost.To = time.Now()
	if w.lost.Dropped == 0 {
		w.lost.From = w.lost.To
	}
	w.lost.Dropped++
}

// pop returns the oldest parcel, and what was dropped before it.
func (w *worker) pop() (p parcel, lost Gap, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		w.queue = nil
		return p, lost, false
	}
	p, lost = w.queue[0], w.lost
	w.queue[0], w.lost = parcel{}, Gap{}
	w.queue = w.queue[1:]
	w.bytes -= len(p.payload)
	return p, lost, true
}

func (w *worker) run(ctx context.Context) {
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
				lost.Reason = "this node is too slow"
				w.gap(lost)
			}
			w.handle(p)
		}
	}
}
