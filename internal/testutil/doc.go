// Package testutil is what the tests of this module share: a Socket.IO client,
// Redis and NATS servers, and a TCP proxy that breaks connections on demand.
//
// [Client] speaks Socket.IO 5 over Engine.IO 4, and does what the official
// JavaScript client does on the wire. [Engine] is the connection below it, for
// tests that misbehave. Neither is fit for production: they are written to be
// precise about what arrived, not to be fast.
//
// # Concurrency
//
// Every exported type is safe for concurrent use. An Engine owns one reading
// goroutine, and one that probes an upgrade; a Client one that runs handlers, in
// the order of arrival, and one per Engine that watches its end. Close stops and
// waits for all of them and must not be called from a handler. A Proxy owns
// three goroutines per connection. A Redis or NATS process dies with the test
// binary, whatever way that ends.
package testutil
