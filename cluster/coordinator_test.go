package cluster

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
)

func read(seq iter.Seq2[adapter.Reply, error]) (texts []string, err error) {
	for r, e := range seq {
		switch {
		case e != nil:
			err = e
		case r.Err != nil:
			texts = append(texts, r.Err.Error())
		default:
			texts = append(texts, string(r.Packet.Data))
		}
	}
	return texts, err
}

func TestOwnMessagesAreIgnored(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	s := r.socket("s")
	r.from(r.a.Self(), Message{Kind: Broadcast, Packet: pack(`["echo"]`)})
	r.from("peer", Message{Kind: Broadcast, Packet: pack(`["peer"]`)})
	r.from(EmitterID, Message{Kind: Broadcast, Packet: pack(`["emitter"]`)})
	r.from("", Message{Kind: Broadcast, Packet: pack(`["unnamed"]`)})
	if got := s.Received(); len(got) != 3 || string(got[0].Packet.Data) != `["peer"]` {
		t.Errorf("received %v", got)
	}
	if r.a.nodes.len() != 1 {
		t.Errorf("%d nodes known, want the peer only", r.a.nodes.len())
	}
	if s := r.p.Stats(); s.Received[Broadcast] != 3 {
		t.Errorf("stats %+v", s)
	}
}

func TestMalformedMessagesDoNoHarm(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.socket("s")
	r.bus.receive(nil, "")
	for k := range 256 {
		r.from("peer", Message{Kind: Kind(k)})
		r.from("peer", Message{Kind: Kind(k), RequestID: "unknown", Count: -5})
	}
	s := r.p.Stats()
	if want := uint64(2 * (256 - 23)); s.Unknown != want {
		t.Errorf("%d unknown messages, want %d", s.Unknown, want)
	}
	if s.RepliesLate == 0 {
		t.Error("answers to unknown requests are not counted")
	}
}

func TestAloneNothingIsAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.socket("s")
		r.bus.setPeers(1, nil)
		start := time.Now()
		if got, err := read(r.a.BroadcastWithAck(t.Context(), pack(`["q"]`), adapter.Target{})); err != nil || !slices.Equal(got, []string{`["s","second"]`}) {
			t.Errorf("BroadcastWithAck: %q, %v", got, err)
		}
		if got, err := read(r.a.ServerSideEmitWithAck(t.Context(), pack(`["q"]`))); err != nil || len(got) != 0 {
			t.Errorf("ServerSideEmitWithAck: %q, %v", got, err)
		}
		if got, err := r.a.FetchSockets(t.Context(), adapter.Target{}); err != nil || len(got) != 1 {
			t.Errorf("FetchSockets: %v, %v", got, err)
		}
		if got, err := r.a.AllRooms(t.Context()); err != nil || !slices.Equal(got, []string{"s"}) {
			t.Errorf("AllRooms: %v, %v", got, err)
		}
		synctest.Wait()
		if r.bus.mu.Lock(); len(r.bus.sent) != 0 {
			t.Errorf("%d messages were published", len(r.bus.sent))
		}
		r.bus.mu.Unlock()
		if took := time.Since(start); took != 0 {
			t.Errorf("a lone node waited %v", took)
		}
	})
}

func TestAFailingCountDoesNotHideLocalAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.socket("s")
		r.bus.setPeers(0, errDown)
		got, err := read(r.a.BroadcastWithAck(t.Context(), pack(`["q"]`), adapter.Target{}))
		if !errors.Is(err, context.DeadlineExceeded) || len(got) != 1 {
			t.Errorf("BroadcastWithAck: %q, %v", got, err)
		}
		list, err := r.a.FetchSockets(t.Context(), adapter.Target{})
		var partial *adapter.PartialError
		if !errors.As(err, &partial) || !errors.Is(err, errDown) || len(list) != 1 {
			t.Errorf("FetchSockets: %v, %v", list, err)
		}
		if _, err := read(r.a.ServerSideEmitWithAck(t.Context(), pack(`["q"]`))); !errors.Is(err, errDown) {
			t.Errorf("ServerSideEmitWithAck: %v", err)
		}
	})
}

