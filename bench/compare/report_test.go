package main

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheReportShowsMediansAndRatiosWithinRounds(t *testing.T) {
	t.Parallel()
	all := results{
		"socketfleet": {{"connect": 10}, {"connect": 30}, {"connect": 20}},
		"node":        {{"connect": 100}, {"connect": 100}, {"connect": 50}},
	}
	cfg, err := parseFlags([]string{"-servers", "socketfleet,node"})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := all.write(&b, cfg, map[string]string{"node": "v0"}, []string{"a note"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"20.0 (10.0-30.0)", "100.0 (50.0-100.0)", "0.30 (0.10-0.40)", "<= 0.40", "*** a note ***", "node: v0",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, b.String())
		}
	}
}

func TestWithoutTheReferenceThereIsNoRatio(t *testing.T) {
	t.Parallel()
	all := results{"socketfleet": {{"connect": 10}}}
	if got := all.ratios("connect"); len(got) != 0 {
		t.Errorf("ratios = %v, want none", got)
	}
}

func TestSpreadIsMedianLeastAndMost(t *testing.T) {
	t.Parallel()
	cases := []struct {
		values []float64
		want   string
	}{
		{nil, "-"},
		{[]float64{2}, "2.0 (2.0-2.0)"},
		{[]float64{4, 1, 2}, "2.0 (1.0-4.0)"},
		{[]float64{4, 1, 2, 3}, "2.5 (1.0-4.0)"},
		{[]float64{5000, 1}, "2500 (1-5000)"},
	}
	for _, c := range cases {
		if got := spread(c.values, 1); got != c.want {
			t.Errorf("spread(%v) = %q, want %q", c.values, got, c.want)
		}
	}
}

func TestFlagsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"-servers", "apache"}, {"-clients", "0"}, {"-rate", "-1"}, {"-rounds", "0"}, {"extra"},
	} {
		if _, err := parseFlags(args); err == nil {
			t.Errorf("parseFlags(%q) succeeded", args)
		}
	}
}
