package nats

import (
	"context"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/socketfleet/socketfleet/adapter"
)

// watch looks after the connection: it knows when it was certainly whole, and
// reports the time in which it may not have been.
type watch struct {
	// Immutable.
	interval time.Duration
	report   func(Gap)
	wake     chan struct{} // capacity 1

	// Owned by the goroutine of run.
	lastOK    time.Time // messages sent to us before that have arrived
	confirmed uint64    // the number of the connection that was whole then
	upSince   time.Time // this node hears the others since
	lastRound time.Time

	mu       sync.Mutex // guards the following; leaf lock
	health   adapter.Health
	drained  time.Time // the reader had taken everything
	overFrom time.Time // nats.go has dropped messages since; zero: none
	overSeen time.Time // when we were told
}

func newWatch(interval time.Duration, report func(Gap)) *watch {
	return &watch{interval: interval, report: report, wake: make(chan struct{}, 1), health: adapter.Health{Since: time.Now()}}
}

// begin is called when the connection is open.
func (w *watch) begin(now time.Time) {
	w.lastOK, w.upSince, w.lastRound = now, now, now
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drained = now
	w.setLocked(true)
}

func (w *watch) setLocked(up bool) {
	if w.health.Up != up {
		w.health.Up, w.health.Since = up, time.Now()
	}
}

// down notes that the connection is not whole.
func (w *watch) down(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.health.LastError = err.Error()
	w.setLocked(false)
}

func (w *watch) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.health.LastError = err.Error()
}

func (w *watch) isUp() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.health.Up
}

// overrun notes that nats.go dropped messages because its channel was full.
func (w *watch) overrun() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.overSeen = time.Now()
	if w.overFrom.IsZero() {
		w.overFrom = w.drained
	}
}

// empty notes that the reader has taken everything.
func (w *watch) empty(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drained = now
}

// settleOverrun reports dropped messages once the reader has caught up.
func (w *watch) settleOverrun() {
	w.mu.Lock()
	from := w.overFrom
	done := !from.IsZero() && w.drained.After(w.overSeen)
	if done {
		w.overFrom = time.Time{}
	}
	w.mu.Unlock()
	if done {
		w.report(Gap{Kind: GapOverrun, From: from, To: time.Now(), Reason: "this node is too slow"})
	}
}

// check asks the server for a sign of life, which comes behind everything it has
// sent. When that is not the connection it was the last time, messages may have
// been missed since then.
func (w *watch) check(ctx context.Context, conn *natsgo.Conn) (up bool) {
	ctx, cancel := context.WithTimeout(ctx, w.interval)
	defer cancel()
	began := time.Now()
	number := conn.Stats().Reconnects
	if !conn.IsConnected() {
		w.mu.Lock()
		w.setLocked(false)
		w.mu.Unlock()
		return false
	}
	if err := conn.FlushWithContext(ctx); err != nil {
		w.mu.Lock()
		w.health.ProbeFailures++
		w.mu.Unlock()
		w.down(err)
		return false
	}
	if conn.Stats().Reconnects != number {
		signal(w.wake) // it was replaced meanwhile
		return false
	}
	now := time.Now()
	w.mu.Lock()
	reason := w.health.LastError
	if !w.health.Up {
		w.upSince = now
	}
	w.setLocked(true)
	w.health.Reconnects = number
	w.mu.Unlock()
	if number != w.confirmed {
		w.report(Gap{Kind: GapConnection, From: w.lastOK, To: now, Reason: reason})
		w.confirmed, w.upSince = number, now
	}
	w.lastOK = began
	return true
}

// snapshot returns the state of the connection.
func (w *watch) snapshot() adapter.Health {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.health
}

// silentSince returns from when on a peer must have been heard to be alive. The
// time this node was deaf, or stood still, does not count.
func (w *watch) silentSince(now time.Time) time.Time {
	if now.Sub(w.lastRound) > 2*w.interval {
		w.upSince = now
	}
	w.lastRound = now
	deadline := now.Add(-deadBeats * w.interval)
	if w.upSince.After(deadline) {
		return time.Time{}
	}
	return deadline
}
