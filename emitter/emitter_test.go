package emitter

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	_ "github.com/socketfleet/socketfleet/adapter/memory"
	"github.com/socketfleet/socketfleet/adapter/redis"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

const patience = 30 * time.Second

// wires are the adapters that join nodes over Redis: a scheme and parameters.
var wires = map[string][]string{
	"classic":                           {"redis"},
	"classic, own response channels":    {"redis", "specific_response_channel", "true"},
	"sharded, dynamic":                  {"redis+sharded"},
	"sharded, dynamic-private":          {"redis+sharded", "mode", "dynamic-private"},
	"sharded, static":                   {"redis+sharded", "mode", "static"},
	"streams":                           {"redis+streams"},
	"three streams, sharded pubsub too": {"redis+streams", "stream_count", "3", "sharded_pubsub", "true"},
}

// urlOf returns the URL of a deployment of its own on a server.
func urlOf(t *testing.T, wire []string, addr string, params ...string) string {
	t.Helper()
	key := testutil.Prefix(t)
	q := url.Values{"key": {key}}
	if wire[0] == "redis+streams" {
		q.Set("stream", key+"stream")
	}
	params = slices.Concat(wire[1:], params)
	for i := 0; i < len(params); i += 2 {
		q.Add(params[i], params[i+1])
	}
	return wire[0] + "://" + addr + "?" + q.Encode()
}

// node is one node with one socket.
type node struct {
	host *adaptertest.Host
	a    adapter.Adapter
	sock *adaptertest.Socket
}

func join(t *testing.T, p adapter.Provider, id, ns string) *node {
	t.Helper()
	n := &node{host: adaptertest.NewHost(ns, id), sock: adaptertest.NewSocket(id + "-socket-with-20-ch")}
	var err error
	if n.a, err = p.Open(t.Context(), n.host); err != nil {
		t.Fatal(err)
	}
	n.a.Join(n.sock, n.sock.ID())
	n.sock.SetAnswer(func(*adapter.Packet) *adapter.Packet { return answer(id) })
	n.host.SetAnswer(func(*adapter.Packet) *adapter.Packet { return answer(id) })
	return n
}

func answer(text string) *adapter.Packet { return &adapter.Packet{Data: []byte(`["` + text + `"]`)} }

func startNode(t *testing.T, rawURL, id, ns string) *node {
	t.Helper()
	p, err := adapter.Open(t.Context(), rawURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(t, p) })
	return join(t, p, id, ns)
}

func closeAll(t *testing.T, c interface{ Close(context.Context) error }) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
}

func start(t *testing.T, rawURL string, opts *Options) *Emitter {
	t.Helper()
	e, err := Open(t.Context(), rawURL, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(t, e) })
	return e
}

func (n *node) got(event string) *adapter.Packet {
	for _, r := range n.sock.Received() {
		if strings.HasPrefix(string(r.Packet.Data), `["`+event+`"`) {
			return r.Packet
		}
	}
	return nil
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("gave up waiting until %s", what)
		}
	}
}

func all(nodes []*node, ok func(n *node) bool) bool {
	return !slices.ContainsFunc(nodes, func(n *node) bool { return !ok(n) })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEveryWire(t *testing.T) {
	t.Parallel()
	for name, wire := range wires {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rawURL := urlOf(t, wire, testutil.SharedRedis(t).Addr())
			for _, ns := range []string{"/", "/notifications"} { // the hash of the second is negative
				nodes := []*node{startNode(t, rawURL, "a", ns), startNode(t, rawURL, "b", ns)}
				e := start(t, rawURL, &Options{Replies: true})
				publishes(t, e.Of(ns), nodes)
				asks(t, e.Of(ns), nodes)
				isNoNode(t, e.Of(ns), nodes)
				disconnects(t, e.Of(ns), nodes)
			}
		})
	}
}

var serial atomic.Int64

