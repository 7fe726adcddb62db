package cluster

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// stall makes Publish hang until release is called.
func (b *fakeBus) stall() (release func()) {
	gate := make(chan struct{})
	b.onPublish(func(ctx context.Context, _ []*Message) error {
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return func() {
		b.onPublish(nil)
		close(gate)
	}
}

func TestPublishingKeepsOrderAndBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		var batches []int
		release := r.bus.stall()
		for i := range 1200 {
			if err := r.a.Broadcast(numbered(i), adapter.Target{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // the first message is in flight alone
		}
		release()
		r.bus.onPublish(func(_ context.Context, b []*Message) error { batches = append(batches, len(b)); return nil })
		synctest.Wait()
		sent := r.bus.published(Broadcast)
		if len(sent) != 1200 {
			t.Fatalf("%d messages were published", len(sent))
		}
		for i, m := range sent {
			if string(m.Packet.Data) != string(numbered(i).Data) || m.From != r.a.Self() || m.Namespace != "/" {
				t.Fatalf("message %d is %s from %s", i, m.Packet.Data, m.From)
			}
		}
		for _, n := range batches {
			if n > maxBatchMessages {
				t.Errorf("a batch has %d messages", n)
			}
		}
		if s := r.p.Stats(); s.Published != 1200 || s.QueueMessages != 0 || s.QueueBytes != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestLocalSocketsDoNotWaitForTheBus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{MaxOutboundMessages: 3})
		s := r.socket("s")
		release := r.bus.stall()
		defer release()
		for i := range 3 {
			if err := r.a.Broadcast(numbered(i), adapter.Target{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.a.Broadcast(numbered(3), adapter.Target{}); !errors.Is(err, adapter.ErrQueueFull) {
			t.Errorf("Broadcast on a full queue: %v", err)
		}
		if got := len(s.Received()); got != 4 {
			t.Errorf("the local socket got %d packets, want 4", got)
		}
		if s := r.p.Stats(); s.Refused != 1 || s.QueueMessages != 3 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestAFullQueueIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{MaxOutboundBytes: 4096})
		release := r.bus.stall()
		defer release()
		big := pack(`["` + string(make([]byte, 3000)) + `"]`)
		if err := r.a.Broadcast(big, adapter.Target{}); err != nil {
			t.Fatal(err)
		}
		if err := r.a.Broadcast(big, adapter.Target{}); !errors.Is(err, adapter.ErrQueueFull) {
			t.Errorf("Broadcast over the byte limit: %v", err)
		}
	})
}

func TestVolatileMessagesMakeRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{MaxOutboundMessages: 4})
		release := r.bus.stall()
		emit := func(i int, f adapter.Flags) error { return r.a.Broadcast(numbered(i), adapter.Target{Flags: f}) }
		for i, f := range []adapter.Flags{0, adapter.Volatile, 0, adapter.Volatile, 0} {
			if err := emit(i, f); err != nil {
				t.Fatalf("packet %d: %v", i, err)
			}
			synctest.Wait()
		}
		if err := emit(5, 0); err != nil {
			t.Errorf("there was room: %v", err)
		}
		if err := emit(6, adapter.Volatile); err != nil {
			t.Errorf("a volatile packet without space: %v, want silence", err)
		}
		if err := emit(7, 0); !errors.Is(err, adapter.ErrQueueFull) {
			t.Errorf("a full queue without volatile packets: %v", err)
		}
		release()
		synctest.Wait()
		var got []string
		for _, m := range r.bus.published(Broadcast) {
			got = append(got, string(m.Packet.Data))
		}
		want := []string{`["n",0]`, `["n",2]`, `["n",4]`, `["n",5]`}
		if len(got) != len(want) {
			t.Fatalf("published %q, want %q", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("published %q, want %q", got, want)
			}
		}
		if s := r.p.Stats(); s.Dropped != 2 || s.Refused != 2 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestAnOutageShorterThanTheAgeLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.bus.onPublish(func(context.Context, []*Message) error { return errDown })
		for i := range 50 {
			if err := r.a.Broadcast(numbered(i), adapter.Target{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(80 * time.Millisecond) // fake time: an outage of four seconds
		}
		r.bus.onPublish(nil)
		time.Sleep(maxBackOff)
		synctest.Wait()
		if got := len(r.bus.published(Broadcast)); got != 50 {
			t.Errorf("%d messages survived, want 50", got)
		}
		if s := r.p.Stats(); s.PublishErrors == 0 || s.Dropped != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestOldMessagesAreDroppedAndNewOnesRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{MaxOutboundAge: time.Second})
		hang := r.bus.stall()
		if err := r.a.Broadcast(numbered(0), adapter.Target{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		time.Sleep(999 * time.Millisecond)
		if err := r.a.Broadcast(numbered(1), adapter.Target{}); err != nil {
			t.Errorf("before the age: %v", err)
		}
		hang()
		r.bus.onPublish(func(context.Context, []*Message) error { return errDown })
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if s := r.p.Stats(); s.QueueMessages != 0 || s.Dropped == 0 {
			t.Errorf("stats %+v", s)
		}
		if err := r.a.Broadcast(numbered(2), adapter.Target{}); err != nil {
			t.Errorf("an empty queue takes a message: %v", err)
		}
	})
}

func TestAQueueThatStandsStillRefuses(t *testing.T) {
	t.Parallel()
	now := time.Now()
	o := newOutbox(&Options{MaxOutboundBytes: 1000, MaxOutboundMessages: 10, MaxOutboundAge: time.Second})
	if err := o.push(outgoing{size: 1, at: now}, false); err != nil {
		t.Fatal(err)
	}
	if err := o.push(outgoing{size: 1, at: now.Add(2 * time.Second)}, false); !errors.Is(err, adapter.ErrQueueFull) {
		t.Errorf("push: %v", err)
	}
	if err := o.push(outgoing{size: 1, at: now.Add(2 * time.Second)}, true); err != nil {
		t.Errorf("forced push: %v", err)
	}
}

func TestAPartOfABatchIsNotSentTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		hold := r.bus.stall()
		for i := range 6 {
			if err := r.a.Broadcast(numbered(i), adapter.Target{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		step := 0
		r.bus.onPublish(nil)
		hold()
		r.bus.onPublish(func(_ context.Context, batch []*Message) error {
			step++
			switch step {
			case 1:
				return &PublishError{Sent: 2, Err: errDown}
			case 2:
				return &PublishError{Sent: 1, Permanent: true, Err: errors.New("cannot be encoded")}
			}
			return nil
		})
		time.Sleep(time.Second)
		synctest.Wait()
		var got string
		for _, m := range r.bus.published(Broadcast) {
			got += string(m.Packet.Data[5:6])
		}
		// 0 was in flight; 1 and 2 sent; 3 sent and 4 dropped; 5 sent.
		if got != "01235" {
			t.Errorf("published %q, want 01235", got)
		}
	})
}

func TestCloseDoesNotWaitForADeadBus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{MaxOutboundAge: time.Hour})
		release := r.bus.stall()
		defer release()
		if err := r.a.Broadcast(numbered(0), adapter.Target{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := r.p.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("Close took %v", took)
		}
		if err := r.a.Broadcast(numbered(1), adapter.Target{}); !errors.Is(err, adapter.ErrClosed) {
			t.Errorf("Broadcast after Close: %v", err)
		}
	})
}
