package admin

import (
	"context"
	"sync"
	"time"
)

// Store keeps the ids of sessions, which are secret. Package redisstore has one for
// Redis. Its methods are called concurrently.
type Store interface {
	// Save keeps a session for ttl.
	Save(ctx context.Context, id string, ttl time.Duration) error
	// Exists reports whether a session was saved and has not expired.
	Exists(ctx context.Context, id string) (bool, error)
}

// maxSessions bounds the memory store; beyond it the session that would end first
// is forgotten.
const maxSessions = 1000

// memoryStore is a Store of one process.
type memoryStore struct {
	mu    sync.Mutex // guards the following; leaf lock
	until map[string]time.Time
}

var _ Store = (*memoryStore)(nil)

func newMemoryStore() *memoryStore { return &memoryStore{until: make(map[string]time.Time)} }

func (m *memoryStore) Save(_ context.Context, id string, ttl time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.until) >= maxSessions {
		m.dropLocked()
	}
	m.until[id] = time.Now().Add(ttl)
	return nil
}

func (m *memoryStore) Exists(_ context.Context, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Before(m.until[id]), nil
}

// dropLocked forgets what has expired, or else the session that ends first.
func (m *memoryStore) dropLocked() {
	now, first := time.Now(), ""
	for id, until := range m.until {
		switch {
		case !now.Before(until):
			delete(m.until, id)
		case first == "" || until.Before(m.until[first]):
			first = id
		}
	}
	if len(m.until) >= maxSessions {
		delete(m.until, first)
	}
}
