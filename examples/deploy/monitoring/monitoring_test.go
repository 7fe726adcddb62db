package monitoring

import (
	"encoding/json"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

var promql = parser.NewParser(parser.Options{})

// query is one expression and where it stands.
type query struct{ at, expr string }

// panel is the part of a Grafana panel that is looked at.
type panel struct {
	Title   string
	Targets []struct{ Expr, LegendFormat string }
}

func dashboard(t *testing.T) (panels []panel, variables []string) {
	t.Helper()
	text, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels     []panel
		Templating struct {
			List []struct{ Type, Query string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			variables = append(variables, v.Query)
		}
	}
	return d.Panels, variables
}

// grafana are the variables that Grafana replaces before Prometheus sees a query.
var grafana = strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$instance", ".*")

func queries(t *testing.T) (all []query) {
	t.Helper()
	panels, _ := dashboard(t)
	for _, p := range panels {
		for _, target := range p.Targets {
			all = append(all, query{"dashboard: " + p.Title, grafana.Replace(target.Expr)})
		}
	}
	text, err := os.ReadFile("alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, promql, slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if groups == nil {
		t.FailNow()
	}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			all = append(all, query{"alert " + r.Alert, r.Expr})
		}
	}
	if len(all) < 50 {
		t.Fatalf("only %d queries found", len(all))
	}
	return all
}

// Prometheus adds these to everything it scrapes.
var added = []string{"job", "instance"}

// TestEveryQueryFindsWhatAFleetExposes starts three nodes, sends them traffic, and
// looks up every metric, label and label value that the dashboard and the alerts name.
func TestEveryQueryFindsWhatAFleetExposes(t *testing.T) {
	nodes := startFleet(t, 3)
	traffic(t, nodes)
	exposed := nodes[0].exposed(t)
	for _, q := range queries(t) {
		for _, problem := range check(exposed, q.expr) {
			t.Errorf("%s: %s\n\t%s", q.at, problem, q.expr)
		}
	}
	_, variables := dashboard(t)
	metric := regexp.MustCompile(`label_values\(([a-z_]+)`)
	for _, v := range variables {
		if m := metric.FindStringSubmatch(v); m == nil || exposed[m[1]] == nil {
			t.Errorf("variable of the dashboard: %s", v)
		}
	}
}

func TestMissingMetricsLabelsAndValuesAreFound(t *testing.T) {
	t.Parallel()
	name, label, value := "socketio_sockets", "namespace", "/"
	family := &dto.MetricFamily{Name: &name, Type: dto.MetricType_GAUGE.Enum(),
		Metric: []*dto.Metric{{Label: []*dto.LabelPair{{Name: &label, Value: &value}}}}}
	exposed := map[string]*dto.MetricFamily{name: family}
	for expr, want := range map[string]string{
		`sum by (namespace) (socketio_sockets{instance="a"})`: "",
		`socketio_socket`:                   "no metric socketio_socket",
		`rate(socketio_sockets_bucket[5m])`: "no metric socketio_sockets_bucket",
		`socketio_sockets{nsp="/"}`:         "socketio_sockets has no label nsp",
		`socketio_sockets{namespace="/x"}`:  `no socketio_sockets with namespace="/x"`,
		`sum by (nsp) (socketio_sockets)`:   "grouped by nsp, which nothing has",
		`sum by (`:                          "parse error",
	} {
		got := strings.Join(check(exposed, expr), "; ")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
}

// check returns what is wrong with a query.
func check(exposed map[string]*dto.MetricFamily, expr string) (problems []string) {
	tree, err := promql.ParseExpr(expr)
	if err != nil {
		return []string{"parse error: " + err.Error()}
	}
	known := slices.Clone(added)
	var grouped []string
	parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			f, histogram := family(exposed, n.Name)
			if f == nil {
				problems = append(problems, "no metric "+n.Name)
				return nil
			}
			if histogram {
				known = append(known, "le")
			}
			known = append(known, labelNames(f)...)
			problems = append(problems, checkMatchers(f, n)...)
		case *parser.AggregateExpr:
			grouped = append(grouped, n.Grouping...)
		}
		return nil
	})
	for _, name := range grouped {
		if !slices.Contains(known, name) {
			problems = append(problems, "grouped by "+name+", which nothing has")
		}
	}
	return problems
}

// family returns the family of a series, which for the parts of a histogram is not
// named like it.
func family(exposed map[string]*dto.MetricFamily, series string) (f *dto.MetricFamily, histogram bool) {
	if f := exposed[series]; f != nil {
		return f, false
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		name, cut := strings.CutSuffix(series, suffix)
		if f := exposed[name]; cut && f != nil && f.GetType() == dto.MetricType_HISTOGRAM {
			return f, true
		}
	}
	return nil, false
}

func labelNames(f *dto.MetricFamily) (names []string) {
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			names = append(names, l.GetName())
		}
	}
	return names
}

func checkMatchers(f *dto.MetricFamily, n *parser.VectorSelector) (problems []string) {
	for _, m := range n.LabelMatchers {
		switch {
		case m.Name == model.MetricNameLabel, slices.Contains(added, m.Name):
		case !slices.Contains(labelNames(f), m.Name):
			problems = append(problems, f.GetName()+" has no label "+m.Name)
		case m.Type == labels.MatchEqual && !hasValue(f, m.Name, m.Value):
			problems = append(problems, "no "+f.GetName()+" with "+m.String())
		}
	}
	return problems
}

func hasValue(f *dto.MetricFamily, name, value string) bool {
	return slices.ContainsFunc(f.GetMetric(), func(m *dto.Metric) bool {
		return slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool {
			return l.GetName() == name && l.GetValue() == value
		})
	})
}

// A legend that names a label the query has summed away shows nothing.
func TestLegendsNameLabelsOfTheirQueries(t *testing.T) {
	t.Parallel()
	panels, _ := dashboard(t)
	braces := regexp.MustCompile(`{{\s*(\w+)\s*}}`)
	for _, p := range panels {
		for _, target := range p.Targets {
			tree, err := promql.ParseExpr(grafana.Replace(target.Expr))
			if err != nil {
				t.Errorf("%s: %v", p.Title, err)
				continue
			}
			kept := slices.Clone(added)
			parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
				if a, ok := n.(*parser.AggregateExpr); ok {
					kept = a.Grouping
				}
				return nil
			})
			for _, m := range braces.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !slices.Contains(kept, m[1]) {
					t.Errorf("%s: legend %q, but only %q are left", p.Title, target.LegendFormat, kept)
				}
			}
		}
	}
}
