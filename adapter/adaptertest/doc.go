// Package adaptertest is the conformance suite of adapters: Run checks every
// method of an adapter.Adapter with one node and with three, Benchmark measures
// the paths that carry load. A package that implements an adapter or a bus runs
// both from its own tests:
//
//	func TestConformance(t *testing.T) {
//		adaptertest.Run(t, adaptertest.Harness{Nodes: startNodes})
//	}
//
// The suite assumes only what the interface promises. It waits for subscriptions
// by sending probes until they arrive, compares JSON by meaning because wires
// may re-encode it, and proves that something did not arrive with a fence: a
// later packet that did.
//
// # Concurrency
//
// Host and Socket are safe for concurrent use. The tests of one Run follow each
// other; packages may run theirs in parallel.
package adaptertest
