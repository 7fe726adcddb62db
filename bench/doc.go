// Package bench has the benchmarks that need more than one package: a whole
// server, over loopback sockets. Those of a single package are next to its code.
// The comparison with the reference server is in compare; README.md tells how to
// run both and how to read them.
//
// # Concurrency
//
// The package has tests only.
package bench
