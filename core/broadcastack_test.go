package core_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// collect drains a broadcast with acknowledgements: values in order, failures by
// socket, and the *PartialError if there was one.
func collect[R any](t testing.TB, ctx context.Context, b core.BroadcastOperator, event string, args ...any) (values []string, failed map[string]error, partial *core.PartialError) {
	t.Helper()
	failed = make(map[string]error)
	for reply, err := range core.BroadcastWithAck[R](ctx, b, event, args...) {
		switch {
		case partial != nil:
			t.Error("something came behind the PartialError")
		case err == nil:
			values = append(values, fmt.Sprint(reply.Value))
		case !errors.As(err, &partial):
			failed[reply.Socket] = err
		}
	}
	slices.Sort(values)
	return values, failed, partial
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestABroadcastCollectsTheAnswersOfAll(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	clients := []*testutil.Client{
		r.dial(t), r.dial(t),
		r.connect(t, testutil.ClientOptions{Transports: []string{"polling"}}),
	}
	ids := make(map[string]bool)
	for i, c := range clients {
		c.On("ask", func(a testutil.Args) { _ = a.Ack(i) })
		ids[c.ID()] = true
	}
	for reply, err := range core.BroadcastWithAck[int](within(t, wait), r.To(), "ask") {
		if err != nil || !ids[reply.Socket] {
			t.Errorf("got %+v, %v", reply, err)
		}
		delete(ids, reply.Socket)
	}
	equal(t, "sockets that did not answer", len(ids), 0)
	values, failed, partial := collect[int](t, within(t, wait), r.Except(clients[0].ID()), "ask", []byte("x"))
	equal(t, "with exception", fmt.Sprint(values, failed, partial), "[1 2] map[] <nil>")
	equal(t, "PendingAcks", r.Stats().PendingAcks, 0)
}

func TestABroadcastToNobodyEndsAtOnce(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	values, failed, partial := collect[int](t, t.Context(), r.To("nobody"), "ask")
	equal(t, "answers", fmt.Sprint(values, failed, partial), "[] map[] <nil>")
}

func TestAMissingAnswerIsAPartialError(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{AckTimeout: 300 * time.Millisecond})
	good, silent := r.dial(t), r.dial(t)
	answering(good, "ask")
	for name, ctx := range map[string]func() context.Context{
		"by the context's deadline": func() context.Context { return within(t, 300*time.Millisecond) },
		"by the options' timeout":   t.Context,
	} {
		values, failed, partial := collect[string](t, ctx(), r.To(), "ask", "v")
		equal(t, name, fmt.Sprint(values, failed), "[v] map[]")
		if partial == nil || partial.Missing != 1 || !errors.Is(partial, core.ErrAckTimeout) || !errors.Is(partial, context.DeadlineExceeded) {
			t.Errorf("%s: partial error %v", name, partial)
		}
		late := silent.Expect(t, "ask")
		_ = late.Ack("late")
	}
	eventually(t, "late answers are counted", func() bool { return r.Stats().UnknownAcks == 2 })
	equal(t, "PendingAcks", r.Stats().PendingAcks, 0)
}

func TestBreakingOutGivesUpTheRest(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	good, silent := r.dial(t), r.dial(t)
	answering(good, "ask")
	for reply, err := range core.BroadcastWithAck[int](within(t, wait), r.To(), "ask", 4) {
		equal(t, "answer", fmt.Sprint(reply.Value, err), "4 <nil>")
		break
	}
	silent.Expect(t, "ask")
	eventually(t, "nothing is pending", func() bool { return r.Stats().PendingAcks == 0 })
}

func TestABroadcastIsSentByTheCall(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.dial(t)
	seq := core.BroadcastWithAck[int](within(t, wait), r.To(), "ask")
	a := c.Expect(t, "ask")
	_ = a.Ack(1)
	for reply, err := range seq {
		equal(t, "answer", fmt.Sprint(reply.Value, err), "1 <nil>")
	}
}

func TestARecipientThatLeavesDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	good, leaver := r.dial(t), r.dial(t)
	answering(good, "ask")
	leaver.On("ask", func(testutil.Args) { _ = leaver.Disconnect() })
	values, failed, partial := collect[int](t, within(t, wait), r.To(), "ask", 1)
	if len(values) != 1 || partial != nil || len(failed) != 1 || !errors.Is(failed[leaver.ID()], core.ErrDisconnected) {
		t.Errorf("got %v, %v, %v", values, failed, partial)
	}
}

func TestAnAnswerThatDoesNotFitIsReportedForItsSocket(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	good, odd := r.dial(t), r.dial(t)
	answering(good, "ask")
	odd.On("ask", func(a testutil.Args) { _ = a.Ack("text") })
	values, failed, partial := collect[int](t, within(t, wait), r.To(), "ask", 1)
	if len(values) != 1 || partial != nil || len(failed) != 1 || failed[odd.ID()] == nil {
		t.Errorf("got %v, %v, %v", values, failed, partial)
	}
}

// A socket that leaves while the broadcast reaches it is one answer, not two, or
// the wait would end before the others have answered.
func TestEveryRecipientIsReportedOnceWhileSocketsLeave(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	stay := r.dial(t)
	answering(stay, "ask")
	for range 30 {
		c := r.dial(t)
		s := r.socket(t, c)
		gone := make(chan struct{})
		go func() { c.Engine().Abort(); s.Disconnect(true); close(gone) }()
		seen := make(map[string]int)
		for reply, err := range core.BroadcastWithAck[int](within(t, wait), r.To(), "ask", 1) {
			var partial *core.PartialError
			if errors.As(err, &partial) {
				t.Fatal(err)
			}
			seen[reply.Socket]++
		}
		<-gone
		if seen[stay.ID()] != 1 || seen[c.ID()] > 1 {
			t.Fatalf("answers by socket: %v (stays: %s)", seen, stay.ID())
		}
	}
}
