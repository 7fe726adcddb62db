package redis

import (
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestTheBusIsMeasured(t *testing.T) {
	t.Parallel()
	eachVariant(t, func(t *testing.T, _ string, _ *testutil.RedisServer, _ *testutil.Proxy, a, b *node) {
		measures := func() cluster.Measures { return *b.p.Stats().Measures }
		if len(measures().Inbound) == 0 || measures().Inbound[0].MaxMessages == 0 {
			t.Errorf("queues: %+v", measures().Inbound)
		}
		before := measures().Subscriptions
		other, err := b.p.Open(t.Context(), adaptertest.NewHost("/other", "b"))
		if err != nil {
			t.Fatal(err)
		}
		if now := measures().Subscriptions; now <= before {
			t.Errorf("%d subscriptions became %d with another namespace", before, now)
		}
		if err := other.Close(t.Context()); err != nil {
			t.Error(err)
		}
		poll(t, "the subscriptions have ended", func() bool { return measures().Subscriptions == before })
		poll(t, "a probe has come back", func() bool { return measures().RoundTrips.Count > 0 })
		if trips := measures().RoundTrips; trips.Sum <= 0 || trips.Sum > 3600 {
			t.Errorf("%d round trips in %v s", trips.Count, trips.Sum)
		}

		earlier := b.p.Stats().Lags.Count
		if err := a.a.Broadcast(&adapter.Packet{Data: []byte(`["measured"]`)}, adapter.Target{}); err != nil {
			t.Fatal(err)
		}
		poll(t, "the time of the broadcast is measured", func() bool { return b.p.Stats().Lags.Count > earlier })
		if st := b.p.Stats(); st.Lags.Sum > 3600 || st.Early > 0 { // one clock
			t.Errorf("%+v, %d early", st.Lags, st.Early)
		}
	})
}

func TestQueuesOfReceivedMessagesAreMeasured(t *testing.T) {
	t.Parallel()
	in := newIntake(func(envelope) {}, func(Gap) {})
	to := &member{Attach: cluster.Attach{Namespace: "/"}}
	for range 3 {
		in.push(envelope{to: to, payload: "four"})
	}
	var messages, bytes int
	for _, q := range in.queues() {
		messages += q.Messages
		bytes += q.Bytes
	}
	if messages != 3 || bytes != 12 {
		t.Errorf("%d messages, %d bytes", messages, bytes)
	}
}

func TestABusyConnectionIsProbedNowAndThen(t *testing.T) {
	t.Parallel()
	w := watch{s: &subscriber{}, pulse: make(chan struct{}, 1)}
	probes := func(now time.Time) int {
		w.measure(now)
		select {
		case <-w.pulse:
			return 1
		default:
			return 0
		}
	}
	begin := time.Now()
	for _, step := range []struct {
		at   time.Duration
		want int
	}{{0, 0}, {measureInterval - 1, 0}, {measureInterval, 1}, {measureInterval + 1, 0}, {2 * measureInterval, 1}} {
		if got := probes(begin.Add(step.at)); got != step.want {
			t.Errorf("after %v: %d probes, want %d", step.at, got, step.want)
		}
	}
}

// What is measured of a probe is the time since it was sent, and nothing of what
// somebody else publishes there.
func TestOnlyOwnProbesAreMeasured(t *testing.T) {
	t.Parallel()
	s := newChannelSet(&link{}, plain, &Options{}, nil)
	for _, payload := range []string{"", string(probePayload), string(probePayload) + "short", "12345678", "x"} {
		s.returned(payload)
	}
	if n := s.trips.Snapshot().Count; n != 0 {
		t.Errorf("%d round trips of foreign messages", n)
	}
}
