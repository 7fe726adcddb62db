package presence_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
	"github.com/socketfleet/socketfleet/presence"
)

// wait bounds everything a test waits for.
const wait = 30 * time.Second

// profile is what clients tell of themselves.
type profile struct {
	Name string `json:"name"`
}

// node is a server of a cluster, with presence. Every socket names its user as its
// auth and is tracked in the lobby.
type node struct {
	*core.Server
	p   *presence.Presence
	url string
	log chan string // what listeners heard
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func startNode(t *testing.T, o core.Options, po presence.Options) *node {
	t.Helper()
	o.Logger, po.Logger = quiet(), quiet()
	srv, err := core.New(t.Context(), &o)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Server: srv, log: make(chan string, 1000)}
	h := httptest.NewServer(srv)
	n.url = h.URL
	if n.p, err = presence.New(srv.Namespace, po); err != nil {
		t.Fatal(err)
	}
	hear := func(e presence.Event) { n.log <- fmt.Sprint(e.Type, " ", e.Key) }
	n.p.OnJoin(hear)
	n.p.OnLeave(hear)
	srv.OnConnect(func(ctx context.Context, s *core.Socket) error {
		var auth struct{ User string }
		if err := json.Unmarshal(s.Handshake().Auth(), &auth); err != nil {
			return err
		}
		return n.p.Track(ctx, s, "lobby", auth.User, profile{auth.User})
	})
	t.Cleanup(h.Close)
	t.Cleanup(func() { n.stop(t) })
	return n
}

func (n *node) stop(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if err := n.p.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := n.Shutdown(ctx); err != nil && !errors.Is(err, core.ErrClosed) {
		t.Errorf("Shutdown: %v", err)
	}
}

func (n *node) dial(t *testing.T, user string) *testutil.Client {
	t.Helper()
	return testutil.MustDial(t, n.url, testutil.ClientOptions{Auth: map[string]string{"user": user}})
}

// heard expects the next thing the listeners heard.
func (n *node) heard(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-n.log:
		if got != want {
			t.Fatalf("heard %q, want %q", got, want)
		}
	case <-time.After(wait):
		t.Fatalf("heard nothing, want %q", want)
	}
}

// lists waits until the lobby's members are these.
func (n *node) lists(t *testing.T, want string) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(wait); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		list, err := n.p.List(t.Context(), "lobby")
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, m := range list {
			keys = append(keys, fmt.Sprint(m.Key, len(m.Sockets)))
		}
		if got = strings.Join(keys, " "); got == want {
			return
		}
	}
	t.Fatalf("%s lists %q, want %q", n.NodeID(), got, want)
}

func TestPresenceOnOneNode(t *testing.T) {
	t.Parallel()
	n := startNode(t, core.Options{}, presence.Options{Event: "presence"})
	ann := n.dial(t, "ann")
	n.heard(t, "join ann")
	bob := n.dial(t, "bob")
	n.heard(t, "join bob")
	again := n.dial(t, "bob")
	n.lists(t, "ann1 bob2")
	for {
		var e presence.Event
		if err := ann.Expect(t, "presence").Decode(0, &e); err != nil {
			t.Fatal(err)
		}
		if e.Key == "bob" {
			if e.Type != presence.Join || e.Room != "lobby" || string(e.Meta) != `{"name":"bob"}` {
				t.Errorf("client got %+v", e)
			}
			break
		}
	}
	bob.Close()
	n.lists(t, "ann1 bob1")
	again.Close()
	n.heard(t, "leave bob")
	n.lists(t, "ann1")
	s, _ := n.Socket(ann.ID())
	if err := n.SocketsLeave(t.Context(), "lobby"); err != nil { // not the presence's doing
		t.Fatal(err)
	}
	n.heard(t, "leave ann")
	if err := n.p.Track(t.Context(), s, "lobby", "ann", nil); err != nil || !slices.Contains(s.Rooms(), "lobby") {
		t.Error(err, s.Rooms())
	}
	n.heard(t, "join ann")
	n.p.Untrack(s, "lobby")
	n.heard(t, "leave ann")
	if !slices.Contains(s.Rooms(), "lobby") {
		t.Error("Untrack has taken the socket out of the room")
	}
}
