package nats

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestAnInboxIsBoundedInBytesAndKeepsTheJournal(t *testing.T) {
	t.Parallel()
	q, half := newInbox(), make([]byte, inboxBytes/2)
	at := time.Now()
	q.push(parcel{data: half, offset: "1"})
	q.push(parcel{data: half, at: at})
	q.push(parcel{data: half[:9]})
	if q.bytes > inboxBytes || len(q.queue) != 2 {
		t.Errorf("%d bytes in %d parcels", q.bytes, len(q.queue))
	}
	p, lost, ok := q.pop()
	if !ok || p.offset != "1" || lost.Dropped != 1 || !lost.From.Equal(at) {
		t.Errorf("got %q, lost %+v", p.offset, lost)
	}
	if p, lost, ok = q.pop(); !ok || len(p.data) != 9 || lost.Dropped != 0 {
		t.Errorf("got %d bytes, lost %+v", len(p.data), lost)
	}
	if _, _, ok = q.pop(); ok || q.bytes != 0 {
		t.Errorf("%d bytes are left", q.bytes)
	}
}

func TestTheReaderOfTheJournalWaitsForSpace(t *testing.T) {
	t.Parallel()
	q := newInbox()
	for range inboxMessages {
		q.push(parcel{offset: "1"})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.pushWait(ctx, parcel{offset: "2"}); err == nil {
		t.Error("a full inbox took one more")
	}
	done := make(chan error, 1)
	go func() { done <- q.pushWait(t.Context(), parcel{offset: "2"}) }()
	q.pop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNothingIsBufferedWhileTheConnectionIsAway(t *testing.T) {
	t.Parallel()
	s := testutil.NATS(t)
	a := newNode(t, newPrefix(), "a", []string{s.URL}, nil)
	s.Kill(t)
	wait(t, "the loss is noticed", func() bool { return !a.b.conn.IsConnected() })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := a.b.Publish(ctx, []*cluster.Message{numbered("a", 1)})
	var partial *cluster.PublishError
	if !errors.As(err, &partial) || partial.Sent != 0 || partial.Permanent {
		t.Errorf("got %v", err)
	}
}

func TestTimeThisNodeWasDeafDoesNotKillOthers(t *testing.T) {
	t.Parallel()
	w, now := newWatch(time.Second, nil), time.Now()
	w.begin(now)
	at := func(d time.Duration) time.Time { return w.silentSince(now.Add(d)) }
	if !at(time.Second).IsZero() || !at(2*time.Second).IsZero() {
		t.Error("somebody can be dead already")
	}
	at(3 * time.Second)
	if got := at(4 * time.Second); !got.Equal(now.Add(time.Second)) {
		t.Errorf("silent since %v", got.Sub(now))
	}
	w.upSince = now.Add(4 * time.Second) // a new connection
	if !at(5 * time.Second).IsZero() {
		t.Error("the time without a connection counts")
	}
	at(7 * time.Second)
	if !at(time.Minute).IsZero() {
		t.Error("the time this process stood still counts")
	}
}
