// Package loadgen is the client side of the benchmarks: many Socket.IO clients
// over WebSocket that cost next to nothing, so that two cores can carry both
// sides. It implements just what a load needs of engine.io-protocol v4 and
// socket.io-protocol v5 (handshake, the default namespace, heartbeat, events and
// acknowledgements without attachments) on raw frames, and counts.
//
// It shares no code with the server: what both sides got wrong in the same way
// would not be seen.
//
// # Concurrency
//
// A Fleet has one reader goroutine per connection; Close stops them and waits.
// One load runs at a time: Broadcast and Echo must not be called concurrently.
package loadgen
