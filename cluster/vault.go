package cluster

import (
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// memoryVault is the Vault of nodes that live in one process.
type memoryVault struct {
	mu   sync.Mutex // guards the following; leaf lock
	kept map[string]vaultEntry
}

type vaultEntry struct {
	s     StoredSession
	until time.Time
}

func (v *memoryVault) write(batch []SessionWrite) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	if v.kept == nil {
		v.kept = make(map[string]vaultEntry)
	}
	for _, w := range batch {
		if w.Session == nil {
			delete(v.kept, w.PID)
			continue
		}
		v.kept[w.PID] = vaultEntry{*w.Session, now.Add(w.TTL)}
	}
	for pid, e := range v.kept {
		if !e.until.After(now) {
			delete(v.kept, pid)
		}
	}
}

func (v *memoryVault) take(pid string) (*StoredSession, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e, ok := v.kept[pid]
	delete(v.kept, pid)
	ttl := time.Until(e.until)
	if !ok || ttl <= 0 {
		return nil, adapter.ErrNoSession
	}
	e.s.TTL = ttl
	return &e.s, nil
}
