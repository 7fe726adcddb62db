package nats

import (
	"context"
	"sync"

	natsgo "github.com/nats-io/nats.go"

	"github.com/socketfleet/socketfleet/adapter"
)

// roomSet keeps the subscriptions of rooms as they should be.
type roomSet struct {
	wake chan struct{} // capacity 1

	mu      sync.Mutex      // guards the following; leaf lock
	changed map[string]bool // by subject: should it be subscribed
	closed  bool
	asked   uint64        // changes so far
	applied uint64        // of them, how many run has told the server
	moved   chan struct{} // closed and replaced when applied or closed changes
}

func newRoomSet() *roomSet {
	return &roomSet{wake: make(chan struct{}, 1), changed: make(map[string]bool), moved: make(chan struct{})}
}

func (s *roomSet) set(subject string, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.changed[subject] = on
		s.asked++
		signal(s.wake)
	}
}

// take returns the changes since the last call, and their number since the start.
func (s *roomSet) take() (list map[string]bool, asked uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list = s.changed
	s.changed = make(map[string]bool)
	return list, s.asked
}

func (s *roomSet) update(applied uint64, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applied, s.closed = applied, closed
	close(s.moved)
	s.moved = make(chan struct{})
}

// wait returns when all changes made before the call have been sent.
func (s *roomSet) wait(ctx context.Context) error {
	s.mu.Lock()
	asked := s.asked
	s.mu.Unlock()
	for {
		s.mu.Lock()
		done, closed, moved := s.applied >= asked, s.closed, s.moved
		s.mu.Unlock()
		switch {
		case done:
			return nil
		case closed:
			return adapter.ErrClosed
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run subscribes and unsubscribes until ctx is done, then leaves everything.
func (s *roomSet) run(ctx context.Context, b *bus) {
	subs := make(map[string]*natsgo.Subscription)
	applied := uint64(0)
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			s.update(applied, true)
			for _, sub := range subs {
				_ = sub.Unsubscribe() // fails when the connection is closed
			}
			return
		}
		list, asked := s.take()
		for subject, on := range list {
			b.change(subs, subject, on)
		}
		applied = asked
		s.update(applied, false)
	}
}

// change subscribes to a subject or leaves it.
func (b *bus) change(subs map[string]*natsgo.Subscription, subject string, on bool) {
	sub := subs[subject]
	switch {
	case on && sub == nil:
		sub, err := b.conn.ChanSubscribe(subject, b.in)
		if err != nil {
			b.watch.note(err)
			return
		}
		subs[subject] = sub
	case !on && sub != nil:
		_ = sub.Unsubscribe() // fails when the connection is closed
		delete(subs, subject)
	}
}
