package cluster

import (
	"math"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/internal/hist"
)

func TestLags(t *testing.T) {
	t.Parallel()
	now := time.Now().UnixMicro()
	for _, tc := range []struct {
		name        string
		sent        int64
		count       uint64
		early       uint64
		least, most float64 // seconds
	}{
		{"a minute ago", now - 60_000_000, 1, 0, 60, 600},
		{"not said", 0, 0, 0, 0, 0},
		{"by a clock that is an hour ahead", now + 3_600_000_000, 1, 1, 0, 0},
		{"in no possible year", math.MaxInt64, 1, 1, 0, 0},
		{"decades ago", 1, 1, 0, maxLag.Seconds(), maxLag.Seconds()},
	} {
		p := &Provider{lags: hist.NewDurations()}
		p.arrived(&Message{Kind: Broadcast, Ext: Ext{Sent: tc.sent}})
		got := p.lags.Snapshot()
		if got.Count != tc.count || p.early.Load() != tc.early || got.Sum < tc.least || got.Sum > tc.most {
			t.Errorf("%s: %d in %v s, %d early", tc.name, got.Count, got.Sum, p.early.Load())
		}
		if p.received[Broadcast].Load() != 1 {
			t.Errorf("%s: not counted", tc.name)
		}
	}
}
