package core_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// wantResult waits until one attempt to recover has ended, and how.
func (r *rig) wantResult(t testing.TB, want core.RecoveryResult) {
	t.Helper()
	var got map[core.RecoveryResult]uint64
	eventually(t, "an attempt is counted", func() bool {
		st := r.Stats()
		got = st.RecoveryResults
		return st.Recoveries+st.RecoveryFailures == 1
	})
	for result, n := range got {
		if (result == want) != (n == 1) {
			t.Errorf("results %v, want one %s", got, want)
		}
	}
	if len(got) != 7 {
		t.Errorf("results %v: those that never happened have to be there", got)
	}
}

func TestWhyAClientWasNotRecoveredIsCounted(t *testing.T) {
	t.Parallel()
	for want, c := range map[core.RecoveryResult]struct {
		opts core.RecoveryOptions
		away func(t *testing.T, r *rig, k *ticket)
	}{
		core.RecoveredNoneMissed: {core.RecoveryOptions{}, func(*testing.T, *rig, *ticket) {}},
		core.RecoveredFull: {core.RecoveryOptions{}, func(t *testing.T, r *rig, _ *ticket) {
			emit(t, r, "missed")
			emit(t, r, "missed")
		}},
		core.LostTrimmed: {core.RecoveryOptions{MaxReplayPackets: 1}, func(t *testing.T, r *rig, _ *ticket) {
			emit(t, r, "missed")
			emit(t, r, "missed")
		}},
		core.LostExpired: {core.RecoveryOptions{}, func(_ *testing.T, _ *rig, k *ticket) { k.PID = strings.Repeat("0", len(k.PID)) }},
		core.LostEpoch:   {core.RecoveryOptions{}, func(_ *testing.T, _ *rig, k *ticket) { k.offset = "AAAAAAAA.1" }},
	} {
		t.Run(string(want), func(t *testing.T) {
			t.Parallel()
			r := start(t, &core.Options{Recovery: &c.opts})
			e, k := r.arrive(t)
			emit(t, r, "seen")
			readEvent(t, e, &k)
			r.lose(t, e, k.SID)
			c.away(t, r, &k)
			r.comeBack(t, k)
			r.wantResult(t, want)
			packets := r.Stats().RecoveredPackets
			missed := map[core.RecoveryResult]float64{core.RecoveredFull: 2}[want]
			if recovered := want == core.RecoveredFull || want == core.RecoveredNoneMissed; recovered != (packets.Count == 1) || packets.Sum != missed {
				t.Errorf("%d clients had missed %v packets", packets.Count, packets.Sum)
			}
		})
	}
}

func TestRecoveriesBeyondTheLimitAreCounted(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{Recovery: &core.RecoveryOptions{MaxRestores: 1}})
	for range 8 {
		e, k := r.arrive(t)
		r.lose(t, e, k.SID)
		readTicket(t, r.comeBack(t, k), "")
		if r.Stats().RecoveryResults[core.LostLimit] > 0 {
			return
		}
	}
	t.Errorf("results %v", r.Stats().RecoveryResults)
}

// Another node counts what the client had missed.
func TestRecoveryResultsOfAFleet(t *testing.T) {
	t.Parallel()
	eachFleet(t, 2, func(t *testing.T, nodes []*rig) {
		e, k := nodes[0].arrive(t)
		nodes[0].joined(t, k.SID)
		emit(t, nodes[1], "seen")
		k.note(t, read(t, e))
		nodes[0].lose(t, e, k.SID)
		emit(t, nodes[0], "missed")
		nodes[1].returned(t, &k)
		nodes[1].wantResult(t, core.RecoveredFull)
		if p := nodes[1].Stats().RecoveredPackets; p.Count != 1 || p.Sum != 1 {
			t.Errorf("%d clients had missed %v packets", p.Count, p.Sum)
		}
	})
}

func TestAStoreThatDoesNotAnswerIsToldFromALostSession(t *testing.T) {
	t.Parallel()
	server := testutil.LocalRedis(t)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Scheme = "redis+streams"
	r := startFleet(t, 1, u.String())[0]
	e, k := r.arrive(t)
	r.joined(t, k.SID)
	r.lose(t, e, k.SID)
	server.Pause(t)
	defer server.Resume(t)
	r.comeBack(t, k)
	r.wantResult(t, core.LostError)
}
