package nats

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestTheReaderKnowsItsPlaceInTheStream(t *testing.T) {
	t.Parallel()
	var gaps []Gap
	first := time.Now()
	b := &bus{opts: Options{Logger: slog.New(slog.DiscardHandler), OnGap: func(g Gap) { gaps = append(gaps, g) }}}
	j := &journal{bus: b, created: first, last: 5}
	advance := func(seq uint64) bool {
		_, isNew, _ := j.advanceLocked(t.Context(), &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Stream: seq}, Timestamp: first})
		return isNew
	}
	if advance(5) || !advance(6) || len(gaps) != 0 {
		t.Errorf("an entry that was read is new, or the next one is not; gaps %v", gaps)
	}
	info := &jetstream.StreamInfo{Created: first, State: jetstream.StreamState{FirstSeq: 1, LastSeq: 9}}
	if j.compare(t.Context(), info, j.here()) {
		t.Error("the same stream is another")
	}
	before := j.here()
	info.State.LastSeq = 6 // and while that was asked for, an entry came
	if !advance(7) || j.compare(t.Context(), info, before) || j.position() != 7 {
		t.Errorf("at %d: what came after a look is taken for lost", j.position())
	}
	info.State.LastSeq = 5
	if !j.compare(t.Context(), info, before) || j.position() != 5 || len(gaps) != 1 || gaps[0].Kind != GapRewound {
		t.Errorf("at %d: the stream lost its end, gaps %v", j.position(), gaps)
	}
	info.Created = first.Add(time.Second) // and has grown past the old position
	if !j.compare(t.Context(), info, j.here()) || j.position() != 0 || len(gaps) != 2 || gaps[1].Kind != GapRewound {
		t.Errorf("at %d, gaps %v", j.position(), gaps)
	}
}
