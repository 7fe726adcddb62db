package core_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// overfill sends more than the inbox of a socket holds.
func overfill(t testing.TB, c *testutil.Client) {
	t.Helper()
	for range 8 {
		if err := c.Emit("fill", strings.Repeat("x", 600)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAClientHeldBackIsStillPinged(t *testing.T) {
	t.Parallel()
	const interval, timeout = 400 * time.Millisecond, 400 * time.Millisecond
	r := start(t, &core.Options{MaxInboundBytes: 1024, PingInterval: interval, PingTimeout: timeout})
	entered, release := make(chan struct{}, 8), make(chan struct{})
	core.On(r, "fill", func(context.Context, *core.Socket, string) error {
		entered <- struct{}{}
		<-release
		return nil
	})
	e := r.engine(t)
	for range 8 {
		send(t, e, `2["fill","`+strings.Repeat("x", 600)+`"]`)
	}
	recv(t, "the first handler", entered)
	// The client gives up when it hears nothing for as long as both together.
	select {
	case <-e.Done():
		t.Errorf("the client has gone: %v", e.Err())
	case <-time.After(3 * (interval + timeout)):
	}
	close(release)
}

func TestAHandlerLearnsThatItsHeldClientHasGone(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{MaxInboundBytes: 1024, WriteTimeout: 100 * time.Millisecond})
	causes := make(chan error, 8)
	entered := make(chan *core.Socket, 8)
	core.On(r, "fill", func(ctx context.Context, s *core.Socket, _ string) error {
		entered <- s
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return nil
	})
	c := r.dial(t)
	overfill(t, c)
	s := recv(t, "the first handler", entered)
	c.Engine().Abort()
	// Nothing is read from the connection: a write has to find out.
	eventually(t, "the connection has ended", func() bool { return s.Emit("x", strings.Repeat("y", 4096)) != nil })
	var end *core.DisconnectError
	if err := recv(t, "the cause", causes); !errors.As(err, &end) {
		t.Errorf("cause %v, want a *DisconnectError", err)
	}
}
