// Package redisstore keeps the sessions of the Admin UI in Redis, so that a user who
// has logged in on one node is known to all. Keys and values are those of the
// reference's RedisStore (lib/stores.ts of @socket.io/admin-ui), which makes Node.js
// servers that use it accept the same sessions.
//
// # Concurrency
//
// A Store is safe for concurrent use.
package redisstore

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/admin"
)

// Store keeps sessions in Redis, which forgets them in time.
type Store struct {
	client redis.UniversalClient
	prefix string
}

var _ admin.Store = (*Store)(nil)

// New returns a Store over client, which the caller closes. Keys are prefix, "#" and
// the id of the session; an empty prefix means "socket.io-admin", as in the reference.
func New(client redis.UniversalClient, prefix string) *Store {
	if prefix == "" {
		prefix = "socket.io-admin"
	}
	return &Store{client, prefix + "#"}
}

// Save implements admin.Store.
func (s *Store) Save(ctx context.Context, id string, ttl time.Duration) error {
	if err := s.client.Set(ctx, s.prefix+id, "1", ttl).Err(); err != nil {
		return fmt.Errorf("socketio: save a session: %w", err)
	}
	return nil
}

// Exists implements admin.Store.
func (s *Store) Exists(ctx context.Context, id string) (bool, error) {
	n, err := s.client.Exists(ctx, s.prefix+id).Result()
	if err != nil {
		return false, fmt.Errorf("socketio: look up a session: %w", err)
	}
	return n == 1, nil
}
