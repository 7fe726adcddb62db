package cluster

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// maxSaves is how many sessions are written at once.
const maxSaves = 256

// saver writes the sessions of a provider's namespaces to the log's store, each at
// most once per change and in the order of the changes. It belongs to the Provider;
// run belongs to one goroutine, which is started by the first touch.
type saver struct {
	// Immutable.
	vault Vault // nil: nothing is ever touched
	slog  *slog.Logger
	spawn func(run func(context.Context)) // on a goroutine the Provider waits for
	wake  chan struct{}                   // capacity 1

	mu      sync.Mutex // guards the following; leaf lock
	started bool
	closed  bool
	busy    bool // a batch is being written
	queue   []save
}

// save is a session that has changed, or somebody who waits for those before.
type save struct {
	l    *live
	done chan struct{}
}

func newSaver(bus Bus, log *slog.Logger, spawn func(func(context.Context))) *saver {
	s := &saver{slog: log, spawn: spawn, wake: make(chan struct{}, 1)}
	s.vault, _ = bus.(Vault)
	return s
}

// touch has l written as it is when its turn comes.
func (s *saver) touch(l *live) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.queued || s.closed {
		return
	}
	l.queued = true
	s.pushLocked(save{l: l})
}

func (s *saver) pushLocked(it save) {
	s.queue = append(s.queue, it)
	if !s.started {
		s.started = true
		s.spawn(s.run)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// flush waits until what was touched before has been written.
func (s *saver) flush(ctx context.Context) error {
	s.mu.Lock()
	if len(s.queue) == 0 && !s.busy {
		s.mu.Unlock()
		return nil
	}
	if s.closed {
		s.mu.Unlock()
		return adapter.ErrClosed
	}
	it := save{done: make(chan struct{})}
	s.pushLocked(it)
	s.mu.Unlock()
	select {
	case <-it.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// next takes what is queued, for one batch; nothing once the saver is closed.
func (s *saver) next() []save {
	for {
		s.mu.Lock()
		if n := min(len(s.queue), maxSaves); n > 0 && !s.closed {
			batch := s.queue[:n:n]
			s.queue = s.queue[n:]
			for _, it := range batch {
				if it.l != nil {
					it.l.queued = false // a change from now on is another write
				}
			}
			s.busy = true
			s.mu.Unlock()
			return batch
		}
		s.queue, s.busy = nil, false
		closed := s.closed
		s.mu.Unlock()
		if closed {
			return nil
		}
		<-s.wake
	}
}

// run writes until the saver is closed; ctx cuts it short.
func (s *saver) run(ctx context.Context) {
	for batch := s.next(); batch != nil; batch = s.next() {
		s.write(ctx, batch)
	}
}

// write writes a batch until it is written, or the saver is closed.
func (s *saver) write(ctx context.Context, batch []save) {
	failed := false
	for wait := minBackOff; ; wait = min(2*wait, maxBackOff) {
		err := s.try(ctx, batch)
		if err == nil {
			break
		}
		if !failed {
			s.slog.Warn("socketio: sessions cannot be stored, clients may not be recovered", "event", "recovery.store_failed", "error", err)
			failed = true
		}
		if s.isClosed() || !pause(ctx, wait) {
			return
		}
	}
	if failed {
		s.slog.Info("socketio: sessions are stored again", "event", "recovery.store_back")
	}
	for _, it := range batch {
		if it.done != nil {
			close(it.done)
		}
	}
}

func (s *saver) try(ctx context.Context, batch []save) error {
	writes := make([]SessionWrite, 0, len(batch))
	for _, it := range batch {
		if it.l == nil {
			continue
		}
		if w, ok := it.l.write(); ok {
			writes = append(writes, w)
		}
	}
	if len(writes) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return s.vault.WriteSessions(ctx, writes)
}

func (s *saver) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// close ends run after the batch it is writing.
func (s *saver) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
