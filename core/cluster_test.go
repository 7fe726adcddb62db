package core_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// node is one server of a cluster.
type node struct {
	*rig
	bus *cluster.LoopbackBus
}

// startCluster returns servers that share a loopback bus and know of each other.
func startCluster(t *testing.T, n int, opts core.Options) []node {
	t.Helper()
	loop := cluster.NewLoopback()
	nodes := make([]node, n)
	for i := range nodes {
		o := opts
		bus := loop.Bus()
		o.Adapter = cluster.NewProvider(bus, cluster.Options{RequestsTimeout: 2 * time.Second})
		o.NodeID = fmt.Sprint("node-", i)
		nodes[i] = node{start(t, &o), bus}
	}
	for _, r := range nodes {
		eventually(t, "the nodes know of each other", func() bool {
			count, err := r.ServerCount(t.Context())
			return err == nil && count == n
		})
	}
	return nodes
}

func TestARemoteSocketIsReachedFromEveryNode(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3, core.Options{})
	c := nodes[2].dial(t)
	answering(c, "ask")
	for i, r := range nodes {
		remote := r.RemoteSocket(c.ID())
		if err := remote.Emit("hello", i); err != nil {
			t.Error(err)
		}
		equal(t, "event", c.Expect(t, "hello").At(0), any(float64(i)))
		v, err := core.EmitWithAck[string](within(t, wait), remote, "ask", "from "+r.NodeID())
		equal(t, "answer", fmt.Sprint(v, err), "from "+r.NodeID()+"<nil>")
		blob, err := core.EmitWithAck[[]byte](within(t, wait), remote, "ask", []byte{byte(i)})
		equal(t, "binary answer", fmt.Sprint(blob, err), fmt.Sprintf("[%d] <nil>", i))
		exists, err := r.Exists(within(t, wait), c.ID())
		equal(t, "exists", fmt.Sprint(exists, err), "true <nil>")
		exists, err = r.Exists(within(t, wait), "nobody")
		equal(t, "nobody exists", fmt.Sprint(exists, err), "false <nil>")
		if _, err := core.EmitWithAck[string](within(t, wait), r.RemoteSocket("nobody"), "ask"); !errors.Is(err, core.ErrDisconnected) {
			t.Errorf("nobody answered with %v, want ErrDisconnected", err)
		}
	}
	if err := nodes[0].RemoteSocket(c.ID()).Join(within(t, wait), "room"); err != nil {
		t.Error(err)
	}
	s := nodes[2].socket(t, c)
	eventually(t, "the socket has joined", func() bool { return slices.Contains(s.Rooms(), "room") })
	if err := nodes[1].RemoteSocket(c.ID()).Disconnect(within(t, wait), true); err != nil {
		t.Error(err)
	}
	equal(t, "reason", reason(t, c.Socket), "io server disconnect")
}

func TestFetchSocketsTellsOfAllNodes(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3, core.Options{})
	for i, r := range nodes {
		s := r.socket(t, r.dial(t))
		if err := errors.Join(s.SetData(map[string]int{"n": i}), s.Join(fmt.Sprint("room-", i))); err != nil {
			t.Fatal(err)
		}
	}
	found, err := nodes[0].FetchSockets(within(t, wait))
	if err != nil || len(found) != 3 {
		t.Fatalf("%d sockets, %v", len(found), err)
	}
	seen := make(map[int]bool)
	for _, f := range found {
		var data struct{ N int }
		if err := f.Data(&data); err != nil {
			t.Error(err)
		}
		seen[data.N] = slices.Contains(f.Rooms(), fmt.Sprint("room-", data.N)) && len(f.Handshake()) > 2
	}
	equal(t, "sockets", fmt.Sprint(seen), "map[0:true 1:true 2:true]")
	one, err := nodes[0].To("room-2").FetchSockets(within(t, wait))
	equal(t, "of one room", fmt.Sprint(len(one), err), "1 <nil>")
	local, err := nodes[0].Local().FetchSockets(within(t, wait))
	equal(t, "local", fmt.Sprint(len(local), err), "1 <nil>")
}

