package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func namePattern(text string) *regexp.Regexp { return regexp.MustCompile(text) }

func TestFailuresOfUserCodeAreLoggedAndDisconnectNobody(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for _, tc := range []struct {
		name  string
		what  string // in the log
		setUp func(r *rig, fail func() error)
	}{
		{"a handler", "event", func(r *rig, fail func() error) {
			core.On(r, "e", func(context.Context, *core.Socket, none) error { return fail() })
		}},
		{"an acknowledging handler", "event", func(r *rig, fail func() error) {
			core.OnAck(r, "e", func(context.Context, *core.Socket, none) (int, error) { return 1, fail() })
		}},
		{"an event middleware", "event", func(r *rig, fail func() error) {
			r.UseEvent(func(next core.EventHandler) core.EventHandler {
				return func(ctx context.Context, s *core.Socket, e *core.Event) error {
					if e.Name == "e" {
						return fail()
					}
					return next(ctx, s, e)
				}
			})
		}},
		{"OnConnect", "OnConnect", func(r *rig, fail func() error) {
			failed := false
			r.OnConnect(func(context.Context, *core.Socket) error {
				if failed {
					return nil
				}
				failed = true
				return fail()
			})
		}},
	} {
		for kind, fail := range map[string]func() error{
			"returns an error": func() error { return boom },
			"panics":           func() error { panic(boom) },
		} {
			t.Run(tc.name+" "+kind, func(t *testing.T) {
				t.Parallel()
				r := start(t, nil)
				tc.setUp(r, fail)
				core.OnAck(r, "after", func(context.Context, *core.Socket, none) (bool, error) { return true, nil })
				c := r.dial(t)
				_ = c.EmitID(100, "e")
				ack(t, c.Socket, "after")
				st := r.Stats()
				equal(t, "failures", st.HandlerErrors+st.HandlerPanics, 1)
				level, event, text := slog.LevelWarn, "handler.error", "error"
				if kind == "panics" {
					level, event, text = slog.LevelError, "handler.panic", "panic"
					equal(t, "HandlerPanics", st.HandlerPanics, 1)
				}
				found := r.logs.find(level, "event", event)
				if len(found) != 1 || found[0].attrs["what"] != tc.what || !strings.Contains(found[0].attrs[text], "boom") {
					t.Errorf("log has %v", found)
				}
				if kind == "panics" && !strings.Contains(found[0].attrs["stack"], "failure_test.go") {
					t.Error("the log has no useful stack")
				}
			})
		}
	}
}

func TestPanicsAtTheEndOfASocketAreCounted(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	done := make(chan struct{})
	r.OnDisconnecting(func(context.Context, *core.Socket, core.DisconnectReason) { panic("disconnecting") })
	r.OnDisconnect(func(context.Context, *core.Socket, core.DisconnectReason) { panic("disconnect") })
	r.OnDisconnect(func(context.Context, *core.Socket, core.DisconnectReason) { close(done) })
	r.OnAny(func(context.Context, *core.Socket, *core.Event) { panic("any") })
	c := r.dial(t)
	_ = c.Emit("e")
	_ = c.Disconnect()
	recv(t, "the second OnDisconnect", done)
	equal(t, "HandlerPanics", r.Stats().HandlerPanics, 3)
	for _, what := range []string{"OnAny", "OnDisconnecting", "OnDisconnect"} {
		if len(r.logs.find(slog.LevelError, "what", what)) == 0 {
			t.Errorf("%s is not in the log", what)
		}
	}
}

func TestAMiddlewaresPanicRefusesWithoutDetails(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.Use(func(context.Context, *core.Socket) error { panic("secret of the house") })
	equal(t, "message", r.refused(t, "/").Message, "internal error")
	equal(t, "HandlerPanics", r.Stats().HandlerPanics, 1)
	equal(t, "ConnectErrors", r.Stats().ConnectErrors, 1)
	equal(t, "logged", len(r.logs.find(slog.LevelError, "panic", "secret of the house")), 1)
}

func TestAPanicOfAMatcherAsksTheNextFamily(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.OfFunc(func(context.Context, string, json.RawMessage) bool { panic("matcher") })
	r.OfFunc(func(_ context.Context, name string, _ json.RawMessage) bool { return name == "/good" })
	r.join(t, "/good")
	equal(t, "message", r.refused(t, "/bad").Message, "Invalid namespace")
	equal(t, "HandlerPanics", r.Stats().HandlerPanics, 2)
	equal(t, "logged", len(r.logs.find(slog.LevelError, "what", "OfFunc")), 2)
}

func TestAPanicOfAllowRequestIsAServerError(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{AllowRequest: func(req *http.Request) error {
		switch req.URL.Query().Get("who") {
		case "mallory":
			return errors.New("not you")
		case "panic":
			panic("allow")
		}
		return nil
	}})
	for who, want := range map[string]struct {
		status int
		body   string
	}{"mallory": {http.StatusForbidden, `{"code":4,"message":"not you"}`}, "panic": {http.StatusInternalServerError, ""}} {
		_, err := testutil.DialEngine(t.Context(), r.url, testutil.EngineOptions{Transports: []string{"polling"}, Query: map[string][]string{"who": {who}}})
		var refused *testutil.HTTPError
		if !errors.As(err, &refused) || refused.Status != want.status || strings.TrimSpace(refused.Body) != want.body {
			t.Errorf("%s: got %v, want %v", who, err, want)
		}
	}
	equal(t, "Panics", r.Stats().Engine.Panics, 1)
	equal(t, "logged", len(r.logs.find(slog.LevelError, "panic", "allow")), 1)
	r.dial(t)
}
