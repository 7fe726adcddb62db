package testutil

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/internal/engineio"
)

var transports = map[string][]string{
	"websocket": {"websocket"},
	"polling":   {"polling"},
	"upgrade":   {"polling", "websocket"},
}

// overEach runs a test over each choice of transports.
func overEach(t *testing.T, test func(t *testing.T, c *Client)) {
	for name, list := range transports {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeServer(t, engineio.Options{})
			c := MustDial(t, f.URL, ClientOptions{Transports: list})
			if name == "upgrade" {
				select {
				case <-c.Engine().Upgraded():
				case <-timeout(t).Done():
					t.Fatal("no upgrade")
				}
			}
			if want := strings.Replace(name, "upgrade", "websocket", 1); c.Engine().Transport() != want {
				t.Fatalf("transport %s, want %s", c.Engine().Transport(), want)
			}
			test(t, c)
		})
	}
}

func TestEventsGoBothWays(t *testing.T) {
	t.Parallel()
	overEach(t, func(t *testing.T, c *Client) {
		args := []any{"text", 1.0, []byte{0, 1, 0xff}, map[string]any{"deep": []any{[]byte("x"), nil}}}
		for range 3 {
			if err := c.Emit("echo", args...); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			if got := c.Expect(t, "echo"); !reflect.DeepEqual(got.All(), args) {
				t.Errorf("got %v, want %v", got.All(), args)
			}
		}
		if !c.Connected() || c.ID() == "" || c.Connects() != 1 || c.Reason() != "" || len(c.Pending()) != 0 {
			t.Errorf("connected %v as %q, %d times, reason %q, %d events left", c.Connected(), c.ID(), c.Connects(), c.Reason(), len(c.Pending()))
		}
	})
}

func TestAcknowledgementsGoBothWays(t *testing.T) {
	t.Parallel()
	overEach(t, func(t *testing.T, c *Client) {
		got, err := c.EmitWithAck(timeout(t), "echo", "a", []byte("b"))
		if err != nil || !reflect.DeepEqual(got.All(), []any{"a", []byte("b")}) {
			t.Fatalf("got %v, %v", got, err)
		}
		if err := c.Emit("ask"); err != nil {
			t.Fatal(err)
		}
		q := c.Expect(t, "question")
		if id, ok := q.ID(); !ok || id != 5 {
			t.Errorf("id %d, %v", id, ok)
		}
		if err := q.Ack("yes", []byte("bin")); err != nil {
			t.Fatal(err)
		}
		a := c.Expect(t, "")
		if a.Name != "answer" || !reflect.DeepEqual(a.All(), []any{"yes", []byte("bin")}) {
			t.Errorf("got %v", a)
		}
		if err := a.Ack(); err == nil {
			t.Error("acknowledged what asked for nothing")
		}
	})
}

func TestHandlersSeeEventsInOrder(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, engineio.Options{})
	c := MustDial(t, f.URL, ClientOptions{})
	seen := make(chan any, 100)
	c.OnAny(func(a Args) { seen <- a.Name })
	c.On("n", func(a Args) {
		got, err := c.EmitWithAck(timeout(t), "echo", a.At(0)) // must not deadlock
		if err != nil {
			t.Error(err)
			return
		}
		seen <- got.At(0)
	})
	for i := range 3 {
		if err := c.Emit("n", i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		if name, n := <-seen, <-seen; name != "n" || n != float64(i) {
			t.Errorf("got %v %v, want n %d", name, n, i)
		}
	}
}

func TestNamespaces(t *testing.T) {
	t.Parallel()
	overEach(t, func(t *testing.T, c *Client) {
		admin, err := c.Of(timeout(t), "/admin", map[string]string{"token": "t"})
		if err != nil {
			t.Fatal(err)
		}
		if err := admin.Emit("echo", "admin"); err != nil {
			t.Fatal(err)
		}
		if got := admin.Expect(t, "echo"); got.At(0) != "admin" || len(c.Pending()) != 0 {
			t.Errorf("got %v, and %v elsewhere", got, c.Pending())
		}
		var refused *ConnectError
		if _, err := c.Of(timeout(t), "/forbidden", nil); !errors.As(err, &refused) || refused.Message != "no entry" || string(refused.Data) != `{"code":7}` {
			t.Errorf("got %v", err)
		}
		if err := admin.Disconnect(); err != nil {
			t.Fatal(err)
		}
		if reason, err := admin.WaitDisconnect(timeout(t)); err != nil || reason != "io client disconnect" || !c.Connected() {
			t.Errorf("reason %q, %v", reason, err)
		}
		if _, err := c.Of(timeout(t), "/admin", nil); err != nil || admin.Connects() != 2 {
			t.Errorf("again: %v, connected %d times", err, admin.Connects())
		}
	})
}

