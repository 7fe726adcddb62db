// Package emitter emits into a deployment from a process that serves no sockets: a
// worker, a cron job, a command. core.Server would join the deployment as a node,
// be counted and be waited for.
//
//	import _ "github.com/socketfleet/socketfleet/adapter/redis"
//
//	e, err := emitter.Open(ctx, os.Getenv("SOCKETIO_ADAPTER"), nil)
//	err = e.To("news").Emit("headline", text)
//	err = e.Close(ctx) // publishes what is queued
//
// The URL is that of the nodes, with all its parameters, so every adapter that
// joins nodes has an emitter: classic and sharded pub/sub, streams, with Sentinel
// and Redis Cluster, and NATS. The nodes may be Go or Node.js: on the wire an emitter is what
// @socket.io/redis-emitter and @socket.io/redis-streams-emitter are (index.ts of
// each), the sender "emitter". It differs from them:
//
//   - Sharded pub/sub is served, and more than one stream.
//   - Emits are queued and never wait. Redis away fills the queue, within the bounds
//     of cluster.Options; beyond them emits fail with adapter.ErrQueueFull. Flush
//     and Close wait for the queue and tell how much was lost.
//   - Joins, leaves and disconnects carry the sender's name, which nodes do not read.
//
// With Options.Replies an emitter also asks: BroadcastWithAck, EmitWithAck,
// FetchSockets, ServerSideEmitWithAck, ServerCount. It then subscribes, when a
// namespace is asked for the first time, to the channels answers come on and to no
// other, under an id of its own, so that neither Go nor Node.js nodes count it. Over
// Redis it does not hear that a node has left: a request a node takes with it ends
// at its deadline, with what arrived and an *adapter.PartialError.
//
// # Concurrency
//
// All exported names are safe for concurrent use. What one goroutine asks for
// takes effect in its order, as far as the adapter keeps it. The goroutines are
// those of the provider; Close ends them.
package emitter
