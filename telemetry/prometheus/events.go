package prometheus

import (
	"context"
	"sync"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/socketfleet/socketfleet/core"
)

// other is the label of everything that has no time series of its own.
const other = "_other"

// events counts what only an Observer sees: events by name, and durations.
type events struct {
	max      int
	received *prom.CounterVec
	handled  *prom.HistogramVec
	requests *prom.HistogramVec

	mu    sync.RWMutex       // guards the following; leaf lock
	names map[eventKey]*pair // at most max of them, but for those named other
	own   int                // those that are not
}

type eventKey struct{ namespace, event string }

// pair is the two series of one event of one namespace.
type pair struct {
	received prom.Counter
	handled  prom.Observer
}

var _ core.Observer = (*events)(nil)

func newEvents(o *Options) *events {
	labels := []string{"namespace", "event"}
	histogram := func(name, help string, buckets []float64) prom.HistogramOpts {
		return prom.HistogramOpts{
			Name: "socketio_" + name, Help: help, ConstLabels: o.Labels, Buckets: buckets,
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}
	}
	return &events{
		max: o.MaxEvents,
		received: prom.NewCounterVec(prom.CounterOpts{
			Name: "socketio_events_received_total", ConstLabels: o.Labels,
			Help: "Events of clients. Only events the program handles have a name of their own.",
		}, labels),
		handled: prom.NewHistogramVec(histogram("event_handler_duration_seconds",
			"Time the handlers of an event took together.", o.DurationBuckets), labels),
		requests: prom.NewHistogramVec(histogram("adapter_request_duration_seconds",
			"Time until the other nodes or the clients had answered.", []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}),
			[]string{"op", "result"}),
		names: make(map[eventKey]*pair),
	}
}

// Begin implements core.Observer.
func (e *events) Begin(ctx context.Context, _ core.Op) context.Context { return ctx }

// End implements core.Observer.
func (e *events) End(_ context.Context, op core.Op) {
	switch op.Kind {
	case core.OpEvent:
		p := e.pair(op)
		p.received.Inc()
		p.handled.Observe(op.End.Sub(op.Start).Seconds())
	case core.OpRequest:
		e.requests.WithLabelValues(op.Name, resultOf(op.Err)).Observe(op.End.Sub(op.Start).Seconds())
	}
}

// pair returns the series of an event, which are those of all others when the
// event has no handler or there are too many.
func (e *events) pair(op core.Op) *pair {
	key := eventKey{op.Namespace.StatsName(), other}
	if op.Known {
		key.event = op.Name
	}
	if p := e.find(key); p != nil {
		return p
	}
	return e.add(key)
}

func (e *events) find(key eventKey) *pair {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.names[key]
}

func (e *events) add(key eventKey) *pair {
	e.mu.Lock()
	defer e.mu.Unlock()
	if key.event != other && e.names[key] == nil && e.own >= e.max {
		key.event = other
	}
	if p := e.names[key]; p != nil {
		return p
	}
	if key.event != other {
		e.own++
	}
	p := &pair{e.received.WithLabelValues(key.namespace, key.event), e.handled.WithLabelValues(key.namespace, key.event)}
	e.names[key] = p
	return p
}

// Describe implements prometheus.Collector.
func (e *events) Describe(ch chan<- *prom.Desc) {
	e.received.Describe(ch)
	e.handled.Describe(ch)
	e.requests.Describe(ch)
}

// Collect implements prometheus.Collector.
func (e *events) Collect(ch chan<- prom.Metric) {
	e.received.Collect(ch)
	e.handled.Collect(ch)
	e.requests.Collect(ch)
}