// heard emits until every node of nodes has an event: subscriptions to rooms take
// a moment in some modes.
func heard(t *testing.T, o Operator, nodes ...*node) {
	t.Helper()
	poll(t, "a room is heard", func() bool {
		event := fmt.Sprintf("probe-%d", serial.Add(1))
		must(t, o.Emit(event))
		for range 20 {
			if all(nodes, func(n *node) bool { return n.got(event) != nil }) {
				return true
			}
			<-time.After(2 * time.Millisecond)
		}
		return false
	})
}

// publishes shows what needs no answer.
func publishes(t *testing.T, o Operator, nodes []*node) {
	t.Helper()
	ctx, a, b := t.Context(), nodes[0], nodes[1]
	must(t, o.SocketsJoin(ctx, "r", "out"))
	poll(t, "the sockets have joined", func() bool {
		return all(nodes, func(n *node) bool { return len(n.a.RoomsOf(n.sock)) == 3 })
	})
	must(t, o.RemoteSocket(a.sock.ID()).Leave(ctx, "out"))
	poll(t, "one has left", func() bool { return len(a.a.RoomsOf(a.sock)) == 2 })
	must(t, o.RemoteSocket(a.sock.ID()).Join(ctx, "own"))
	must(t, o.In("own").SocketsLeave(ctx, "own"))
	heard(t, o.To("r"), a, b)
	must(t, o.Except("r").Emit("nobody"))
	must(t, o.To("r").Except("out").Emit("one", map[string]any{"bin": []byte("x")}))
	must(t, o.RemoteSocket(b.sock.ID()).Emit("direct", 1))
	must(t, o.Volatile().Compress(false).Emit("flags"))
	must(t, o.To("r", "out").Emit("several"))
	must(t, o.Emit("last"))
	poll(t, "the last event has arrived", func() bool {
		return all(nodes, func(n *node) bool { return n.got("last") != nil && n.got("several") != nil })
	})
	if p := a.got("one"); p == nil || !strings.HasPrefix(string(p.Data), `["one",{"bin":`) || len(p.Attachments) != 1 {
		t.Errorf("the event with binary arrived as %+v", p)
	}
	poll(t, "the event for one socket has arrived", func() bool { return b.got("direct") != nil })
	if b.got("one") != nil || a.got("direct") != nil || a.got("nobody") != nil || b.got("nobody") != nil {
		t.Error("an event went to the wrong socket")
	}
	for _, r := range a.sock.Received() {
		if strings.HasPrefix(string(r.Packet.Data), `["flags"`) && r.Flags != adapter.Volatile|adapter.NoCompress {
			t.Errorf("flags %v", r.Flags)
		}
	}
	must(t, o.ServerSideEmit("hi", 1))
	poll(t, "the nodes have the server-side event", func() bool {
		return all(nodes, func(n *node) bool { return len(n.host.ServerEvents()) == 1 })
	})
}

// asks shows what needs an answer.
func asks(t *testing.T, o Operator, nodes []*node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	want := []string{"a", "b"}
	if n, err := o.ServerCount(ctx); n != 2 || err != nil {
		t.Errorf("%d nodes, %v", n, err)
	}
	if got := collect(t, BroadcastWithAck[string](ctx, o, "ask", []byte("x"))); !slices.Equal(got, want) {
		t.Errorf("answers %v", got)
	}
	if got := collect(t, ServerSideEmitWithAck[string](ctx, o, "ask")); !slices.Equal(got, want) {
		t.Errorf("answers of nodes %v", got)
	}
	b := nodes[1]
	if got, err := EmitWithAck[string](ctx, o.RemoteSocket(b.sock.ID()), "ask"); got != "b" || err != nil {
		t.Errorf("answer %q, %v", got, err)
	}
	if _, err := EmitWithAck[string](ctx, o.RemoteSocket("nobody"), "ask"); !errors.Is(err, ErrNoSocket) {
		t.Errorf("nobody: %v", err)
	}
	list, err := o.To("r").FetchSockets(ctx)
	if len(list) != 2 || err != nil {
		t.Errorf("sockets %v, %v", list, err)
	}
	for _, s := range list {
		if s.ID() == b.sock.ID() && !slices.Equal(slices.Sorted(slices.Values(s.Rooms())), []string{s.ID(), "out", "r"}) {
			t.Errorf("rooms %v", s.Rooms())
		}
	}
	partial(t, o, nodes)
}