func TestAnswersAreAcceptedAndLateOnesCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.bus.setPeers(3, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		seq := r.a.BroadcastWithAck(ctx, pack(`["q"]`), adapter.Target{})
		synctest.Wait()
		asked := r.bus.published(Broadcast)
		if len(asked) != 1 || asked[0].RequestID == "" || asked[0].Timeout != 2*time.Second {
			t.Fatalf("published %+v", asked)
		}
		id := asked[0].RequestID
		r.from("a", Message{Kind: BroadcastAck, RequestID: id, Packet: pack(`[1]`)})
		r.from("a", Message{Kind: BroadcastClientCount, RequestID: id, Count: 1})
		r.from("a", Message{Kind: BroadcastClientCount, RequestID: id, Count: 1}) // repeated
		r.from("b", Message{Kind: BroadcastClientCount, RequestID: id, Count: 2})
		r.from("b", Message{Kind: BroadcastAck, RequestID: id}) // no argument
		r.from("b", Message{Kind: BroadcastAck, RequestID: id, Packet: pack(`[3]`)})
		if got, err := read(seq); err != nil || !slices.Equal(got, []string{`[1]`, `[]`, `[3]`}) {
			t.Errorf("got %q, %v", got, err)
		}
		synctest.Wait()
		r.from("b", Message{Kind: BroadcastAck, RequestID: id, Packet: pack(`[4]`)})
		if s := r.p.Stats(); s.RepliesLate != 1 || s.RequestsPending != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestATimeoutNamesTheSilentNodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{RequestsTimeout: time.Second})
		r.bus.setPeers(4, nil)
		for _, n := range []adapter.NodeID{"dead", "c", "b", "a"} {
			r.from(n, Message{Kind: Heartbeat})
			time.Sleep(time.Millisecond)
		}
		var list []adapter.Remote
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			list, err = r.a.FetchSockets(t.Context(), adapter.Target{})
		}()
		synctest.Wait()
		asked := r.bus.published(FetchSockets)[0]
		if asked.Timeout != time.Second {
			t.Errorf("timeout %v, want the default", asked.Timeout)
		}
		answer := Message{Kind: FetchSocketsResponse, RequestID: asked.RequestID, Sockets: []adapter.Remote{{ID: "x"}}}
		r.from("b", answer)
		r.from("b", answer)
		<-done
		var partial *adapter.PartialError
		if !errors.As(err, &partial) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
		if partial.Missing != 2 || !slices.Equal(partial.Nodes, []adapter.NodeID{"a", "c"}) {
			t.Errorf("%v, want a and c missing", err)
		}
		if len(list) != 1 || list[0].ID != "x" || list[0].Node != "b" {
			t.Errorf("sockets %+v", list)
		}
	})
}

func TestUnnamedAnswersCountButNameNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.bus.setPeers(4, nil)
		r.from("a", Message{Kind: Heartbeat})
		seq := r.a.ServerSideEmitWithAck(t.Context(), pack(`["q"]`))
		synctest.Wait()
		id := r.bus.published(ServerSideEmit)[0].RequestID
		for range 2 {
			r.from("", Message{Kind: ServerSideEmitResponse, RequestID: id, Packet: pack(`[1]`)})
		}
		got, err := read(seq)
		var partial *adapter.PartialError
		if !errors.As(err, &partial) || partial.Missing != 1 || len(partial.Nodes) != 0 || len(got) != 2 {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestANodeThatLeavesEndsTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.bus.setPeers(3, nil)
		start := time.Now()
		emit := r.a.ServerSideEmitWithAck(t.Context(), pack(`["q"]`))
		ack := r.a.BroadcastWithAck(t.Context(), pack(`["q"]`), adapter.Target{})
		synctest.Wait()
		r.from("a", Message{Kind: ServerSideEmitResponse, RequestID: r.bus.published(ServerSideEmit)[0].RequestID, Packet: pack(`[1]`)})
		id := r.bus.published(Broadcast)[0].RequestID
		r.from("a", Message{Kind: BroadcastClientCount, RequestID: id, Count: 0})
		r.from("b", Message{Kind: BroadcastClientCount, RequestID: id, Count: 3})
		r.from("b", Message{Kind: BroadcastAck, RequestID: id, Packet: pack(`[2]`)})
		r.bus.setPeers(2, nil)
		r.from("b", Message{Kind: AdapterClose})
		if got, err := read(emit); err != nil || len(got) != 1 {
			t.Errorf("ServerSideEmitWithAck: %q, %v", got, err)
		}
		if got, err := read(ack); err != nil || len(got) != 1 {
			t.Errorf("BroadcastWithAck: %q, %v", got, err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("the waits took %v", took)
		}
	})
}

func TestCloseEndsPendingRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		seq := r.a.ServerSideEmitWithAck(t.Context(), pack(`["q"]`))
		if err := r.a.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := read(seq); !errors.Is(err, adapter.ErrClosed) {
			t.Errorf("pending request: %v", err)
		}
		if got := r.bus.published(AdapterClose); len(got) != 1 || got[0].From != r.a.Self() {
			t.Errorf("farewell %+v", got)
		}
		if _, err := r.a.FetchSockets(t.Context(), adapter.Target{}); !errors.Is(err, adapter.ErrClosed) {
			t.Errorf("FetchSockets after Close: %v", err)
		}
		if err := r.a.ServerSideEmit(pack(`["q"]`)); !errors.Is(err, adapter.ErrClosed) {
			t.Errorf("ServerSideEmit after Close: %v", err)
		}
		if _, err := read(r.a.BroadcastWithAck(t.Context(), pack(`["q"]`), adapter.Target{})); !errors.Is(err, adapter.ErrClosed) {
			t.Errorf("BroadcastWithAck after Close: %v", err)
		}
	})
}

func TestAFullQueueIsPartOfTheAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{MaxOutboundMessages: 1})
		r.socket("s")
		defer r.bus.stall()()
		if err := r.a.Broadcast(pack(`["fill"]`), adapter.Target{}); err != nil {
			t.Fatal(err)
		}
		got, err := read(r.a.BroadcastWithAck(t.Context(), pack(`["q"]`), adapter.Target{}))
		if !errors.Is(err, adapter.ErrQueueFull) || len(got) != 1 {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestAnIteratorNobodyReadsIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		_ = r.a.ServerSideEmitWithAck(t.Context(), pack(`["q"]`))
		if n := r.p.Stats().RequestsPending; n != 1 {
			t.Errorf("%d requests pending, want 1", n)
		}
		time.Sleep(defaultRequestsTimeout)
		synctest.Wait()
		if n := r.p.Stats().RequestsPending; n != 0 {
			t.Errorf("%d requests pending after the timeout", n)
		}
	})
}

func TestRemoteBroadcastWithAckIsAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.socket("a", "room", "other")
		r.socket("b", "room")
		gone := r.socket("c", "room")
		gone.Close()
		slow := adaptertest.NewSocket("d")
		r.a.Join(slow, "d", "room")
		r.from("peer", Message{
			Kind: Broadcast, RequestID: "id", Packet: pack(`["q"]`), Timeout: time.Second,
			Target: adapter.Target{Rooms: []adapter.Room{"room", "other"}, Except: []adapter.Room{"b"}},
		})
		synctest.Wait()
		counts := r.bus.answered(BroadcastClientCount)
		if len(counts) != 1 || counts[0].Count != 2 || counts[0].RequestID != "id" || counts[0].From != r.a.Self() {
			t.Errorf("counts %+v, want 2 clients", counts)
		}
		acks := r.bus.answered(BroadcastAck)
		if len(acks) != 1 || string(acks[0].Packet.Data) != `["a"]` {
			t.Errorf("acks %+v, want the first argument of a", acks)
		}
		if slow.Owes() != 1 {
			t.Errorf("the slow socket owes %d answers", slow.Owes())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if slow.Owes() != 0 {
			t.Error("the pending answer outlived the requester's timeout")
		}
	})
}

