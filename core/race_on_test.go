//go:build race

package core_test

// raceEnabled: the race detector's own memory is no measure.
const raceEnabled = true
