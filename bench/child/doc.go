// Package child is what a Go server needs to be measured by bench/compare: it
// listens on a free loopback port, says which, and answers commands on its
// standard input. Commands come by pipe and not by HTTP so that measuring adds no
// connection to what is measured, and so that the server ends with its parent.
//
// # Concurrency
//
// Main owns one goroutine, which serves HTTP, and waits for it. The connection
// counter may be called from any goroutine.
package child
