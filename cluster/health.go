package cluster

import "github.com/socketfleet/socketfleet/adapter"

// BusHealth is the state of a bus's connection.
type BusHealth = adapter.Health

// HealthReporter is implemented by buses that can lose their connection.
type HealthReporter = adapter.HealthReporter
