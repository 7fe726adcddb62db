package redisstore_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/socketfleet/socketfleet/admin/redisstore"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSessionsAreInRedisForAWhile(t *testing.T) {
	t.Parallel()
	o, err := redis.ParseURL(testutil.RedisURL(t))
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(o)
	defer client.Close()
	prefix := testutil.Prefix(t)
	s, ctx := redisstore.New(client, prefix), t.Context()
	if err := s.Save(ctx, "a", time.Hour); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{"a": true, "b": false} {
		if got, err := s.Exists(ctx, id); err != nil || got != want {
			t.Errorf("Exists(%s) = %v, %v", id, got, err)
		}
	}
	key := prefix + "#a"
	if got := client.Get(ctx, key).Val(); got != "1" {
		t.Errorf("value = %q, want 1", got)
	}
	if ttl := client.TTL(ctx, key).Val(); ttl <= 0 || ttl > time.Hour {
		t.Errorf("it ends in %v", ttl)
	}
	client.Close()
	if err := s.Save(ctx, "a", time.Hour); err == nil {
		t.Error("Save over a closed client succeeds")
	}
	if ok, err := s.Exists(ctx, "a"); err == nil || ok {
		t.Error("Exists over a closed client succeeds")
	}
}

func TestTheDefaultKeysAreThoseOfTheReference(t *testing.T) {
	t.Parallel()
	o, err := redis.ParseURL(testutil.RedisURL(t))
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(o)
	defer client.Close()
	id := testutil.Prefix(t)
	if err := redisstore.New(client, "").Save(t.Context(), id, time.Minute); err != nil {
		t.Fatal(err)
	}
	if n := client.Del(t.Context(), "socket.io-admin#"+id).Val(); n != 1 {
		t.Error("there is no such key")
	}
}
