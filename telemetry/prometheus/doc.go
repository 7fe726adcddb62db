// Package prometheus exposes what a Socketfleet server and its part of the cluster
// do, as metrics for Prometheus:
//
//	c := prometheus.New(srv, nil)
//	defer c.Close()
//	mux.Handle("/metrics", prometheus.Handler(c))
//
// or, with a registry of the program's own, registry.MustRegister(c). Nothing is
// registered globally.
//
// The list of metrics is in docs/observability.md; examples/deploy/monitoring has a
// dashboard and alert rules for them.
//
// No client can make a time series. Labels hold names the program chose: of its
// namespaces and of the events it handles, at most Options.MaxEvents of them.
// Everything else is "_other"; the namespaces of a family count together under the
// family's pattern.
//
// A scrape reads counters. It costs something per namespace and nothing per
// connection. Between scrapes the collector costs two readings of the clock and two
// observations per event.
//
// # Concurrency
//
// All functions and methods are safe for concurrent use. A Collector starts no
// goroutine.
package prometheus
