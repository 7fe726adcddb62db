package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// results holds the samples of each server, one per round, by server name.
type results map[string][]sample

// subject is what a round of ratios compares, reference is with what.
const (
	subject   = "socketfleet"
	reference = "node"
)

// write prints the table: the median of the rounds with the least and the most,
// and the ratio of subject to reference within each round likewise.
func (r results) write(w io.Writer, cfg config, about map[string]string, notes []string) error {
	fmt.Fprintf(w, "%s\n%d cores, %s\n", machine(), runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly))
	for _, name := range cfg.servers {
		if about[name] != "" {
			fmt.Fprintf(w, "%s: %s\n", name, about[name])
		}
	}
	fmt.Fprintf(w, "%d clients, %d idle, payload %d bytes, %g events/s for %g s, bursts of %d, %d rounds: median (least-most)\n",
		cfg.clients, cfg.idle, cfg.payload, cfg.rate, cfg.seconds, cfg.burst, cfg.rounds)
	for _, note := range notes {
		fmt.Fprintf(w, "*** %s ***\n", note)
	}
	fmt.Fprintln(w)

	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "\t")
	for _, name := range cfg.servers {
		if len(r[name]) > 0 {
			fmt.Fprintf(table, "%s\t", name)
		}
	}
	fmt.Fprintf(table, "%s/%s\taim\n", subject, reference)
	for _, m := range metrics {
		r.row(table, m, cfg.servers)
	}
	return table.Flush()
}

func (r results) row(w io.Writer, m metric, servers []string) {
	fmt.Fprintf(w, "%s\t", m.title)
	for _, name := range servers {
		if len(r[name]) > 0 {
			fmt.Fprintf(w, "%s\t", spread(r.values(name, m.key), 1))
		}
	}
	fmt.Fprintf(w, "%s\t", spread(r.ratios(m.key), 2))
	if m.limit > 0 {
		fmt.Fprintf(w, "<= %.2f", m.limit)
	}
	fmt.Fprintln(w)
}

func (r results) values(name, key string) []float64 {
	var all []float64
	for _, s := range r[name] {
		all = append(all, s[key])
	}
	return all
}

// ratios divides round by round, so that what slows the machine down for a while
// hits both sides of a ratio.
func (r results) ratios(key string) []float64 {
	a, b := r.values(subject, key), r.values(reference, key)
	var all []float64
	for i := range min(len(a), len(b)) {
		if b[i] > 0 {
			all = append(all, a[i]/b[i])
		}
	}
	return all
}

// spread formats the median, the least and the most of values.
func spread(values []float64, digits int) string {
	if len(values) == 0 {
		return "-"
	}
	if slices.Max(values) >= 1000 {
		digits = 0
	}
	return fmt.Sprintf("%.*f (%.*f-%.*f)", digits, median(values), digits, slices.Min(values), digits, slices.Max(values))
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	mid := len(v) / 2
	if len(v)%2 == 1 {
		return v[mid]
	}
	return (v[mid-1] + v[mid]) / 2
}
