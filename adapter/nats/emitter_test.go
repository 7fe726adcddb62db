package nats

import (
	"context"
	"testing"

	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/emitter"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestAnEmitterIsHeardAndNotCounted(t *testing.T) {
	t.Parallel()
	server := testutil.JetStream(t).URL
	for name, params := range map[string]string{"core": "", "jetstream": "&jetstream=true"} {
		t.Run(name, func(t *testing.T) {
			prefix := newPrefix()
			node := openNode(t, server+"?heartbeat_interval=100ms"+params, prefix)
			t.Cleanup(func() { closeNode(t, node) })
			a, err := node.Open(t.Context(), adaptertest.NewHost("/", "node"))
			if err != nil {
				t.Fatal(err)
			}
			s := adaptertest.NewSocket("Socket0000000000000A")
			a.Join(s, "Socket0000000000000A", "room")
			e, err := emitter.Open(t.Context(), server+"?prefix="+prefix+"&heartbeat_interval=100ms"+params, &emitter.Options{Replies: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := e.Close(context.Background()); err != nil {
					t.Error(err)
				}
			})
			wait(t, "the socket hears the emitter", func() bool {
				if err := e.To("room").Emit("hello"); err != nil {
					t.Fatal(err)
				}
				return len(s.Received()) > 0
			})
			if n, err := e.ServerCount(t.Context()); n != 1 || err != nil {
				t.Errorf("the emitter counts %d nodes, %v", n, err)
			}
			list, err := e.FetchSockets(t.Context())
			if err != nil || len(list) != 1 || list[0].ID() != s.ID() {
				t.Errorf("the emitter found %v, %v", list, err)
			}
			if n, err := a.ServerCount(t.Context()); n != 1 || err != nil {
				t.Errorf("the node counts %d, %v", n, err)
			}
			if err := a.Close(t.Context()); err != nil {
				t.Error(err)
			}
			wait(t, "the emitter hears that the node has left", func() bool {
				n, err := e.ServerCount(t.Context())
				return err == nil && n == 0
			})
		})
	}
}
