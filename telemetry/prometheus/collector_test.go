package prometheus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/socketfleet/socketfleet/core"
)

func TestATraveledBroadcastShowsOnEveryNode(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3)
	var clients []*client
	for _, n := range nodes {
		core.On(n, "shout", func(ctx context.Context, _ *core.Socket, text string) error {
			return n.To("room").WithContext(ctx).Emit("heard", text)
		})
		n.OnConnect(func(_ context.Context, s *core.Socket) error { return s.Join("room") })
		clients = append(clients, n.dial("/"), n.dial("/"))
	}
	for _, n := range nodes {
		n.want(2, "socketio_sockets", "namespace", "/")
		n.want(2, "socketio_connects_total", "namespace", "/")
		n.want(1, "socketio_rooms", "namespace", "/")
		n.want(2, "socketio_engine_sessions", "transport", "websocket")
		n.want(2, "socketio_engine_handshake_duration_seconds", "transport", "websocket")
	}
	clients[0].send(`42["shout","hi"]`)
	for _, c := range clients {
		c.read(`42["heard","hi"]`)
	}
	nodes[0].want(1, "socketio_events_received_total", "namespace", "/", "event", "shout")
	nodes[0].want(1, "socketio_event_handler_duration_seconds", "namespace", "/", "event", "shout")
	nodes[0].want(1, "socketio_broadcasts_total", "namespace", "/", "scope", "cluster")
	for _, n := range nodes {
		n.want(1, "socketio_broadcast_recipients", "namespace", "/")
		n.want(1, "socketio_adapter_up")
	}
	for _, n := range nodes[1:] {
		n.want(1, "socketio_adapter_received_total", "kind", "broadcast")
		n.want(0, "socketio_broadcasts_total")
	}
	if _, err := nodes[1].FetchSockets(t.Context()); err != nil {
		t.Error(err)
	}
	nodes[1].want(1, "socketio_adapter_request_duration_seconds", "op", "fetch_sockets", "result", "ok")
	if nodes[0].value("socketio_adapter_publish_batch_size") == 0 {
		t.Error("no batch was counted")
	}
}

// The number of series must not depend on what clients send.
func TestNamesThatClientsChooseMakeNoSeries(t *testing.T) {
	t.Parallel()
	n := startNode(t, core.Options{}, nil)
	n.OfPattern(regexp.MustCompile(`^/room-\d+$`))
	core.On(n, "known", func(context.Context, *core.Socket, any) error { return nil })
	core.OnAck(n, "last", func(context.Context, *core.Socket, any) (string, error) { return "ok", nil })
	c := n.dial("/")
	round := func(k int) {
		for i := range k {
			c.send(fmt.Sprintf(`42["name-%d-%d"]`, k, i))
			c.send(fmt.Sprintf(`40/nowhere-%d-%d,`, k, i))
			c.read("44/nowhere")
		}
		n.dial(fmt.Sprintf("/room-%d", k))
		c.send(`42["known"]`)
		c.send(`421["last"]`)
		c.read("431")
	}
	round(1)
	n.want(1, "socketio_events_received_total", "event", "_other")
	before := n.series()
	round(10_000)
	n.want(10_001, "socketio_events_received_total", "event", "_other")
	n.want(2, "socketio_sockets", "namespace", `^/room-\d+$`)
	n.want(10_001, "socketio_connect_errors_total", "namespace", "_unknown", "reason", "invalid_namespace")
	if after := n.series(); after != before {
		t.Errorf("%d series became %d", before, after)
	}
}

func TestEventsBeyondTheBoundShareOneName(t *testing.T) {
	t.Parallel()
	n := startNode(t, core.Options{}, &Options{MaxEvents: 2})
	for i := range 4 {
		core.OnAck(n, fmt.Sprint("event-", i), func(context.Context, *core.Socket, any) (int, error) { return i, nil })
	}
	c := n.dial("/")
	for i := range 4 {
		c.send(fmt.Sprintf(`42%d["event-%d"]`, i, i))
		c.read(fmt.Sprintf("43%d", i))
	}
	n.want(1, "socketio_events_received_total", "event", "event-0")
	n.want(1, "socketio_events_received_total", "event", "event-1")
	n.want(2, "socketio_events_received_total", "event", "_other")
	n.want(2, "socketio_event_handler_duration_seconds", "event", "_other")
}

// A program that makes namespaces of names its clients choose makes no series
// either, beyond a bound.
func TestNamespacesBeyondTheBoundShareOneName(t *testing.T) {
	t.Parallel()
	n := startNode(t, core.Options{}, nil)
	for i := range 300 {
		n.Of(fmt.Sprint("/n", i))
	}
	c := n.dial("/n299")
	c.send(`42/n299,["what"]`)
	n.want(1, "socketio_events_received_total", "namespace", "_other")
	n.want(1, "socketio_sockets", "namespace", "_other")
	series := testutil.CollectAndCount(n.c, "socketio_sockets")
	if series > 257 {
		t.Errorf("%d series of one metric", series)
	}
}

