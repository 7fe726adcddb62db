package redis

import (
	"context"
	"strings"
	"sync"
	"time"
)

// topic is something to subscribe to.
type topic struct {
	pattern bool
	name    string
}

// topicState says how a topic stands on the present connection.
type topicState struct {
	wanted  bool
	asked   bool          // the last command sent for it was to subscribe
	pending int           // commands Redis has not confirmed yet
	since   time.Time     // of the oldest of them
	settled chan struct{} // closed while wanted == asked and nothing is pending
}

func (s *topicState) isSettled() bool { return s.wanted == s.asked && s.pending == 0 }

// topics is the set of subscriptions that should exist, and how far the present
// connection got.
type topics struct {
	wake chan struct{} // capacity 1: the set has changed

	mu    sync.Mutex // guards the following; leaf lock
	state map[topic]*topicState
}

func newTopics() *topics {
	return &topics{wake: make(chan struct{}, 1), state: make(map[topic]*topicState)}
}

// want changes whether each topic should be subscribed.
func (t *topics) want(on bool, list ...topic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range list {
		s := t.state[name]
		if s == nil {
			s = &topicState{settled: make(chan struct{})}
			t.state[name] = s
		}
		s.wanted = on
		t.updateLocked(name, s)
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// updateLocked keeps s.settled true to the rest of s.
func (t *topics) updateLocked(name topic, s *topicState) {
	closed := false
	select {
	case <-s.settled:
		closed = true
	default:
	}
	switch settled := s.isSettled(); {
	case settled && !closed:
		close(s.settled)
	case !settled && closed:
		s.settled = make(chan struct{})
	}
	if s.isSettled() && !s.wanted {
		delete(t.state, name)
	}
}

// wait returns when all of list are as they should be.
func (t *topics) wait(ctx context.Context, list ...topic) error {
	for _, name := range list {
		if ch := t.settled(name); ch != nil {
			select {
			case <-ch:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

func (t *topics) settled(name topic) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.state[name]; s != nil {
		return s.settled
	}
	return nil
}

// reset forgets the connection.
func (t *topics) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, s := range t.state {
		s.asked, s.pending = false, 0
		t.updateLocked(name, s)
	}
}

// change lists the topics to subscribe to and to leave, and counts them as
// asked.
func (t *topics) change(now time.Time) (sub, unsub []topic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, s := range t.state {
		if s.wanted == s.asked {
			continue
		}
		if s.pending == 0 {
			s.since = now
		}
		s.asked = s.wanted
		s.pending++
		if s.wanted {
			sub = append(sub, name)
		} else {
			unsub = append(unsub, name)
		}
	}
	return sub, unsub
}

// confirm takes note of Redis's answer to one command for one topic.
func (t *topics) confirm(name topic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.state[name]; s != nil && s.pending > 0 {
		s.pending--
		t.updateLocked(name, s)
	}
}

// progress reports whether everything is settled, and since when the oldest
// command waits for its confirmation.
func (t *topics) progress() (settled bool, since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	settled = true
	for _, s := range t.state {
		settled = settled && s.isSettled()
		if s.pending > 0 && (since.IsZero() || s.since.Before(since)) {
			since = s.since
		}
	}
	return settled, since
}

func (t *topics) empty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.state) == 0
}

// escapeGlob makes Redis take s literally within a pattern.
func escapeGlob(s string) string { return globEscaper.Replace(s) }

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)
