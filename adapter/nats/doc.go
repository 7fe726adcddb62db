// Package nats joins the nodes of a deployment through NATS. It is a module of its
// own, so that a program without it does not carry the client. Importing it
// registers the URL schemes nats and tls, and the same with +jetstream:
//
//	nats://user:password@host:4222?addr=host2:4222&prefix=socketio
//	nats+jetstream://host:4222?max_age=2m
//	tls://host:4222
//
// There is no Socket.IO adapter for NATS in Node.js whose wire could be spoken, so
// only Go nodes of this module meet here. A message is the envelope of package
// wire behind two numbers that tell its place among those of its sender. Each
// namespace has one subject, and one for heartbeats, each room one too (see
// SubscriptionMode), and each node one for answers. Names that users choose are encoded, or hashed, so that
// they hold no wildcard and are never too long for the server.
//
// NATS delivers at most once. What that loses is reported to Options.OnGap, counted
// and logged:
//
//   - The connection is ours, and buffers nothing while it is away. When it is
//     replaced, the time since the server last answered is a gap.
//   - Every node numbers what it sends to a whole namespace. Heartbeats repeat the
//     last number and say how often the sender's connection was replaced. So a node
//     notices what was lost on the sender's side, or between two servers of a
//     NATS cluster: from the number at once, and for the subjects of rooms from
//     the replaced connection. The window of such a gap begins two heartbeats
//     early.
//   - A node that takes messages more slowly than they come loses the oldest.
//
// One loss has no witness: messages to subjects of rooms that vanish between two
// servers while every message and heartbeat around them arrives.
// SubscriptionMode Static has no such subjects.
//
// Nodes are counted by their heartbeats, and a new one waits for those of the others
// before it starts. A node that is silent for three heartbeats is dead: nobody waits
// for its answers.
//
// # JetStream
//
// With Options.JetStream, or a scheme that ends in +jetstream, broadcasts that want
// no acknowledgement, joins, leaves and disconnects go through a JetStream
// stream that all nodes read in order: whoever was away gets them late. Publishing
// is repeated until the stream has the message, which the server recognizes by its
// id, so that nothing is doubled. What the stream dropped before a node had read it
// is a gap. Requests, answers and server-side emits stay outside of the stream, and
// their order against what is in it is not kept. Sessions are not stored: connection
// state recovery (adapter.SessionStore) is not offered by this package.
//
// # Concurrency
//
// All exported names are safe for concurrent use. A provider owns: the goroutines
// of its NATS connection, one that sorts what arrives by namespace and never waits,
// one that watches the connection and sends heartbeats, per namespace one that
// decodes and delivers and one that subscribes to rooms, one that reads the stream,
// and those of package cluster. Messages of one namespace are delivered in the order
// of their arrival. All locks are leaves, and none is held during I/O.
package nats
