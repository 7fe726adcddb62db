package loadgen

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// closeWait bounds how long Close waits for the server's close frames.
const closeWait = 3 * time.Second

// Fleet is a set of connected clients.
type Fleet struct {
	// Immutable after Dial.
	conns []*conn
	done  context.Context // ends when a connection fails
	fail  context.CancelCauseFunc

	readers sync.WaitGroup
	closing atomic.Bool

	events atomic.Int64  // received since Dial
	acks   atomic.Int64  // likewise
	wake   chan struct{} // capacity 1: a counter moved
}

// Dial connects n clients to the server at addr, at most parallel at a time, and
// returns when all have joined the default namespace. On an error none is left.
func Dial(ctx context.Context, addr string, n, parallel int) (*Fleet, error) {
	f := &Fleet{conns: make([]*conn, n), wake: make(chan struct{}, 1)}
	f.done, f.fail = context.WithCancelCause(context.Background())

	dialing, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var dialers sync.WaitGroup
	for range min(n, parallel) {
		dialers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && dialing.Err() == nil; i = int(next.Add(1)) - 1 {
				c, err := dial(dialing, addr)
				if err != nil {
					cancel(fmt.Errorf("client %d: %w", i, err))
					return
				}
				f.conns[i] = c
				f.readers.Go(func() { f.readAll(c) })
			}
		})
	}
	dialers.Wait()
	if err := context.Cause(dialing); err != nil {
		f.Close()
		return nil, fmt.Errorf("loadgen: connect: %w", err)
	}
	return f, nil
}

// Len returns the number of clients.
func (f *Fleet) Len() int { return len(f.conns) }

// Close ends every connection with a close frame and waits for the readers.
func (f *Fleet) Close() {
	f.closing.Store(true)
	for _, c := range f.conns {
		if c == nil {
			continue
		}
		c.sendControl(opClose, []byte{0x03, 0xe8}) // 1000; a dead connection is closed below
		c.nc.SetReadDeadline(time.Now().Add(closeWait))
	}
	f.readers.Wait()
	f.fail(nil)
}

// readAll counts what c receives until it ends.
func (f *Fleet) readAll(c *conn) {
	defer c.nc.Close()
	var events, acks int64
	for {
		op, payload, err := c.read()
		if err == nil {
			err = c.take(op, payload, &events, &acks)
		}
		if err != nil {
			f.ended(err)
			return
		}
		if events+acks > 0 && c.drained() {
			f.add(events, acks)
			events, acks = 0, 0
		}
	}
}

var errEnded = errors.New("the server closed the connection")

// take handles one frame.
func (c *conn) take(op byte, p []byte, events, acks *int64) error {
	switch {
	case op == opClose:
		return errEnded
	case op == opPing:
		return c.sendControl(opPong, p)
	case op != opText || len(p) == 0:
		return fmt.Errorf("unexpected frame %d", op)
	case p[0] == '2':
		return c.send([]byte("3"))
	case len(p) > 1 && p[0] == '4' && p[1] == '2':
		*events++
	case len(p) > 1 && p[0] == '4' && p[1] == '3':
		*acks++
	case p[0] == '6':
	default:
		return fmt.Errorf("unexpected packet %.80q", p)
	}
	return nil
}

func (f *Fleet) add(events, acks int64) {
	f.events.Add(events)
	f.acks.Add(acks)
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// ended records why a connection ended that was not asked to.
func (f *Fleet) ended(err error) {
	if f.closing.Load() && (errors.Is(err, errEnded) || closed(err)) {
		return
	}
	f.fail(fmt.Errorf("loadgen: connection lost: %w", err))
}

// AwaitEvents returns when the clients have received total events since Dial.
func (f *Fleet) AwaitEvents(ctx context.Context, total int64) error {
	return f.await(ctx, &f.events, total)
}

// await returns when counter has reached want.
func (f *Fleet) await(ctx context.Context, counter *atomic.Int64, want int64) error {
	for counter.Load() < want {
		select {
		case <-f.wake:
		case <-ctx.Done():
			return fmt.Errorf("loadgen: %d of %d messages arrived: %w", counter.Load(), want, context.Cause(ctx))
		case <-f.done.Done():
			return context.Cause(f.done)
		}
	}
	return nil
}
