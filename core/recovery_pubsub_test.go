package core_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/socketfleet/socketfleet/core"
)

// As TestClientsOfAKilledNodeMissNothing, over pub/sub: the order of one sender is
// kept, and of each, that of the killed node too, everything comes once.
func TestClientsOfANodeKilledOverPubSubMissNothing(t *testing.T) {
	t.Parallel()
	adapterURL := pubSubURL(t, "redis")
	doomed, other := startNodeChild(t, adapterURL), startNodeChild(t, adapterURL)
	third := start(t, &core.Options{AdapterURL: adapterURL, Recovery: &core.RecoveryOptions{}})
	third.OnConnect(func(_ context.Context, s *core.Socket) error { return s.Join("red") })
	watcher, wk := third.arrive(t)
	third.joined(t, wk.SID)
	var log []string // what a client of a third node got
	log = append(log, wk.note(t, read(t, watcher)))

	reader, k := doomed.arrive(t)
	_, deaf := doomed.arrive(t)
	var got []string
	for range 300 {
		got = append(got, k.note(t, read(t, reader)))
	}
	if err := doomed.cmd.Process.Kill(); err != nil { // SIGKILL
		t.Fatal(err)
	}
	for range 200 {
		log = append(log, wk.note(t, read(t, watcher)))
	}
	reader, missed := other.returned(t, &k)
	got = append(got, missed...)
	silent, none := other.returned(t, &deaf)
	emitTo(t, third, "red", "end")
	for e := ""; e != "end"; got = append(got, e) {
		e = k.note(t, read(t, reader))
	}
	for e := ""; e != "end"; none = append(none, e) {
		e = deaf.note(t, read(t, silent))
	}
	for e := ""; e != "end"; log = append(log, e) {
		e = wk.note(t, read(t, watcher))
	}
	want := spans(t, "the client of the third node", log)
	for who, list := range map[string][]string{"the client that had read": got, "the client that had read nothing": none} {
		have := spans(t, who, list)
		if len(have) != 2 {
			t.Errorf("%s got events of %d senders", who, len(have))
		}
		pid := fmt.Sprint(doomed.cmd.Process.Pid)
		if have[pid] != want[pid] {
			t.Errorf("%s: the last event of the killed node is %d, want %d", who, have[pid], want[pid])
		}
	}
	t.Logf("%d events missed and replayed, %d for the client that had read nothing", len(missed), len(none))
}

// spans checks that the events of each process follow each other without a hole or
// a repetition, and returns the last of each.
func spans(t *testing.T, who string, list []string) map[string]int {
	t.Helper()
	last := make(map[string]int)
	for _, e := range list {
		var pid string
		var n int
		if _, err := fmt.Sscanf(e, "tick %s %d", &pid, &n); err != nil {
			continue
		}
		if before, known := last[pid]; known && n != before+1 {
			t.Fatalf("%s: event %d of process %s follows %d", who, n, pid, before)
		}
		last[pid] = n
	}
	return last
}
