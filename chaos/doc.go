// Package chaos breaks a cluster of real processes and holds what its clients got
// against what its nodes promised. It exists because the promise of package
// adapter/redis, that whatever a node misses lies in a gap it reported, is about
// faults in combination, which no test of one function shows. It is all tests:
//
//	make chaos                            # two minutes over all modes and topologies
//	make chaos CHAOS=30s MODE=streams     # classic, sharded, streams or all
//	make chaos SEED=7                     # the same schedule again
//
// and one short test per kind of fault whenever the tests of all packages are run.
//
// Three nodes, each the test binary started again, emit numbered messages to
// everybody and to a room, through a Redis, a Sentinel group or a Redis Cluster of
// the run's own. Six clients in the test's process receive them over WebSocket,
// connect again when they lose their node, and ask for recovery where the mode has
// it. Every node reaches a single Redis through a proxy that can break. Emits,
// deliveries, gaps and sessions go into a history with times of one clock, which
// package chaos/history judges; see there for what clients are entitled to. When a
// promise was broken the run fails and says in which file the events around it are.
//
// The seed decides on the faults, their order and their lengths, not on how the
// machine interleaves what follows.
//
// # Concurrency
//
// A node writes its events to its standard output, one line each and one write per
// line, before it does what they announce: they survive kill -9. It ends when its
// standard input does, so that none outlives a run. Every client is one goroutine.
package chaos
