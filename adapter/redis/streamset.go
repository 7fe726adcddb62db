package redis

import (
	"context"
	"sync"

	"github.com/socketfleet/socketfleet/adapter"
)

// streamSet is the streams a node reads, each on a connection of its own.
type streamSet struct {
	// Immutable after start.
	link   *link
	opts   *StreamsOptions
	handle func(ctx context.Context, e streamEntry) error
	spawn  func(r *streamReader) bool // runs a reader; false once the set has ended
	// reached is told, at most once a second, up to where a stream has been read;
	// rewound, that it has lost its end.
	reached func(ctx context.Context, key string, at streamID) error
	rewound func(ctx context.Context, key string) error

	mu      sync.Mutex // guards the following; leaf lock
	readers map[string]*streamReader
}

func newStreamSet(l *link, o *StreamsOptions, handle func(context.Context, streamEntry) error) *streamSet {
	return &streamSet{link: l, opts: o, handle: handle, readers: make(map[string]*streamReader)}
}

// start makes readers run until ctx is done. None does before the first wait, so
// that an emitter reads nothing.
func (s *streamSet) start(ctx context.Context, running *sync.WaitGroup) {
	s.spawn = func(r *streamReader) bool {
		if ctx.Err() != nil {
			return false
		}
		running.Go(func() { r.run(ctx) })
		return true
	}
}

// reader returns the reader of a stream, which may be a new one; nil once the set
// has ended.
func (s *streamSet) reader(key string) *streamReader {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.readers[key]; r != nil {
		return r
	}
	r := newStreamReader(s.link, key, s.opts, s.handle)
	r.reached, r.rewound = s.reached, s.rewound
	if !s.spawn(r) {
		return nil
	}
	s.readers[key] = r
	return r
}

// wait reads the streams of the options and returns when that of a namespace is
// read.
func (s *streamSet) wait(ctx context.Context, namespace string) error {
	for _, key := range s.opts.streams() {
		s.reader(key)
	}
	r := s.reader(s.opts.streamOf(namespace))
	if r == nil {
		return adapter.ErrClosed
	}
	select {
	case <-r.started:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// len returns how many streams are read.
func (s *streamSet) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.readers)
}

// health sums up the readers: up when all are.
func (s *streamSet) health() adapter.Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	total := adapter.Health{Up: len(s.readers) > 0}
	for _, r := range s.readers {
		total = merge(total, r.snapshot())
	}
	return total
}