func TestServerSideEmitReachesTheOtherNodes(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3, core.Options{})
	heard := make(chan string, 10)
	for _, r := range nodes {
		cancel := r.OnServerEvent("removed", func(context.Context, *core.ServerEvent) error { t.Error("called"); return nil })
		cancel()
		r.OnServerEvent("e", func(_ context.Context, e *core.ServerEvent) error {
			var text string
			err := e.Args.Decode(0, &text)
			heard <- fmt.Sprint(r.NodeID(), text, e.WantsAck())
			return err
		})
		r.OnServerEvent("ask", func(_ context.Context, e *core.ServerEvent) error {
			return errors.Join(e.Ack(r.NodeID()), e.Ack("a second time"))
		})
		r.OnServerEvent("panic", func(context.Context, *core.ServerEvent) error { panic("listener") })
	}
	if err := errors.Join(nodes[0].ServerSideEmit("panic"), nodes[0].ServerSideEmit("removed"), nodes[0].ServerSideEmit("e", "text")); err != nil {
		t.Fatal(err)
	}
	got := []string{recv(t, "a node", heard), recv(t, "another node", heard)}
	slices.Sort(got)
	equal(t, "heard", fmt.Sprint(got), "[node-1textfalse node-2textfalse]")
	equal(t, "panics", nodes[1].Stats().HandlerPanics, 1)

	var answers []string
	for reply, err := range core.ServerSideEmitWithAck[string](within(t, wait), nodes[1].Namespace, "ask") {
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, reply.Value)
	}
	slices.Sort(answers)
	equal(t, "answers", fmt.Sprint(answers), "[node-0 node-2]")
	equal(t, "own", len(heard), 0)
}

func TestBroadcastsCrossNodes(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3, core.Options{})
	var clients []*testutil.Client
	for i, r := range nodes {
		c := r.dial(t)
		answering(c, "ask")
		clients = append(clients, c)
		if i > 0 {
			_ = r.socket(t, c).Join("room")
		}
	}
	values, failed, partial := collect[int](t, within(t, wait), nodes[0].To(), "ask", 7)
	equal(t, "answers", fmt.Sprint(values, failed, partial), "[7 7 7] map[] <nil>")
	_ = nodes[0].To("room").Except(clients[1].ID()).Emit("room")
	_ = nodes[1].socket(t, clients[1]).Broadcast().Emit("others")
	_ = nodes[1].Local().Emit("local")
	clients[1].Expect(t, "local")
	clients[2].Expect(t, "room")
	clients[2].Expect(t, "others")
	clients[0].Expect(t, "others")
	if err := nodes[0].To("room").DisconnectSockets(within(t, wait), false); err != nil {
		t.Error(err)
	}
	equal(t, "first", reason(t, clients[1].Socket), "io server disconnect")
	equal(t, "second", reason(t, clients[2].Socket), "io server disconnect")
	for i, c := range clients {
		equal(t, fmt.Sprint("unread events of client ", i), len(c.Pending()), 0)
	}
}

func TestANodeThatDoesNotAnswerIsNamed(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3, core.Options{})
	c := nodes[0].dial(t)
	answering(c, "ask")
	if all, err := nodes[0].FetchSockets(within(t, wait)); err != nil || len(all) != 1 {
		t.Fatalf("%d sockets, %v", len(all), err) // from here on the others are known by name
	}
	nodes[2].bus.Pause()
	defer nodes[2].bus.Resume()
	values, failed, partial := collect[int](t, within(t, 300*time.Millisecond), nodes[0].To(), "ask", 7)
	equal(t, "answers", fmt.Sprint(values, failed), "[7] map[]")
	if partial == nil || partial.Missing < 1 || len(partial.Nodes) != 1 || !errors.Is(partial, core.ErrAckTimeout) {
		t.Errorf("broadcast: %+v", partial)
	}
	found, err := nodes[0].FetchSockets(within(t, 300*time.Millisecond))
	if !errors.As(err, &partial) || len(partial.Nodes) != 1 || len(found) != 1 {
		t.Errorf("fetch: %d sockets, %v", len(found), err)
	}
}

// A dynamic namespace may be cleaned up only after its last socket's handlers have
// run: what they emit is meant for the other nodes.
func TestTheLastOnDisconnectReachesOtherNodes(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 2, core.Options{CleanupEmptyNamespaces: true})
	for _, r := range nodes {
		f := r.OfPattern(namePattern(`^/d$`))
		f.OnDisconnect(func(_ context.Context, s *core.Socket, _ core.DisconnectReason) {
			if err := s.Namespace().Emit("left", s.ID()); err != nil {
				t.Errorf("Emit in OnDisconnect: %v", err)
			}
		})
	}
	stays := nodes[0].join(t, "/d")
	for range 10 {
		c := nodes[1].join(t, "/d")
		_ = c.Disconnect()
		equal(t, "left", stays.Expect(t, "left").At(0), any(c.ID()))
		eventually(t, "the namespace is removed", func() bool { return nodes[1].Stats().Namespaces == 1 })
	}
}
