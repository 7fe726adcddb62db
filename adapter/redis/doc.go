// Package redis joins the nodes of a deployment through Redis. Importing it
// registers the URL schemes redis and rediss:
//
//	redis://user:password@host:6379/0?key=socket.io&requests_timeout=5s
//
// The wire is the one of @socket.io/redis-adapter's createAdapter, to the byte,
// so that Go and Node.js nodes form one deployment; it follows that package's
// index.ts, and @socket.io/redis-emitter can emit into it. It differs where that
// adapter loses messages in silence:
//
//   - The connection that receives is ours to watch. When nothing has arrived for
//     a while the node publishes a probe to itself, on a room nobody has, and
//     replaces a connection that does not bring it back. A connection is never
//     repaired in place: a new one subscribes to everything and is up when Redis
//     has confirmed all of it.
//   - Every time in which messages may have been missed is counted, logged and
//     passed to Options.OnGap.
//   - Malformed messages are counted and dropped.
//   - Namespace names are escaped in subscription patterns.
//
// Binary arguments of server-side emits and of their answers travel as
// MessagePack, which that adapter reads too, instead of as JSON lists of numbers.
//
// Redis pub/sub delivers at most once and keeps nothing for a node that is away.
// Channels are not separated by database number: two deployments on one Redis
// need different keys.
//
// # Concurrency
//
// All exported names are safe for concurrent use. A provider owns: one goroutine
// that keeps the subscriptions as they should be, one that reads the connection
// and only moves bytes, a fixed number of workers that decode and deliver, and
// those of package cluster. Messages of one namespace are handled by one worker,
// in the order Redis sent them. Locks are leaves; none is held during I/O.
package redis
