//go:build race

package engineio

// raceEnabled: the race detector's shadow memory is no measure.
const raceEnabled = true
