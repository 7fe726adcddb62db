package forward

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/socketfleet/socketfleet/cluster"
)

// announceTimeout bounds one renewal of the lease.
const announceTimeout = 5 * time.Second

func (f *Forwarder) announce(ctx context.Context, draining bool) error {
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	n := cluster.Node{ID: f.node.Owner, URL: f.node.URL, Started: f.started, Draining: draining}
	if err := f.registry.Announce(ctx, n, f.opts.Lease); err != nil {
		f.count.lease.Add(1)
		return fmt.Errorf("socketio: announce the node: %w", err)
	}
	return nil
}

// keepLease renews the lease until stop. One goroutine announces, so that what is
// said last is what holds.
func (f *Forwarder) keepLease() {
	draining, down := false, false
	renew := func() error {
		err := f.announce(f.ctx, draining)
		if (err != nil) != down && f.ctx.Err() == nil {
			down = err != nil
			f.reportLease(err)
		}
		return err
	}
	for {
		pause := f.opts.Lease / 3
		if down {
			pause /= 5
		}
		timer := time.NewTimer(jitter(pause))
		select {
		case <-timer.C:
			_ = renew() // reported
		case done := <-f.drain:
			draining = true
			done <- renew()
		case <-f.stop:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// jitter returns d, a fifth more or less.
func jitter(d time.Duration) time.Duration {
	return d*4/5 + rand.N(d*2/5+1)
}

func (f *Forwarder) reportLease(err error) {
	if err == nil {
		f.node.Logger.LogAttrs(f.ctx, slog.LevelInfo, "socketio: the registry of nodes is back", slog.String("event", "forward.registry_up"))
		return
	}
	f.node.Logger.LogAttrs(f.ctx, slog.LevelWarn, "socketio: the registry of nodes is away: nodes that start now cannot be reached, others can",
		slog.String("event", "forward.registry_down"), slog.Any("error", err))
}

// Drain tells the other nodes that this one takes no new sessions. Its sessions are
// served as before.
func (f *Forwarder) Drain(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case f.drain <- done:
	case <-f.stop:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
