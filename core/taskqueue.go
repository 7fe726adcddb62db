package core

import "sync"

// taskQueue runs functions one after the other, in the order they were pushed, on
// a goroutine that exists only while something is queued.
type taskQueue struct {
	mu      sync.Mutex // guards the following; leaf lock
	queue   []func()
	running bool
}

// push queues fn and never blocks. It returns false when limit functions wait.
func (q *taskQueue) push(srv *Server, limit int, fn func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) >= limit {
		return false
	}
	q.queue = append(q.queue, fn)
	if !q.running {
		q.running = true
		srv.work.Add(1)
		go q.run(srv)
	}
	return true
}

func (q *taskQueue) run(srv *Server) {
	defer srv.work.Done()
	for {
		q.mu.Lock()
		batch := q.queue
		q.queue = nil
		q.running = len(batch) > 0
		q.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, fn := range batch {
			fn()
		}
	}
}
