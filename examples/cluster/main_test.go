package main

import (
	"context"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheProofHolds(t *testing.T) {
	t.Setenv("REDIS_URL", "")
	if err := run(context.Background(), "", true); err != nil {
		t.Fatal(err)
	}
}

func TestAnUnreachableRedisIsAClearError(t *testing.T) {
	t.Setenv("REDIS_URL", "redis://:secret@127.0.0.1:1")
	err := run(context.Background(), "", true)
	if err == nil {
		t.Fatal("the cluster started without Redis")
	}
	t.Log(err)
}
