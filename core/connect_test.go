package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestAMiddlewareRefusesWithMessageAndData(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.Of("/text").Use(func(context.Context, *core.Socket) error { return errors.New(`no "<entry>"`) })
	r.Of("/data").Use(func(context.Context, *core.Socket) error {
		return fmt.Errorf("wrapped: %w", &core.ConnectError{Message: "denied", Data: map[string]int{"retry": 5}})
	})
	r.Of("/odd").Use(func(context.Context, *core.Socket) error {
		return &core.ConnectError{Message: "odd", Data: make(chan int)}
	})
	e := r.bare(t)
	for nsp, want := range map[string]string{
		"/text":    `{"message":"no \"<entry>\""}`,
		"/data":    `{"message":"denied","data":{"retry":5}}`,
		"/odd":     `{"message":"odd"}`,
		"/missing": `{"message":"Invalid namespace"}`,
	} {
		send(t, e, "0"+nsp+",")
		equal(t, nsp, read(t, e), "4"+nsp+","+want)
		send(t, e, "0"+nsp+",") // a refused client may try again
		equal(t, nsp, read(t, e), "4"+nsp+","+want)
	}
	send(t, e, "0")
	if got := read(t, e); !strings.HasPrefix(got, `0{"sid"`) {
		t.Errorf("CONNECT answered with %s", got)
	}
	equal(t, "ConnectErrors", r.Stats().ConnectErrors, 8)
	equal(t, "Sockets", r.Stats().Sockets, 1)
}

func TestMiddlewaresRunInOrderUntilOneRefuses(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	var j journal
	note := func(what string, err error) func(context.Context, *core.Socket) error {
		return func(_ context.Context, s *core.Socket) error {
			if s.Connected() {
				t.Error("connected before the middlewares have passed")
			}
			j.add(what)
			return err
		}
	}
	r.Use(note("root", nil))
	f := r.OfPattern(namePattern("^/x$"))
	f.Use(note("family", nil))
	f.OnConnect(func(context.Context, *core.Socket) error { j.add("family-connect"); return nil })
	x := r.Of("x") // the leading slash may be left out
	x.Use(note("a", nil), note("b", nil))
	x.Use(note("c", nil))
	connected := make(chan struct{}, 1)
	x.OnConnect(func(context.Context, *core.Socket) error { j.add("connect"); connected <- struct{}{}; return nil })
	r.join(t, "/x")
	recv(t, "OnConnect", connected)
	equal(t, "order", j.String(), "family a b c family-connect connect")
	x.Use(note("refuses", errors.New("no")), note("unreachable", nil))
	r.refused(t, "/x")
	equal(t, "order", j.String(), "family a b c family-connect connect family a b c refuses")
}

func TestAMiddlewareSeesTheHandshake(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	checked := make(chan struct{})
	r.Use(func(_ context.Context, s *core.Socket) error {
		defer close(checked)
		h := s.Handshake()
		var auth struct{ Token string }
		if err := json.Unmarshal(h.Auth(), &auth); err != nil || auth.Token != "t" {
			t.Errorf("auth %s, %v", h.Auth(), err)
		}
		equal(t, "query", h.Query()["k"], "last")
		equal(t, "header", h.Header().Get("X-Who"), "me")
		equal(t, "address", h.Address(), "127.0.0.1")
		equal(t, "secure", h.Secure(), false)
		equal(t, "xdomain", h.CrossDomain(), false)
		equal(t, "url", strings.HasPrefix(h.URL(), "/socket.io/?"), true)
		equal(t, "recent", time.Since(h.Time()) < wait, true)
		equal(t, "transport", s.Transport(), "websocket")
		equal(t, "id", len(s.ID()), 20)
		var all map[string]any
		text, err := h.MarshalJSON()
		if err != nil || json.Unmarshal(text, &all) != nil || len(all) != 9 {
			t.Errorf("JSON %s, %v", text, err)
		}
		h.Header().Set("X-Who", "changed")
		equal(t, "the header is a copy", h.Header().Get("X-Who"), "me")
		return nil
	})
	testutil.MustDial(t, r.url, testutil.ClientOptions{
		Auth: map[string]string{"token": "t"}, Query: map[string][]string{"k": {"first", "last"}}, Header: map[string][]string{"X-Who": {"me"}},
	})
	recv(t, "the middleware", checked)
}

func TestRoomsJoinedInAMiddlewareCountOnceConnected(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.Use(func(_ context.Context, s *core.Socket) error {
		if err := s.Join("a", "b", "c"); err != nil {
			return err
		}
		s.Leave("b")
		_ = r.To("a").Emit("too early")
		equal(t, "rooms in the middleware", fmt.Sprint(s.Rooms()), "[a c]")
		return s.Emit("before")
	})
	e := r.bare(t)
	send(t, e, "0")
	equal(t, "emitted in the middleware", read(t, e), `2["before"]`)
	if got := read(t, e); !strings.HasPrefix(got, `0{"sid"`) {
		t.Errorf("got %s, want the reply", got)
	}
	eventually(t, "the rooms are joined", func() bool { rooms, _ := r.AllRooms(t.Context()); return len(rooms) == 3 })
	_ = r.To("b").Emit("not a member")
	_ = r.To("c").Emit("member")
	equal(t, "next", read(t, e), `2["member"]`)
}

func TestRoomsOfARefusedSocketAreForgotten(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.Use(func(_ context.Context, s *core.Socket) error { _ = s.Join("a"); return errors.New("no") })
	r.refused(t, "/")
	rooms, err := r.AllRooms(t.Context())
	equal(t, "rooms", fmt.Sprint(rooms, err), "[] <nil>")
}

