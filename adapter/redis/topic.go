package redis

import (
	"context"
	"strings"
	"sync"
	"time"
)

// topic is something to subscribe to.
type topic struct {
	kind topicKind
	name string
}

type topicKind uint8

const (
	plain   topicKind = iota // SUBSCRIBE
	pattern                  // PSUBSCRIBE
	shard                    // SSUBSCRIBE
)

// topicState says how a topic stands on the present connection.
type topicState struct {
	wanted  bool
	asked   bool          // the last command sent for it was to subscribe
	pending int           // commands Redis has not confirmed yet
	since   time.Time     // of the oldest of them
	settled chan struct{} // closed and forgotten when it settles; nil: nobody waits
}

func (s *topicState) isSettled() bool { return s.wanted == s.asked && s.pending == 0 }

// topics is the set of subscriptions that should exist, and how far the present
// connection got.
type topics struct {
	wake chan struct{} // capacity 1: the set has changed

	mu    sync.Mutex // guards the following; leaf lock
	state map[topic]*topicState
	open  map[topic]*topicState // those of state that are not settled
}

func newTopics() *topics {
	return &topics{
		wake:  make(chan struct{}, 1),
		state: make(map[topic]*topicState),
		open:  make(map[topic]*topicState),
	}
}

// want changes whether each topic should be subscribed.
func (t *topics) want(on bool, list ...topic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range list {
		s := t.state[name]
		if s == nil {
			s = new(topicState)
			t.state[name] = s
		}
		s.wanted = on
		t.updateLocked(name, s)
	}
	signal(t.wake)
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// updateLocked keeps what follows from s true to it.
func (t *topics) updateLocked(name topic, s *topicState) {
	if !s.isSettled() {
		t.open[name] = s
		return
	}
	delete(t.open, name)
	if s.settled != nil {
		close(s.settled)
		s.settled = nil
	}
	if !s.wanted {
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
	s := t.open[name]
	if s == nil {
		return nil
	}
	if s.settled == nil {
		s.settled = make(chan struct{})
	}
	return s.settled
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
	for name, s := range t.open {
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

// confirm takes note of Redis's answer to one command for one topic. It reports
// whether anybody waits for one.
func (t *topics) confirm(name topic) (expected bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.state[name]
	if s == nil {
		return true // forgotten meanwhile
	}
	if s.pending == 0 {
		return false
	}
	s.pending--
	t.updateLocked(name, s)
	return true
}

// forget drops topics without a word to Redis.
func (t *topics) forget(list ...topic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range list {
		if s := t.state[name]; s != nil {
			*s = topicState{settled: s.settled}
			t.updateLocked(name, s)
		}
	}
}

// end drops all topics, for which nobody needs to wait any more.
func (t *topics) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, s := range t.state {
		*s = topicState{settled: s.settled}
		t.updateLocked(name, s)
	}
}

// again makes the topics be subscribed to once more if they are wanted.
func (t *topics) again(list ...topic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range list {
		if s := t.state[name]; s != nil && s.wanted {
			s.asked = false
			t.updateLocked(name, s)
		}
	}
	signal(t.wake)
}

// progress reports whether everything is settled.
func (t *topics) progress() (settled bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open) == 0
}

// oldest returns since when the oldest command waits for its confirmation; zero
// when none does.
func (t *topics) oldest() (since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.open {
		if s.pending > 0 && (since.IsZero() || s.since.Before(since)) {
			since = s.since
		}
	}
	return since
}

func (t *topics) empty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.state) == 0
}

// escapeGlob makes Redis take s literally within a pattern.
func escapeGlob(s string) string { return globEscaper.Replace(s) }

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)
