package core

import (
	"errors"
	"fmt"
	"slices"

	"github.com/socketfleet/socketfleet/adapter"
)

// RecoveryResult says how a client's wish to resume its session ended.
type RecoveryResult string

const (
	RecoveredFull       RecoveryResult = "full"        // with the packets it had missed
	RecoveredNoneMissed RecoveryResult = "none_missed" // there were none
	LostExpired         RecoveryResult = "expired"     // unknown, expired, or taken by another connection
	LostTrimmed         RecoveryResult = "trimmed"     // what it missed is not all kept, or too much
	LostEpoch           RecoveryResult = "epoch"       // its offset is of another log
	LostLimit           RecoveryResult = "limit"       // RecoveryOptions.MaxRestores
	LostError           RecoveryResult = "error"       // the store does not answer
)

var recoveryResults = [...]RecoveryResult{
	RecoveredFull, RecoveredNoneMissed, LostExpired, LostTrimmed, LostEpoch, LostLimit, LostError,
}

var errRestores = fmt.Errorf("%w: more clients come back than MaxRestores", adapter.ErrNoSession)

// resultOf classifies why a session was not resumed.
func resultOf(err error) RecoveryResult {
	switch {
	case errors.Is(err, errRestores):
		return LostLimit
	case errors.Is(err, adapter.ErrSessionTrimmed):
		return LostTrimmed
	case errors.Is(err, adapter.ErrSessionOffset):
		return LostEpoch
	case errors.Is(err, adapter.ErrSessionStore), !errors.Is(err, adapter.ErrNoSession):
		return LostError
	}
	return LostExpired
}

func (g *restoreGate) fail(err error) { g.add(resultOf(err)) }

func (g *restoreGate) succeed(missed int) {
	g.packets.Observe(int64(missed))
	if missed > 0 {
		g.add(RecoveredFull)
		return
	}
	g.add(RecoveredNoneMissed)
}

func (g *restoreGate) add(r RecoveryResult) {
	g.results[slices.Index(recoveryResults[:], r)].Add(1)
}

// snapshot fills in what Stats says of recoveries.
func (g *restoreGate) snapshot(st *Stats) {
	st.RecoveredPackets = g.packets.Snapshot()
	st.RecoveryResults = make(map[RecoveryResult]uint64, len(recoveryResults))
	for i, r := range recoveryResults {
		n := g.results[i].Load()
		st.RecoveryResults[r] = n
		if r == RecoveredFull || r == RecoveredNoneMissed {
			st.Recoveries += n
		} else {
			st.RecoveryFailures += n
		}
	}
}
