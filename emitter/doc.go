// Package emitter emits into a deployment from a process that serves no sockets: a
// worker, a cron job, a command. It publishes what @socket.io/redis-emitter and
// @socket.io/redis-streams-emitter publish (index.ts of each), so Go and Node.js
// nodes on the matching adapter take it: redis:// here is for redis:// there,
// redis+streams:// for redis+streams:// with one stream. Sharded pub/sub has no
// emitter, in the reference neither.
//
//	e, err := emitter.Open(ctx, "redis://localhost:6379")
//	err = e.To("news").Emit(ctx, "headline", text)
//
// It exists because core.Server would join the deployment as a node, be counted and
// be waited for. It differs from the reference in that calls wait for Redis and
// return its errors.
//
// # Concurrency
//
// All exported names are safe for concurrent use. There are no goroutines of its
// own. Calls of one goroutine take effect in their order.
package emitter
