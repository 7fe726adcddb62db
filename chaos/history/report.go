package history

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// What is a kind of broken promise.
type What string

// The broken promises.
const (
	Missing   What = "missing outside gaps"
	Duplicate What = "duplicate"
	Reordered What = "reordered"
	Unknown   What = "never emitted"
)

// Finding is one broken promise.
type Finding struct {
	What    What
	Client  string
	Node    string // the emitting one
	Emitter string
	Seq     uint64
	At      int64 // when the message was emitted, or delivered
	Local   bool  // the client was on the emitting node
}

// String tells the finding in one line.
func (f Finding) String() string {
	where := ""
	if f.Local {
		where = ", which was on the emitting node"
	}
	return fmt.Sprintf("%s: message %d of %s at client %s%s, at %v", f.What, f.Seq, f.Emitter, f.Client, where, time.Duration(f.At))
}

// Report is the judgment of a history. Emitted counts messages, Delivered what
// clients got, the others pairs of a chain and a message.
type Report struct {
	Emitted, Delivered int
	// Due counts what chains were entitled to; InGap and Told what of it is missing
	// inside a gap the receiving node reported, and reported by the emitting one.
	Due, InGap, Told int
	// Repeats counts messages that came again where that is allowed.
	Repeats int
	// Recovered and NotRecovered count the sessions of clients that came back.
	Recovered, NotRecovered int
	// Gaps and Faults count by reason.
	Gaps, Faults map[string]int
	// Findings are the broken promises in the order of their times. None means
	// that the history keeps them all.
	Findings []Finding
}

func newReport() *Report {
	return &Report{Gaps: make(map[string]int), Faults: make(map[string]int)}
}

func (r *Report) found(f Finding) { r.Findings = append(r.Findings, f) }

func (r *Report) sort() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(a.At, b.At) })
}

// Count returns how many findings are of one kind.
func (r *Report) Count(w What) int {
	n := 0
	for _, f := range r.Findings {
		if f.What == w {
			n++
		}
	}
	return n
}

// Add adds the figures of other to r.
func (r *Report) Add(other *Report) {
	r.Emitted += other.Emitted
	r.Delivered += other.Delivered
	r.Due += other.Due
	r.InGap += other.InGap
	r.Told += other.Told
	r.Repeats += other.Repeats
	r.Recovered += other.Recovered
	r.NotRecovered += other.NotRecovered
	addAll(&r.Gaps, other.Gaps)
	addAll(&r.Faults, other.Faults)
	r.Findings = append(r.Findings, other.Findings...)
}

func addAll(to *map[string]int, from map[string]int) {
	if *to == nil {
		*to = make(map[string]int)
	}
	for k, n := range from {
		(*to)[k] += n
	}
}

// String is a table of the figures.
func (r *Report) String() string {
	var b strings.Builder
	for _, line := range []struct {
		name string
		n    int
	}{
		{"emitted", r.Emitted}, {"delivered", r.Delivered}, {"due", r.Due},
		{"missing inside gaps", r.InGap}, {"missing, reported by emitter", r.Told},
		{"missing outside gaps", r.Count(Missing)}, {"duplicates", r.Count(Duplicate)}, {"repeats, allowed", r.Repeats},
		{"reordered", r.Count(Reordered)}, {"never emitted", r.Count(Unknown)},
		{"recovered", r.Recovered}, {"not recovered", r.NotRecovered},
	} {
		fmt.Fprintf(&b, "%-30s %8d\n", line.name, line.n)
	}
	fmt.Fprintf(&b, "%-30s %s\n", "gaps by kind", counts(r.Gaps))
	fmt.Fprintf(&b, "%-30s %s\n", "faults by kind", counts(r.Faults))
	return b.String()
}

func counts(m map[string]int) string {
	if len(m) == 0 {
		return "none"
	}
	var list []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(list, ", ")
}