// partial shows what a silent socket and a silent node leave.
func partial(t *testing.T, o Operator, nodes []*node) {
	t.Helper()
	nodes[0].sock.SetAnswer(nil)
	nodes[0].host.SetAnswer(nil)
	for what, ask := range map[string]func(ctx context.Context) []string{
		"socket": func(ctx context.Context) []string { return partially(t, BroadcastWithAck[string](ctx, o, "ask")) },
		"node":   func(ctx context.Context) []string { return partially(t, ServerSideEmitWithAck[string](ctx, o, "ask")) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if got := ask(ctx); !slices.Equal(got, []string{"b"}) {
			t.Errorf("with a silent %s: %v", what, got)
		}
		cancel()
	}
}

func collect(t *testing.T, seq func(func(AckReply[string], error) bool)) (got []string) {
	t.Helper()
	for r, err := range seq {
		if err != nil {
			t.Error(err)
		}
		got = append(got, r.Value)
	}
	slices.Sort(got)
	return got
}

func partially(t *testing.T, seq func(func(AckReply[string], error) bool)) (got []string) {
	t.Helper()
	var last error
	for r, err := range seq {
		if last = err; err == nil {
			got = append(got, r.Value)
		}
	}
	var pe *adapter.PartialError
	if !errors.As(last, &pe) || pe.Missing != 1 || !errors.Is(last, context.DeadlineExceeded) {
		t.Errorf("it ended with %v", last)
	}
	return got
}

// isNoNode shows that the nodes count and wait for each other only, after the
// emitter has asked.
func isNoNode(t *testing.T, o Operator, nodes []*node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, n := range nodes {
		if count, err := n.a.ServerCount(ctx); count != 2 || err != nil {
			t.Errorf("%d nodes, %v: an emitter is none", count, err)
		}
	}
	nodes[0].host.SetAnswer(func(*adapter.Packet) *adapter.Packet { return answer("a") })
	for r, err := range nodes[1].a.ServerSideEmitWithAck(ctx, answer("who")) {
		if err != nil || string(r.Packet.Data) != `["a"]` {
			t.Errorf("%+v, %v", r, err)
		}
	}
	short, end := context.WithTimeout(ctx, 300*time.Millisecond)
	defer end()
	nodes[0].host.SetAnswer(nil)
	for _, err := range nodes[1].a.ServerSideEmitWithAck(short, answer("who")) {
		var pe *adapter.PartialError
		if errors.As(err, &pe) && slices.ContainsFunc(pe.Nodes, cluster.IsEmitter) {
			t.Errorf("an emitter is blamed: %v", err)
		}
	}
}

func disconnects(t *testing.T, o Operator, nodes []*node) {
	t.Helper()
	must(t, o.To("out").DisconnectSockets(t.Context(), true))
	gone := func(n *node) bool { gone, _ := n.host.Disconnected(n.sock.ID()); return gone }
	poll(t, "a socket is disconnected", func() bool { return gone(nodes[1]) })
	if gone(nodes[0]) {
		t.Error("the other socket is disconnected too")
	}
	must(t, o.RemoteSocket(nodes[0].sock.ID()).Disconnect(t.Context(), false))
	poll(t, "the other is disconnected", func() bool { return gone(nodes[0]) })
}

// An emitter that does not ask has no subscription at all, and reads no stream.
func TestWithoutRepliesNothingIsSubscribedTo(t *testing.T) {
	t.Parallel()
	for name, wire := range wires {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testutil.LocalRedis(t)
			e := start(t, urlOf(t, wire, server.Addr()), nil)
			must(t, e.Emit("x"))
			must(t, e.Flush(t.Context()))
			c := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
			defer c.Close()
			list, err := c.ClientList(t.Context()).Result()
			must(t, err)
			for line := range strings.Lines(list) {
				if !strings.Contains(line, " sub=0 psub=0 ssub=0 ") || strings.Contains(line, "cmd=xread") {
					t.Errorf("a connection listens: %s", line)
				}
			}
			for _, err := range []error{
				second(e.FetchSockets(t.Context())), second(e.ServerCount(t.Context())),
				second(EmitWithAck[any](t.Context(), e.RemoteSocket("x"), "x")),
				lastOf(BroadcastWithAck[any](t.Context(), e.Operator, "x")),
				lastOf(ServerSideEmitWithAck[any](t.Context(), e.Operator, "x")),
			} {
				if !errors.Is(err, ErrNoReplies) {
					t.Errorf("asking without Replies: %v", err)
				}
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

func lastOf(seq func(func(AckReply[any], error) bool)) (last error) {
	for _, err := range seq {
		last = err
	}
	return last
}

func TestAClientOfTheProgram(t *testing.T) {
	t.Parallel()
	c := goredis.NewClient(&goredis.Options{Addr: testutil.SharedRedis(t).Addr()})
	defer c.Close()
	key := testutil.Prefix(t)
	p, err := redis.New(c, &redis.Options{Key: key})
	must(t, err)
	e, err := New(p, nil)
	must(t, err)
	n := startNode(t, "redis://"+testutil.SharedRedis(t).Addr()+"?key="+key, "a", "/")
	must(t, e.Emit("x"))
	poll(t, "the event has arrived", func() bool { return n.got("x") != nil })
	closeAll(t, e)
	must(t, c.Ping(t.Context()).Err())
	if err := e.Emit("x"); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("emit after Close: %v", err)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"memory://":                    "joins no nodes",
		"http://h":                     "unknown adapter scheme",
		"redis://h?stream=x":           "stream",
		"redis://:pw@127.0.0.1:1":      "does not answer",
		"redis+sharded://h?mode=other": "mode",
		"redis://h:%zz":                "parsed",
	} {
		e, err := Open(t.Context(), raw, nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pw@") {
			t.Errorf("%s: %v, %v", raw, e, err)
		}
	}
	e := start(t, urlOf(t, wires["classic"], testutil.SharedRedis(t).Addr()), &Options{Replies: true})
	for _, err := range []error{
		e.Emit("connect"), e.ServerSideEmit("connection"),
		second(EmitWithAck[any](t.Context(), e.RemoteSocket("x"), "disconnect")),
		lastOf(ServerSideEmitWithAck[any](t.Context(), e.Operator, "new_namespace")),
	} {
		if !errors.Is(err, ErrReserved) {
			t.Errorf("a reserved name: %v", err)
		}
	}
	if err := e.Emit("x", func() {}); err == nil {
		t.Error("a function was encoded")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.FetchSockets(ctx); err == nil {
		t.Error("an ended context is no error")
	}
	if list, err := e.FetchSockets(t.Context()); len(list) != 0 || err != nil {
		t.Errorf("without nodes: %v, %v", list, err)
	}
}

// Many first requests of one namespace share one subscription.
func TestFirstRequestsAtOnce(t *testing.T) {
	t.Parallel()
	rawURL := urlOf(t, wires["classic"], testutil.SharedRedis(t).Addr())
	startNode(t, rawURL, "a", "/")
	e := start(t, rawURL, &Options{Replies: true})
	errs := make(chan error)
	for range 8 {
		go func() { errs <- second(e.FetchSockets(t.Context())) }()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