func TestDisconnectReasons(t *testing.T) {
	t.Parallel()
	for event, want := range map[string]string{"kick": "io server disconnect", "die": "transport close", "garbage": "parse error"} {
		t.Run(event, func(t *testing.T) {
			overEach(t, func(t *testing.T, c *Client) {
				_ = c.Emit(event) // the end may be faster than the answer to the POST
				reason, err := c.WaitDisconnect(timeout(t))
				if err != nil || reason != want || c.Reason() != want || c.Connected() {
					t.Errorf("reason %q, %v; want %q", reason, err, want)
				}
			})
		})
	}
}

func TestAuthQueryAndHeadersReachTheServer(t *testing.T) {
	t.Parallel()
	got := make(chan *http.Request, 1)
	f := newFakeServer(t, engineio.Options{AllowRequest: func(r *http.Request) error {
		got <- r
		return nil
	}})
	MustDial(t, f.URL, ClientOptions{Auth: map[string]any{"token": "t"}, Query: url.Values{"q": {"1"}}, Header: http.Header{"X-Test": {"h"}}})
	r := <-got
	if r.URL.Query().Get("q") != "1" || r.Header.Get("X-Test") != "h" || r.URL.Path != "/socket.io/" {
		t.Errorf("got %s %v", r.URL, r.Header)
	}
	if auth := <-f.auths; auth != `{"token":"t"}` {
		t.Errorf("auth %s", auth)
	}
}

func TestRefusedHandshakes(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, engineio.Options{AllowRequest: func(*http.Request) error { return errors.New("no") }})
	for name, list := range transports {
		var refused *HTTPError
		if _, err := Dial(timeout(t), f.URL, ClientOptions{Transports: list}); !errors.As(err, &refused) || refused.Status < 400 {
			t.Errorf("%s: got %v", name, err)
		}
	}
	var refused *ConnectError
	f = newFakeServer(t, engineio.Options{})
	if _, err := Dial(timeout(t), f.URL, ClientOptions{Namespace: "/forbidden"}); !errors.As(err, &refused) {
		t.Errorf("namespace: got %v", err)
	}
}

func TestReconnectionRecovers(t *testing.T) {
	t.Parallel()
	for name, list := range transports {
		t.Run(name, func(t *testing.T) {
			f := newFakeServer(t, engineio.Options{})
			c := MustDial(t, f.URL, ClientOptions{Transports: list, Namespace: "/recover", Auth: map[string]int{"v": 1}, Reconnect: true, ReconnectDelay: time.Millisecond})
			if err := c.Emit("echo", "off1"); err != nil {
				t.Fatal(err)
			}
			c.Expect(t, "echo")
			if c.PID() != "secret" || c.Offset() != "off1" || c.Recovered() {
				t.Fatalf("pid %q, offset %q, recovered %v", c.PID(), c.Offset(), c.Recovered())
			}
			<-f.auths
			c.Engine().Abort()
			if got := c.Expect(t, "missed"); got.At(0) != "off2" {
				t.Errorf("got %v", got)
			}
			if reason, err := c.WaitDisconnect(timeout(t)); reason != "transport close" {
				t.Errorf("reason %q, %v", reason, err)
			}
			if err := c.WaitConnected(timeout(t)); err != nil || !c.Recovered() || c.Connects() != 2 || c.Offset() != "off2" {
				t.Errorf("recovered %v, connected %d times, offset %q, %v", c.Recovered(), c.Connects(), c.Offset(), err)
			}
			if auth := <-f.auths; auth != `{"offset":"off1","pid":"secret","v":1}` {
				t.Errorf("auth %s", auth)
			}
		})
	}
}

func TestWaitsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, engineio.Options{})
	c := MustDial(t, f.URL, ClientOptions{})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := c.Next(ctx, "never"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Next: %v", err)
	}
	if _, err := c.WaitDisconnect(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitDisconnect: %v", err)
	}
	c.Close()
	if err := c.Emit("late"); err == nil {
		t.Error("Emit after Close")
	}
	if _, err := c.EmitWithAck(timeout(t), "late"); err == nil {
		t.Error("EmitWithAck after Close")
	}
	if c.Reason() != "io client disconnect" {
		t.Errorf("reason %q", c.Reason())
	}
}
