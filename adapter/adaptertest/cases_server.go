package adaptertest

import (
	"context"
	"testing"

	"github.com/socketfleet/socketfleet/adapter"
)

var serverCases = []testCase{
	{"server-side-emit-reaches-the-other-nodes", func(t *testing.T, w *world) {
		p := w.event("hello")
		w.must(w.nodes[0].a.ServerSideEmit(p))
		for _, nd := range w.nodes[1:] {
			w.poll("the node hears it", func() bool { return heard(nd, p) == 1 })
		}
		w.fence()
		for i, nd := range w.nodes {
			if got, want := heard(nd, p), min(i, 1); got != want {
				t.Errorf("node %d heard it %d times, want %d", i, got, want)
			}
		}
	}},
	{"server-side-emit-with-ack-asks-every-other-node", func(t *testing.T, w *world) {
		replies, err := collect(w.nodes[0].a.ServerSideEmitWithAck(w.ctx(patience), w.event("ping")))
		w.must(err)
		want := []string{`["pong"]`, `["pong"]`} // the first value of each answer
		wantReplies(t, replies, want[:len(w.nodes)-1]...)
	}},
	{"server-side-emit-with-ack-partial-on-timeout", func(t *testing.T, w *world) {
		if len(w.nodes) == 1 {
			return
		}
		w.nodes[1].host.SetAnswer(nil)
		replies, err := collect(w.nodes[0].a.ServerSideEmitWithAck(w.ctx(short), w.event("ping")))
		wantPartial(t, err, 1, context.DeadlineExceeded)
		wantReplies(t, replies, []string{`["pong"]`}[:len(w.nodes)-2]...)
	}},
	{"server-count-follows-the-nodes", func(t *testing.T, w *world) {
		last := w.nodes[len(w.nodes)-1]
		if len(w.nodes) == 1 {
			return
		}
		ctx, cancel := closing()
		defer cancel()
		w.must(last.a.Close(ctx))
		w.nodes = w.nodes[:len(w.nodes)-1]
		w.poll("the node is no longer counted", func() bool {
			n, err := w.nodes[0].a.ServerCount(t.Context())
			return err == nil && n == len(w.nodes)
		})
		replies, err := collect(w.nodes[0].a.BroadcastWithAck(w.ctx(patience), w.event("ack"), to("both")))
		w.must(err)
		wantReplies(t, replies, answersOf(w.all())...)
	}},
	{"namespaces-are-apart", func(t *testing.T, w *world) {
		other := NewHost(w.ns+"-other", "node0")
		ctx, cancel := closing()
		defer cancel()
		a, err := w.provider[0].Open(ctx, other)
		w.must(err)
		defer func() { w.must(a.Close(ctx)) }()
		s := NewSocket("elsewhere-0000000001")
		a.Join(s, s.id, "red")
		p := w.event("namespace")
		w.must(w.nodes[0].a.Broadcast(p, to("red")))
		w.expect(p, w.in("red")...)
		w.must(w.nodes[len(w.nodes)-1].a.Broadcast(p, adapter.Target{}))
		w.fence()
		if s.count(p) != 0 {
			t.Error("a socket of another namespace got the packet")
		}
	}},
	{"close-is-idempotent", func(_ *testing.T, w *world) {
		for _, nd := range w.nodes {
			ctx, cancel := closing()
			w.must(nd.a.Close(ctx))
			w.must(nd.a.Close(ctx))
			cancel()
		}
	}},
	{"close-delivers-what-was-queued", func(_ *testing.T, w *world) {
		if len(w.nodes) == 1 {
			return
		}
		p := w.event("farewell")
		w.must(w.nodes[0].a.Broadcast(p, to("both")))
		ctx, cancel := closing()
		defer cancel()
		w.must(w.nodes[0].a.Close(ctx))
		w.nodes = w.nodes[1:]
		w.expect(p, w.all()...)
	}},
}

func heard(nd *node, p *adapter.Packet) int {
	n := 0
	for _, e := range nd.host.ServerEvents() {
		if samePacket(e, p) {
			n++
		}
	}
	return n
}