func TestRequestsOfOthersAreAnswered(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.host.SetAnswer(func(*adapter.Packet) *adapter.Packet { return pack(`[{"a":[1,2]},2]`) })
	r.socket("a", "x")
	r.socket("b")
	r.from("peer", Message{Kind: FetchSockets, RequestID: "1", Target: adapter.Target{Rooms: []adapter.Room{"x"}}})
	r.from("peer", Message{Kind: AllRooms, RequestID: "2"})
	r.from("peer", Message{Kind: Sockets, RequestID: "3", Rooms: []adapter.Room{"x", "b"}})
	r.from("peer", Message{Kind: ServerSideEmit, RequestID: "4", Packet: pack(`["hi"]`)})
	r.from("peer", Message{Kind: ServerSideEmit, Packet: pack(`["hi"]`)})
	r.from("peer", Message{Kind: FetchSockets}) // wants no answer
	await(t, "four answers were sent", func() bool {
		r.bus.mu.Lock()
		defer r.bus.mu.Unlock()
		return len(r.bus.replies) == 4
	})
	if m := r.bus.answered(FetchSocketsResponse)[0]; m.RequestID != "1" || len(m.Sockets) != 1 || !slices.Equal(m.Sockets[0].Rooms, []string{"a", "x"}) {
		t.Errorf("FETCH_SOCKETS: %+v", m)
	}
	if m := r.bus.answered(AllRoomsResponse)[0]; m.RequestID != "2" || len(m.Rooms) != 3 {
		t.Errorf("ALL_ROOMS: %+v", m)
	}
	if m := r.bus.answered(SocketsResponse)[0]; m.RequestID != "3" || len(m.Sockets) != 2 {
		t.Errorf("SOCKETS: %+v", m)
	}
	if m := r.bus.answered(ServerSideEmitResponse)[0]; m.RequestID != "4" || string(m.Packet.Data) != `[{"a":[1,2]}]` {
		t.Errorf("SERVER_SIDE_EMIT: %s", m.Packet.Data)
	}
	if n := len(r.host.ServerEvents()); n != 2 {
		t.Errorf("%d server events, want 2", n)
	}
}

func TestLocalOperationsActAtOnceAndAreNotPublished(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		s := r.socket("s")
		here := adapter.Target{Flags: adapter.Local}
		for _, target := range []adapter.Target{{}, here} {
			if err := r.a.SocketsJoin(t.Context(), target, "room"); err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(r.a.RoomsOf(s), "room") {
				t.Error("the join had no effect on return")
			}
			if err := r.a.SocketsLeave(t.Context(), target, "room"); err != nil {
				t.Fatal(err)
			}
			if slices.Contains(r.a.RoomsOf(s), "room") {
				t.Error("the leave had no effect on return")
			}
			if err := r.a.DisconnectSockets(t.Context(), target, true); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := read(r.a.BroadcastWithAck(t.Context(), pack(`["q"]`), here)); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		r.bus.mu.Lock()
		defer r.bus.mu.Unlock()
		if len(r.bus.sent) != 3 {
			t.Errorf("%d messages published, want join, leave and disconnect once", len(r.bus.sent))
		}
		if want := []string{"+s", "+room", "-room", "+room", "-room"}; !slices.Equal(r.bus.rooms, want) {
			t.Errorf("room changes %q, want %q", r.bus.rooms, want)
		}
	})
}
