// Package monitoring holds a Grafana dashboard (dashboard.json) and Prometheus alert
// rules (alerts.yml) for Socketfleet, and the test that every metric and label they
// name is exposed by a running cluster. It is a module of its own, because the test
// parses with Prometheus itself.
//
// # Concurrency
//
// There is no code but the test.
package monitoring
