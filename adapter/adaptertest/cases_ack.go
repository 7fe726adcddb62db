package adaptertest

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// short bounds waits that the suite expects to run out.
const short = 400 * time.Millisecond

var ackCases = []testCase{
	{"broadcast-ack-all-answer", func(t *testing.T, w *world) {
		p := w.event("ack")
		replies, err := collect(w.nodes[0].a.BroadcastWithAck(w.ctx(patience), p, adapter.Target{}))
		w.must(err)
		w.expect(p, w.all()...)
		wantReplies(t, replies, answersOf(w.all())...)
	}},
	{"broadcast-ack-of-rooms-asks-each-socket-once", func(t *testing.T, w *world) {
		p := w.event("ack")
		target := adapter.Target{Rooms: []adapter.Room{"red", "both", "last"}, Except: []adapter.Room{w.nodes[0].socks[0].id}}
		replies, err := collect(w.nodes[0].a.BroadcastWithAck(w.ctx(patience), p, target))
		w.must(err)
		want := without(w.all(), w.nodes[0].socks[0])
		w.expect(p, want...)
		wantReplies(t, replies, answersOf(want)...)
	}},
	{"broadcast-ack-of-a-socket-on-another-node", func(t *testing.T, w *world) {
		far := w.nodes[len(w.nodes)-1].socks[1]
		replies, err := collect(w.nodes[0].a.BroadcastWithAck(w.ctx(patience), w.event("ack"), to(far.id)))
		w.must(err)
		wantReplies(t, replies, answersOf([]*Socket{far})...)
	}},
	{"broadcast-ack-without-arguments-counts", func(t *testing.T, w *world) {
		for _, s := range w.all() {
			s.SetAnswer(func(*adapter.Packet) *adapter.Packet { return packet(`[]`) })
		}
		replies, err := collect(w.nodes[0].a.BroadcastWithAck(w.ctx(patience), w.event("ack"), adapter.Target{}))
		w.must(err)
		if len(replies) != len(w.all()) {
			t.Errorf("got %d replies, want %d", len(replies), len(w.all()))
		}
	}},
	{"broadcast-ack-with-binary-answer", func(t *testing.T, w *world) {
		far := w.nodes[len(w.nodes)-1].socks[1]
		answer := &adapter.Packet{
			Data:        []byte(`[{"_placeholder":true,"num":0}]`),
			Attachments: []adapter.Attachment{{At: 1, Data: []byte{0, 255, 7}}},
		}
		far.SetAnswer(func(*adapter.Packet) *adapter.Packet { return answer })
		replies, err := collect(w.nodes[0].a.BroadcastWithAck(w.ctx(patience), w.event("ack"), to("last")))
		w.must(err)
		if len(replies) != 1 || !samePacket(replies[0].Packet, answer) {
			t.Errorf("replies %v, want the binary answer", replies)
		}
	}},
	{"broadcast-ack-of-nobody-ends", func(t *testing.T, w *world) {
		replies, err := collect(w.nodes[0].a.BroadcastWithAck(w.ctx(patience), w.event("ack"), to("nobody")))
		w.must(err)
		wantReplies(t, replies)
	}},
	{"broadcast-ack-local-asks-this-node", func(t *testing.T, w *world) {
		p := w.event("ack")
		replies, err := collect(w.nodes[0].a.BroadcastWithAck(w.ctx(patience), p, adapter.Target{Flags: adapter.Local}))
		w.must(err)
		w.expect(p, w.nodes[0].socks...)
		wantReplies(t, replies, answersOf(w.nodes[0].socks)...)
	}},
	{"broadcast-ack-partial-on-timeout", func(t *testing.T, w *world) {
		far := w.nodes[len(w.nodes)-1].socks[1]
		far.SetAnswer(func(*adapter.Packet) *adapter.Packet { return nil })
		replies, err := collect(w.nodes[0].a.BroadcastWithAck(w.ctx(short), w.event("ack"), adapter.Target{}))
		wantPartial(t, err, 1, context.DeadlineExceeded)
		wantReplies(t, replies, answersOf(without(w.all(), far))...)
	}},
	{"broadcast-ack-ends-when-a-local-socket-leaves", func(t *testing.T, w *world) {
		s := w.nodes[0].socks[0]
		s.SetAnswer(nil)
		seq := w.nodes[0].a.BroadcastWithAck(w.ctx(patience), w.event("ack"), to(s.id))
		s.Close()
		replies, err := collect(seq)
		w.must(err)
		if len(replies) != 1 || !errors.Is(replies[0].Err, ErrGone) || replies[0].Socket != s.id {
			t.Errorf("replies %v, want one with the error of %s", replies, s.id)
		}
	}},
	{"broadcast-ack-skips-a-local-socket-that-refuses", func(t *testing.T, w *world) {
		s := w.nodes[0].socks[0]
		s.Close()
		replies, err := collect(w.nodes[0].a.BroadcastWithAck(w.ctx(patience), w.event("ack"), to(s.id)))
		w.must(err)
		if len(replies) != 1 || !errors.Is(replies[0].Err, ErrGone) {
			t.Errorf("replies %v, want one error", replies)
		}
	}},
	{"broadcast-ack-skips-a-remote-socket-that-refuses", func(t *testing.T, w *world) {
		far := w.nodes[len(w.nodes)-1].socks[1]
		far.Close()
		ctx := w.ctx(patience)
		replies, err := collect(w.nodes[0].a.BroadcastWithAck(ctx, w.event("ack"), to("both")))
		w.must(err)
		replies = slices.DeleteFunc(replies, func(r adapter.Reply) bool { return r.Err != nil })
		wantReplies(t, replies, answersOf(without(w.all(), far))...)
	}},
	{"broadcast-ack-break-releases", func(t *testing.T, w *world) {
		s := w.nodes[0].socks[0]
		s.SetAnswer(nil)
		seq := w.nodes[0].a.BroadcastWithAck(w.ctx(patience), w.event("ack"), to("both"))
		if s.Owes() != 1 {
			t.Fatalf("the request was not sent at the call: %d answers owed", s.Owes())
		}
		for range seq {
			break
		}
		if len(w.all()) > 1 && s.Owes() != 0 {
			t.Error("the pending answer was not released by break")
		}
	}},
	{"broadcast-ack-cancel-ends-the-wait", func(t *testing.T, w *world) {
		far := w.nodes[len(w.nodes)-1].socks[1]
		far.SetAnswer(nil)
		why := errors.New("changed my mind")
		ctx, cancel := context.WithCancelCause(t.Context())
		seq := w.nodes[0].a.BroadcastWithAck(ctx, w.event("ack"), to("last"))
		w.poll("the question arrived", func() bool { return far.Owes() == 1 })
		cancel(why)
		_, err := collect(seq)
		// One answer, and the reports of nodes that have not been heard yet.
		var partial *adapter.PartialError
		if !errors.As(err, &partial) || partial.Missing < 1 || partial.Missing > len(w.nodes) {
			t.Errorf("error %v, want a PartialError with 1 to %d missing", err, len(w.nodes))
		}
		if !errors.Is(err, why) {
			t.Errorf("error %v does not match the cause", err)
		}
	}},
	{"send-with-ack-gets-the-answer", func(t *testing.T, w *world) {
		s := w.nodes[0].socks[0]
		got := make(chan adapter.Reply, 2)
		w.must(w.nodes[0].a.Send(w.ctx(patience), s, w.event("ack"), 0, func(r adapter.Reply) { got <- r }))
		select {
		case r := <-got:
			wantReplies(t, []adapter.Reply{r}, answersOf([]*Socket{s})...)
		case <-time.After(patience):
			t.Error("no answer")
		}
	}},
}

