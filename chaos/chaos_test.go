package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/chaos/history"
)

const (
	// faultEvery and chaosEvery are between two messages of an emitter, of which
	// there are six: 150 and 200 messages a second.
	faultEvery = 40 * time.Millisecond
	chaosEvery = 30 * time.Millisecond

	smoke = 5 * time.Second // how long a run takes without CHAOS
)

// TestFaults runs every kind of fault alone, in every mode it means something in.
func TestFaults(t *testing.T) {
	t.Parallel()
	for i, f := range faults {
		for _, mode := range modes {
			if !f.isFor(mode, "") {
				continue
			}
			t.Run(f.name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				p := plan{mode: mode, topology: f.topology, every: faultEvery, maxLen: f.maxLen, outage: patience}
				w := newWorld(t, p, rand.New(rand.NewPCG(1, uint64(i))))
				w.fault(f.name, func() { f.do(w) })
				w.flows()
				f.check(t, w)
			})
		}
	}
}

// isFor reports whether f means something in a mode and a topology; empty: any.
func (f *fault) isFor(mode, topology string) bool {
	return (f.modes == "" || slices.Contains(strings.Fields(f.modes), mode)) &&
		(f.topology == "" || topology == "" || f.topology == topology)
}

// check ends w and looks for what is promised in spite of the fault.
func (f *fault) check(t *testing.T, w *world) {
	t.Helper()
	kind := f.gap[w.plan.mode]
	if kind != "" && !w.wait(func() bool { return w.hasGap(kind) }) {
		t.Errorf("no gap of kind %s: the fault had no effect, or nobody noticed", kind)
	}
	rep := w.finish()
	t.Logf("%s\n%s", w.plan.mode, rep)
	if slices.Contains(strings.Fields(f.whole), w.plan.mode) && rep.InGap+rep.Told > 0 {
		t.Errorf("%d messages are missing, want none", rep.InGap+rep.Told)
	}
	if slices.Contains(strings.Fields(f.back), w.plan.mode) && (rep.Recovered == 0 || rep.NotRecovered > 0) {
		t.Errorf("%d sessions were recovered and %d were not; want some, and all", rep.Recovered, rep.NotRecovered)
	}
	if rep.Due == 0 {
		t.Error("nothing was due")
	}
}

// TestChaos runs CHAOS long, divided over the modes and topologies, and breaks one
// thing after the other as SEED decides. MODE and TOPOLOGY narrow it down.
func TestChaos(t *testing.T) {
	length, seed := settings(t)
	sum := new(history.Report)
	list := segments(t)
	for _, p := range list {
		name := p.mode + "/" + p.topology
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, p, rand.New(rand.NewPCG(seed, uint64(slices.Index(modes, p.mode)*10+slices.Index(topologies, p.topology)))))
			w.breakThings(time.Now().Add(length * share[p.topology] / total(list)))
			sum.Add(w.finish())
		})
	}
	t.Logf("CHAOS=%v SEED=%d\n%s", length, seed, sum)
	if sum.Due == 0 {
		t.Error("nothing was due")
	}
}

// settings reads the environment and says what a run can be repeated with.
func settings(t *testing.T) (length time.Duration, seed uint64) {
	t.Helper()
	length, seed = smoke, rand.Uint64N(1e6)
	var err error
	if s := os.Getenv("CHAOS"); s != "" {
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	if s := os.Getenv("SEED"); s != "" {
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Printf("chaos: CHAOS=%v SEED=%d MODE=%s TOPOLOGY=%s\n", length, seed, os.Getenv("MODE"), os.Getenv("TOPOLOGY"))
	return length, seed
}

// share is how much of a run a topology gets, relative to the others.
var share = map[string]time.Duration{"single": 3, "sentinel": 1, "cluster": 1}

func total(list []plan) (sum time.Duration) {
	for _, p := range list {
		sum += share[p.topology]
	}
	return sum
}

// segments returns the worlds of a run: without CHAOS a single one.
func segments(t *testing.T) []plan {
	t.Helper()
	var list []plan
	for _, mode := range chosen(t, "MODE", modes) {
		for _, topology := range chosen(t, "TOPOLOGY", topologies) {
			list = append(list, plan{mode: mode, topology: topology, every: chaosEvery})
		}
	}
	if os.Getenv("CHAOS") == "" {
		list = list[:1]
	}
	return list
}

// chosen returns what a variable picks: a word of all, "all" or nothing for all.
func chosen(t *testing.T, variable string, all []string) []string {
	t.Helper()
	switch v := os.Getenv(variable); {
	case v == "" || v == "all":
		return all
	case slices.Contains(all, v):
		return []string{v}
	default:
		t.Fatalf("%s=%s is none of %v", variable, v, all)
		return nil
	}
}

// breakThings breaks one thing after the other, each kind before any comes again,
// until the time has come. Half of the faults strike while the cluster may still be
// busy with the one before.
func (w *world) breakThings(until time.Time) {
	w.tb.Helper()
	var list []fault
	for _, f := range faults {
		if f.isFor(w.plan.mode, w.plan.topology) && f.maxLen == 0 {
			list = append(list, f)
		}
	}
	for !w.tb.Failed() {
		w.rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		for _, f := range list {
			w.fault(f.name, func() { f.do(w) })
			if w.rnd.IntN(2) == 0 {
				w.flows()
			}
			w.hold(0, time.Second)
			if w.tb.Failed() || time.Now().After(until) {
				w.flows()
				return
			}
		}
	}
}
