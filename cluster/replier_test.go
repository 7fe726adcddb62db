package cluster

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
)

func TestAnswersOfManySocketsFitTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const members = 50
		r := newRig(t, Options{MaxOutboundMessages: members / 5})
		for i := range members {
			r.socket(fmt.Sprintf("s%d", i))
		}
		r.from("peer", Message{Kind: Broadcast, RequestID: "id", Packet: pack(`["q"]`)})
		synctest.Wait()
		if n := len(r.bus.answered(BroadcastAck)); n != members {
			t.Errorf("%d answers were sent, want %d", n, members)
		}
		if s := r.p.Stats(); s.RepliesDropped != 0 || s.ReplyErrors != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestALeavingNodeStillCountsItsClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.a.answers.end()
		s := adaptertest.NewSocket("s")
		r.a.Join(s, "s")
		r.from("peer", Message{Kind: Broadcast, RequestID: "id", Packet: pack(`["q"]`)})
		synctest.Wait()
		if c := r.bus.answered(BroadcastClientCount); len(c) != 1 || c[0].Count != 0 {
			t.Errorf("counts %+v, want one of nobody", c)
		}
	})
}

func TestASlowSocketThatLeavesIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		s := adaptertest.NewSocket("s")
		r.a.Join(s, "s")
		r.from("peer", Message{Kind: Broadcast, RequestID: "id", Packet: pack(`["q"]`), Timeout: time.Minute})
		s.Close()
		synctest.Wait()
		r.a.answers.mu.Lock()
		left := len(r.a.answers.open)
		r.a.answers.mu.Unlock()
		if left != 0 {
			t.Errorf("%d broadcasts are still waiting for answers", left)
		}
		if n := len(r.bus.answered(BroadcastAck)); n != 0 {
			t.Errorf("%d answers of a socket that left", n)
		}
	})
}

func TestServerEventsAnswerOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var acks []func(adapter.Reply)
		r := newRig(t, Options{})
		r.a.host = &ackHost{Host: r.host, keep: func(fn func(adapter.Reply)) { acks = append(acks, fn) }}
		r.from("peer", Message{Kind: ServerSideEmit, RequestID: "id", Packet: pack(`["q"]`)})
		acks[0](adapter.Reply{Err: errDown})
		acks[0](adapter.Reply{Packet: pack(`[1,2]`)})
		acks[0](adapter.Reply{Packet: pack(`[3]`)})
		synctest.Wait()
		if got := r.bus.answered(ServerSideEmitResponse); len(got) != 1 || string(got[0].Packet.Data) != `[1]` {
			t.Errorf("answers %+v, want [1] once", got)
		}
	})
}

type ackHost struct {
	*adaptertest.Host
	keep func(func(adapter.Reply))
}

func (h *ackHost) ServerEvent(_ *adapter.Packet, ack func(adapter.Reply)) { h.keep(ack) }
