// Package soak holds a server under clients that misbehave in every way known, and
// checks that it gives back what they made it take. It exists because a leak of one
// descriptor or goroutine per lost client shows in no other test. It is all tests:
//
//	make soak             # 5 minutes
//	make soak SOAK=30s
//
// and a run of a few seconds whenever the tests of all packages are run. Clients and
// server share the process and talk over loopback. After a warm-up the figures of
// the idle server are taken as the baseline; after the run, when all clients have
// stopped and what they left behind has timed out, the figures must be back.
//
// # Concurrency
//
// Every worker is one goroutine that plays one client after another, at a rate all
// workers share. All are waited for before figures are taken.
package soak