// collect reads seq to its end.
func collect(seq iter.Seq2[adapter.Reply, error]) (replies []adapter.Reply, err error) {
	for r, e := range seq {
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		replies = append(replies, r)
	}
	return replies, err
}

// answersOf returns the JSON texts sockets answer with by default.
func answersOf(list []*Socket) []string {
	texts := make([]string, len(list))
	for i, s := range list {
		texts[i] = `["` + s.id + `"]`
	}
	return texts
}

func wantReplies(t *testing.T, replies []adapter.Reply, want ...string) {
	t.Helper()
	var got []string
	for _, r := range replies {
		if r.Err != nil || r.Packet == nil {
			t.Errorf("reply %+v has no packet", r)
			continue
		}
		got = append(got, strings.ReplaceAll(string(r.Packet.Data), " ", ""))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("replies\n got %q\nwant %q", got, want)
	}
}

func wantPartial(t *testing.T, err error, missing int, cause error) {
	t.Helper()
	var partial *adapter.PartialError
	if !errors.As(err, &partial) {
		t.Fatalf("error %v, want a *PartialError", err)
	}
	if partial.Missing != missing || !errors.Is(err, cause) {
		t.Errorf("error %v (missing %d), want %d missing because of %v", err, partial.Missing, missing, cause)
	}
}
