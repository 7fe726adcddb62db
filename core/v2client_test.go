package core_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/socketfleet/socketfleet/core"
)

// v2Client is a client of Socket.IO 2.x on HTTP long-polling.
type v2Client struct {
	t        *testing.T
	url, sid string
	packets  []string // received and not yet read
}

func (r *rig) v2(t *testing.T) *v2Client {
	t.Helper()
	c := &v2Client{t: t, url: r.url + "/socket.io/?EIO=3&transport=polling"}
	open := c.next()
	var ok bool
	if _, open, ok = strings.Cut(open, `"sid":"`); !ok {
		t.Fatalf("open packet %q", open)
	}
	c.sid, _, _ = strings.Cut(open, `"`)
	c.url += "&sid=" + c.sid
	return c
}

func (c *v2Client) do(method string, body io.Reader) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), wait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.url, body)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	c.t.Cleanup(http.DefaultClient.CloseIdleConnections)
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		c.t.Fatalf("%s: %s %s %v", method, resp.Status, text, err)
	}
	return string(text)
}

// next returns the next Engine.IO packet. The tests use ASCII only.
func (c *v2Client) next() string {
	c.t.Helper()
	if len(c.packets) == 0 {
		for text := c.do(http.MethodGet, nil); text != ""; {
			var n int
			if _, err := fmt.Sscanf(text, "%d:", &n); err != nil {
				c.t.Fatalf("payload %q", text)
			}
			_, text, _ = strings.Cut(text, ":")
			c.packets = append(c.packets, text[:n])
			text = text[n:]
		}
	}
	p := c.packets[0]
	c.packets = c.packets[1:]
	return p
}

func (c *v2Client) send(packet string) {
	c.t.Helper()
	c.do(http.MethodPost, strings.NewReader(fmt.Sprintf("%d:%s", len(packet), packet)))
}

func (c *v2Client) want(packet string) {
	c.t.Helper()
	if got := c.next(); got != packet {
		c.t.Fatalf("received %q, want %q", got, packet)
	}
}

func TestAClientOfSocketIO2IsInTheRootNamespace(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{AllowEIO3: true, Recovery: &core.RecoveryOptions{}})
	core.OnAck(r.Server, "who", func(_ context.Context, s *core.Socket, v string) (string, error) { return s.ID() + v, nil })
	c := r.v2(t)
	c.want("40")
	c.send(`4212["who","?"]`)
	c.want(`4312["` + c.sid + `?"]`)
	if err := r.RemoteSocket(c.sid).Emit("direct", 1); err != nil {
		t.Fatal(err)
	}
	if got := c.next(); !strings.HasPrefix(got, `42["direct",1`) {
		t.Fatalf("received %q", got)
	}
}

func TestANamespaceQueryOfSocketIO2IsItsAuth(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{AllowEIO3: true})
	r.Of("/chat%20room").OnConnect(func(_ context.Context, s *core.Socket) error {
		return s.Emit("hello", s.ID(), string(s.Handshake().Auth()))
	})
	c := r.v2(t)
	c.want("40")
	c.send("40/x/../chat room?token=a+b%21&token=c&x,")
	c.want("40/chat%20room,")
	c.want(`42/chat%20room,["hello","/chat%20room#` + c.sid + `","{\"token\":\"c\",\"x\":\"\"}"]`)
	c.send("41/chat room,")
	c.send("40/nowhere,")
	c.want(`44/nowhere,{"message":"Invalid namespace"}`)
}

func TestAMiddlewareRefusesAClientOfSocketIO2(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		err  error
		want string
	}{
		{"message", errors.New("go \"away\""), `44/guarded,"go \"away\""`},
		{"data", &core.ConnectError{Message: "no", Data: map[string]int{"code": 7}}, `44/guarded,{"code":7}`},
		{"data that JavaScript takes for false", &core.ConnectError{Message: "no", Data: 0}, `44/guarded,"no"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, &core.Options{AllowEIO3: true})
			r.Of("/guarded").Use(func(context.Context, *core.Socket) error { return tc.err })
			c := r.v2(t)
			c.want("40")
			c.send("40/guarded,")
			c.want(tc.want)
		})
	}
}

func TestARoomOfAClientOfSocketIO2(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{AllowEIO3: true})
	core.On(r.Server, "tell", func(_ context.Context, s *core.Socket, id string) error { return s.To(id).Emit("told", s.ID()) })
	a, b := r.v2(t), r.v2(t)
	a.want("40")
	b.want("40")
	a.send(`42["tell","` + b.sid + `"]`)
	b.want(`42["told","` + a.sid + `"]`)
}

func TestWithoutTheOptionClientsOfSocketIO2AreRefused(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	resp, err := http.Get(r.url + "/socket.io/?EIO=3&transport=polling")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	if body, _ := io.ReadAll(resp.Body); string(body) != `{"code":5,"message":"Unsupported protocol version"}` {
		t.Errorf("%s %s", resp.Status, body)
	}
}
