// Package hist counts observations in buckets: the histograms behind the
// statistics of the packages that link no metrics library. Observing costs a
// search among a dozen bounds and two atomic additions, so that it is always on.
//
// # Concurrency
//
// All methods of Recorder are safe for concurrent use and hold no lock. A
// Snapshot belongs to its caller.
package hist
