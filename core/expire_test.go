package core_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/core"
)

func TestASocketEndsWhenItsTimeHasCome(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.dial(t)
	s := r.socket(t, c)
	s.ExpireAt(time.Now())
	equal(t, "client's reason", reason(t, c.Socket), "io server disconnect")
	if err := context.Cause(s.Context()); !errors.Is(err, core.ErrExpired) {
		t.Errorf("cause = %v, want ErrExpired", err)
	}
	equal(t, "expired", r.Stats().Expired, 1)
}

func TestOnExpireGrantsMoreTime(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	asked := make(chan struct{}, 8)
	var refuse atomic.Bool
	r.OnExpire(func(_ context.Context, s *core.Socket) (time.Time, error) {
		asked <- struct{}{}
		if refuse.Load() {
			return time.Now().Add(time.Hour), errors.New("revoked")
		}
		return time.Now().Add(20 * time.Millisecond), nil
	})
	c := r.dial(t)
	s := r.socket(t, c)
	s.ExpireAt(time.Now())
	for range 3 {
		recv(t, "a question for more time", asked)
	}
	equal(t, "connected", s.Connected(), true)
	refuse.Store(true)
	equal(t, "client's reason", reason(t, c.Socket), "io server disconnect")
}

func TestExpireAtIsReplacedAndRemoved(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.dial(t)
	s := r.socket(t, c)
	release := make(chan struct{})
	asked := make(chan struct{}, 1)
	r.OnExpire(func(context.Context, *core.Socket) (time.Time, error) {
		asked <- struct{}{}
		<-release
		return time.Time{}, nil
	})
	s.ExpireAt(time.Now())
	recv(t, "the question for more time", asked)
	s.ExpireAt(time.Now().Add(time.Hour)) // while the old time is being decided on
	close(release)
	s.ExpireAt(time.Time{})
	core.OnAck(r, "echo", func(_ context.Context, _ *core.Socket, v string) (string, error) { return v, nil })
	equal(t, "answer", ack(t, c.Socket, "echo", "still here"), any("still here"))
	equal(t, "connected", s.Connected(), true)
}

func TestAFastClientIsSlowedDownAndLosesNothing(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{EventRate: 200, EventBurst: 5})
	got := make(chan int, 64)
	core.On(r, "n", func(_ context.Context, _ *core.Socket, n int) error { got <- n; return nil })
	c := r.dial(t)
	for i := range 40 {
		if err := c.Emit("n", i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 40 {
		equal(t, "event", recv(t, "an event", got), i)
	}
	if hits := r.Stats().LimitsHit["event_rate"]; hits == 0 || hits > 35 {
		t.Errorf("%d events were delayed, want 1 to 35", hits)
	}
}

func TestAPacedSocketCanBeDisconnected(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{EventRate: 1, EventBurst: 1})
	c := r.dial(t)
	s := r.socket(t, c)
	for range 10 {
		_ = c.Emit("n")
	}
	eventually(t, "the client is held back", func() bool { return r.Stats().LimitsHit["event_rate"] > 0 })
	s.Disconnect(true)
	reason(t, c.Socket)
}
