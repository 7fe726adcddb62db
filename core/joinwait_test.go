package core_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/memory"
	"github.com/socketfleet/socketfleet/core"
)

// awaiting is an adapter that hears rooms late.
type awaiting struct {
	adapter.Provider
	adapter.Adapter
	asked chan []adapter.Room
	heard chan struct{}
}

func (a *awaiting) Open(ctx context.Context, h adapter.Host) (adapter.Adapter, error) {
	opened, err := a.Provider.Open(ctx, h)
	return &awaiting{Adapter: opened, asked: a.asked, heard: a.heard}, err
}

func (a *awaiting) Close(ctx context.Context) error {
	if a.Adapter == nil {
		return a.Provider.Close(ctx)
	}
	return a.Adapter.Close(ctx)
}

func (a *awaiting) AwaitRooms(ctx context.Context, rooms ...adapter.Room) error {
	a.asked <- rooms
	select {
	case <-a.heard:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestJoinWaitReturnsWhenTheRoomsAreHeard(t *testing.T) {
	t.Parallel()
	a := &awaiting{Provider: memory.NewProvider(memory.Options{}), asked: make(chan []adapter.Room, 1), heard: make(chan struct{})}
	r := start(t, &core.Options{Adapter: a})
	s := r.socket(t, r.dial(t))
	joined := make(chan error, 1)
	go func() { joined <- s.JoinWait(t.Context(), "x", "y") }()
	if rooms := <-a.asked; !slices.Equal(rooms, []string{"x", "y"}) || !slices.Contains(s.Rooms(), "y") {
		t.Errorf("waiting for %v in %v", rooms, s.Rooms())
	}
	select {
	case err := <-joined:
		t.Fatalf("JoinWait did not wait: %v", err)
	default:
	}
	close(a.heard)
	if err := <-joined; err != nil {
		t.Error(err)
	}
}

func TestJoinWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	a := &awaiting{Provider: memory.NewProvider(memory.Options{}), asked: make(chan []adapter.Room, 1)}
	r := start(t, &core.Options{Adapter: a})
	s := r.socket(t, r.dial(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.JoinWait(ctx, "x"); !errors.Is(err, context.Canceled) || !slices.Contains(s.Rooms(), "x") {
		t.Errorf("%v, rooms %v", err, s.Rooms())
	}
	s.Disconnect(true)
	if err := s.JoinWait(t.Context(), "x"); !errors.Is(err, core.ErrDisconnected) {
		t.Errorf("a socket that is gone: %v", err)
	}
}

func TestJoinWaitIsJoinWhereNothingIsLate(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	s := r.socket(t, r.dial(t))
	if err := s.JoinWait(t.Context(), "x"); err != nil || !slices.Contains(s.Rooms(), "x") {
		t.Errorf("%v, rooms %v", err, s.Rooms())
	}
}