func TestFailuresAreCountedByNamespace(t *testing.T) {
	t.Parallel()
	n := startNode(t, core.Options{}, nil)
	chat := n.Of("/chat")
	core.On(chat, "fail", func(context.Context, *core.Socket, any) error { return errors.New("no") })
	core.On(chat, "panic", func(context.Context, *core.Socket, any) error { panic("no") })
	chat.Use(func(_ context.Context, s *core.Socket) error {
		var auth struct{ Bad bool }
		if err := json.Unmarshal(s.Handshake().Auth(), &auth); err != nil || auth.Bad {
			return errors.New("refused")
		}
		return nil
	})
	c := n.dial("/chat")
	c.send(`42/chat,["fail"]`)
	c.send(`42/chat,["panic"]`)
	c.send(`41/chat,`)
	n.want(1, "socketio_handler_errors_total", "namespace", "/chat")
	n.want(1, "socketio_handler_panics_total", "namespace", "/chat")
	n.want(1, "socketio_disconnects_total", "namespace", "/chat", "reason", "client_namespace_disconnect")
	n.want(0, "socketio_handler_errors_total", "namespace", "/")
	c.send(`40/chat,{"bad":true}`)
	c.read("44/chat")
	n.want(1, "socketio_connect_errors_total", "namespace", "/chat", "reason", "middleware")
}

func TestAcknowledgementsAreCounted(t *testing.T) {
	t.Parallel()
	n := startNode(t, core.Options{}, nil)
	sockets := make(chan *core.Socket, 1)
	n.OnConnect(func(_ context.Context, s *core.Socket) error { sockets <- s; return nil })
	n.dial("/")
	s := <-sockets
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := core.EmitWithAck[string](ctx, s, "ask")
		done <- err
	}()
	n.want(1, "socketio_acks_outstanding")
	cancel()
	<-done
	n.want(0, "socketio_acks_outstanding")
	n.want(0, "socketio_ack_timeouts_total")
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := core.EmitWithAck[string](ctx, s, "ask"); !errors.Is(err, core.ErrAckTimeout) {
		t.Fatal(err)
	}
	n.want(1, "socketio_ack_timeouts_total")
	n.want(2, "socketio_events_sent_total", "namespace", "/")
}

// Scrapes, traffic and connections at the same time, for the race detector.
func TestScrapesDisturbNobody(t *testing.T) {
	t.Parallel()
	n := startNode(t, core.Options{}, nil)
	core.OnAck(n, "ping", func(context.Context, *core.Socket, any) (string, error) { return "pong", nil })
	var wg sync.WaitGroup
	for range 4 {
		c := n.dial("/")
		wg.Go(func() {
			for i := range 100 {
				c.send(fmt.Sprintf(`42%d["ping"]`, i))
				c.read(fmt.Sprintf("43%d", i))
			}
		})
		wg.Go(func() {
			for range 50 {
				if _, err := n.registry.Gather(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	n.want(400, "socketio_events_received_total", "event", "ping")
}

func TestAClosedCollectorCountsNoMore(t *testing.T) {
	t.Parallel()
	n := startNode(t, core.Options{}, nil)
	core.OnAck(n, "ping", func(context.Context, *core.Socket, any) (string, error) { return "pong", nil })
	c := n.dial("/")
	_ = n.c.Close()
	c.send(`421["ping"]`)
	c.read("431")
	n.want(0, "socketio_events_received_total")
	n.want(1, "socketio_sockets")
}

func TestDrainingShows(t *testing.T) {
	t.Parallel()
	n := startNode(t, core.Options{}, nil)
	n.dial("/")
	n.want(0, "socketio_draining")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := n.Drain(ctx, core.DrainOptions{Grace: time.Hour})
		done <- err
	}()
	n.want(1, "socketio_draining")
	n.want(1, "socketio_drain_remaining_sessions")
	cancel()
	<-done
	n.want(0, "socketio_drain_remaining_sessions")
}

func TestTheHandlerServesText(t *testing.T) {
	t.Parallel()
	n := startNode(t, core.Options{}, &Options{Labels: map[string]string{"server": "a"}})
	rec := httptest.NewRecorder()
	Handler(n.c).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(rec.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`socketio_build_info{go_version="`, `socketio_draining{server="a"} 0`, "go_goroutines"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %s in the answer", want)
		}
	}
	problems, err := testutil.GatherAndLint(n.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
