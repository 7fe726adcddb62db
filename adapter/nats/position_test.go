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
	if j.advance(5, 0) || !j.advance(6, 0) || len(gaps) != 0 {
		t.Errorf("an entry that was read is new, or the next one is not; gaps %v", gaps)
	}
	info := &jetstream.StreamInfo{Created: first, State: jetstream.StreamState{FirstSeq: 1, LastSeq: 9}}
	if j.compare(info, 6) {
		t.Error("the same stream is another")
	}
	at := j.position()
	info.State.LastSeq = 6 // and while that was asked for, an entry came
	if !j.advance(7, 0) || j.compare(info, at) || j.position() != 7 {
		t.Errorf("at %d: what came after a look is taken for lost", j.position())
	}
	info.State.LastSeq = 5
	if !j.compare(info, at) || j.position() != 5 || len(gaps) != 1 || gaps[0].Kind != GapRewound {
		t.Errorf("at %d: the stream lost its end, gaps %v", j.position(), gaps)
	}
	info.Created = first.Add(time.Second) // and has grown past the old position
	if !j.compare(info, j.position()) || j.position() != 0 || len(gaps) != 2 || gaps[1].Kind != GapRewound {
		t.Errorf("at %d, gaps %v", j.position(), gaps)
	}
}
