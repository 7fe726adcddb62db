package core_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/socketfleet/socketfleet/core"
)

// What is logged at info and above must name no session, no socket and no payload.
func TestLogsAtInfoGiveNoClientAway(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	const payload = "a-secret-of-the-client"
	done := make(chan struct{})
	core.On(r, "fails", func(context.Context, *core.Socket, string) error { return errors.New("failed") })
	core.On(r, "panics", func(context.Context, *core.Socket, string) error { panic("oops") })
	core.On(r, "mistyped", func(context.Context, *core.Socket, int) error { return nil })
	core.On(r, "last", func(context.Context, *core.Socket, string) error { close(done); return nil })
	c := r.dial(t)
	socketID, sessionID := c.ID(), c.Engine().Handshake.SID
	for _, event := range []string{"fails", "panics", "mistyped", "unknown", "last"} {
		if err := c.Emit(event, payload); err != nil {
			t.Fatal(err)
		}
	}
	<-done
	c.Close()
	eventually(t, "the socket is gone", func() bool { return r.Stats().Sockets == 0 })
	for _, event := range []string{"socket.connect", "socket.disconnect", "handler.error", "handler.panic", "event.bad_argument"} {
		if len(r.logs.find(slog.LevelDebug, "event", event)) == 0 {
			t.Errorf("no line with event %s", event)
		}
	}
	for _, line := range r.logs.find(slog.LevelInfo, "", "") {
		for _, secret := range []string{payload, socketID, sessionID} {
			if strings.Contains(fmt.Sprint(line), secret) {
				t.Errorf("%q is in %v", secret, line)
			}
		}
	}
}