// The protocol's state table: what does not fit closes the connection.
func TestPacketsThatDoNotFitCloseTheConnection(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	for name, packets := range map[string][]string{
		"a second CONNECT":                {"0", "0"},
		"an event before CONNECT":         {`2["e"]`},
		"an event for another namespace":  {"0", `2/other,["e"]`},
		"an ack before CONNECT":           {"30[]"},
		"a disconnect before CONNECT":     {"1"},
		"a CONNECT_ERROR":                 {"0", `4{"message":"x"}`},
		"binary before CONNECT":           {`51-["e",{"_placeholder":true,"num":0}]`},
		"text amid attachments":           {"0", `51-["e",{"_placeholder":true,"num":0}]`, `2["e"]`},
		"an unknown packet type":          {"0", "7"},
		"an announced flood":              {"0", `5999999999-["e"]`},
		"an exponent for a number":        {"0", `51e9-["e"]`},
		"no number":                       {"0", `5-1-["e"]`},
		"half an attachment":              {"0", `51.5-["e"]`},
		"an event name that is an object": {"0", `2[{"toString":1}]`},
		"an event that is no array":       {"0", `2{"a":1}`},
		"a payload cut short":             {"0", `2["e"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := r.bare(t)
			bystander := r.dial(t)
			send(t, e, packets...)
			ended(t, e)
			equal(t, "bystander connected", bystander.Connected(), true)
		})
	}
}

func TestASecondConnectDuringAMiddlewareCloses(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	entered, release := make(chan struct{}), make(chan struct{})
	r.Use(func(context.Context, *core.Socket) error { close(entered); <-release; return nil })
	e := r.bare(t)
	send(t, e, "0")
	recv(t, "the middleware", entered)
	send(t, e, "0")
	ended(t, e)
	close(release)
	eventually(t, "the socket is gone", func() bool { return r.Stats().Sockets == 0 && r.Stats().Engine.Sessions == 0 })
}

func TestAClientThatLeavesDuringAMiddlewareLeavesNothing(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	entered, done := make(chan struct{}), make(chan error, 1)
	r.Use(func(ctx context.Context, s *core.Socket) error {
		close(entered)
		<-ctx.Done()
		done <- context.Cause(ctx)
		return s.Join("ghost")
	})
	r.Use(func(context.Context, *core.Socket) error { t.Error("the next middleware ran"); return nil })
	r.OnConnect(func(context.Context, *core.Socket) error { t.Error("OnConnect ran"); return nil })
	r.OnDisconnect(func(context.Context, *core.Socket, core.DisconnectReason) { t.Error("OnDisconnect ran") })
	e := r.bare(t)
	send(t, e, "0")
	recv(t, "the middleware", entered)
	e.Abort()
	if err := recv(t, "the end of the context", done); !errors.Is(err, core.ErrDisconnected) {
		t.Errorf("cause %v", err)
	}
	eventually(t, "the session is gone", func() bool { return r.Stats().Engine.Sessions == 0 })
	rooms, _ := r.AllRooms(t.Context())
	equal(t, "rooms", len(rooms), 0)
}

func TestEventsRightBehindConnectWaitForASlowOnConnect(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	release := make(chan struct{})
	r.OnConnect(func(_ context.Context, s *core.Socket) error {
		_ = s.Emit("hello")
		<-release
		core.On(s, "e", func(_ context.Context, s *core.Socket, v int) error { return s.Emit("echo", v) })
		return nil
	})
	for _, transport := range []string{"websocket", "polling"} {
		c := testutil.MustDial(t, r.url, testutil.ClientOptions{Transports: []string{transport}})
		for i := range 50 {
			if err := c.Emit("e", i); err != nil {
				t.Fatal(err)
			}
		}
		c.Expect(t, "hello")
		select {
		case <-release:
		default:
			close(release)
		}
		for i := range 50 {
			equal(t, transport, c.Expect(t, "echo").At(0), any(float64(i)))
		}
	}
}

func TestAnEventInTheSameSegmentAsConnectIsNotLost(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	core.OnAck(r, "e", func(context.Context, *core.Socket, none) (bool, error) { return true, nil })
	for range 50 { // the reply is written after the socket can be found
		e := r.bare(t)
		send(t, e, "0", `21["e"]`)
		if got := read(t, e); !strings.HasPrefix(got, `0{`) {
			t.Fatalf("got %s", got)
		}
		equal(t, "acknowledgement", read(t, e), "31[true]")
		_ = e.Close()
	}
}

func TestConnectTimeoutEndsWhoJoinsNothing(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{ConnectTimeout: time.Second})
	idle := r.bare(t)
	refused := r.bare(t)
	send(t, refused, "0/nowhere,")
	joined := r.engine(t)
	ended(t, idle)
	ended(t, refused)
	equal(t, "ConnectTimeouts", r.Stats().ConnectTimeouts, 2)
	core.OnAck(r, "e", func(context.Context, *core.Socket, none) (bool, error) { return true, nil })
	send(t, joined, `20["e"]`)
	equal(t, "the one that joined", read(t, joined), "30[true]")
}

func TestAConnectTimeoutOfAnyLengthIsSafe(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{ConnectTimeout: 1})
	for range 20 {
		if e, err := testutil.DialEngine(t.Context(), r.url, testutil.EngineOptions{}); err == nil {
			ended(t, e)
			_ = e.Close()
		}
	}
	equal(t, "ConnectTimeouts", r.Stats().ConnectTimeouts, 20)
}
