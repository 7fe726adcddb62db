package prometheus

import (
	"errors"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/socketfleet/socketfleet/core"
)

// defaultMaxEvents is what Options.MaxEvents is by default.
const defaultMaxEvents = 200

// Options configure a Collector. The zero value means the defaults.
type Options struct {
	// Labels are added to every metric: needed to tell several servers of one process
	// apart, for example {"server": "admin"}. Default: none.
	Labels map[string]string
	// MaxEvents bounds the names of events with time series of their own, for all
	// namespaces together. Only events that a handler is registered for on a namespace
	// or a family have one; all others count as "_other". Default 200; negative: none.
	MaxEvents int
	// DurationBuckets are the upper bounds of socketio_event_handler_duration_seconds,
	// in seconds. Default: 1 ms to 10 s. A server of Prometheus with native histograms
	// switched on takes those instead.
	DurationBuckets []float64
}

// Collector is the metrics of one server.
type Collector struct {
	// Immutable after New.
	srv    *core.Server
	stop   func()
	descs  []*prom.Desc
	m      metrics
	events *events
}

var _ prom.Collector = (*Collector)(nil)

// New returns the metrics of srv, and counts what histograms need from now on. nil
// options mean the defaults. It panics when a label is not valid.
func New(srv *core.Server, opts *Options) *Collector {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.MaxEvents == 0 {
		o.MaxEvents = defaultMaxEvents
	}
	if o.DurationBuckets == nil {
		o.DurationBuckets = []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	}
	c := &Collector{srv: srv, events: newEvents(&o)}
	c.m = newMetrics(func(name, help string, labels ...string) *prom.Desc {
		d := prom.NewDesc("socketio_"+name, help, labels, o.Labels)
		c.descs = append(c.descs, d)
		return d
	})
	c.stop = sync.OnceFunc(srv.Observe(c.events))
	return c
}

// Close ends the counting for histograms. It is not needed for a server that is
// shut down. It always returns nil.
func (c *Collector) Close() error {
	c.stop()
	return nil
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prom.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
	c.events.Describe(ch)
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prom.Metric) {
	o := out{ch}
	o.gauge(c.m.build, 1, version(), runtime.Version())
	st := c.srv.Stats()
	c.engine(o, &st.Engine)
	c.server(o, &st)
	c.namespaces(o, st.ByNamespace)
	c.adapter(o, &st)
	c.forwarder(o)
	c.events.Collect(ch)
}

// Handler serves the metrics of c, and those of the Go runtime and the process, from
// a registry of its own. It belongs on a listener that clients do not reach.
func Handler(c *Collector) http.Handler {
	registry := prom.NewRegistry()
	registry.MustRegister(c, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry})
}

// out sends metrics to one scrape.
type out struct{ ch chan<- prom.Metric }

func (o out) counter(d *prom.Desc, v uint64, labels ...string) {
	o.ch <- prom.MustNewConstMetric(d, prom.CounterValue, float64(v), labels...)
}

func (o out) gauge(d *prom.Desc, v float64, labels ...string) {
	o.ch <- prom.MustNewConstMetric(d, prom.GaugeValue, v, labels...)
}

func (o out) histogram(d *prom.Desc, h core.Histogram, labels ...string) {
	o.ch <- prom.MustNewConstHistogram(d, h.Count, h.Sum, h.Buckets, labels...)
}

// boolean is a truth as a gauge has it.
func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// version returns the version of the server's module in the running program.
func version() string {
	const module, unknown = "github.com/socketfleet/socketfleet", "unknown"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknown
	}
	for _, d := range append(info.Deps, &info.Main) {
		if d.Path == module && d.Version != "" {
			return d.Version
		}
	}
	return unknown
}

// resultOf says how a request to other nodes ended.
func resultOf(err error) string {
	var partial *core.PartialError
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, core.ErrAckTimeout), isTimeout(err):
		return "timeout"
	case errors.As(err, &partial):
		return "partial"
	}
	return "error"
}
