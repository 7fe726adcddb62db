// Package nats joins the nodes of a deployment through NATS. It is a module of its
// own, so that a program without it does not carry the client. Importing it
// registers the URL schemes nats and tls, and the same with +jetstream:
//
//	nats://user:password@host:4222?addr=host2:4222&prefix=socketio
//	nats+jetstream://host:4222?max_age=5m
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
// their order against what is in it is not kept.
//
// # Recovery
//
// The stream is a cluster.Log: where the host wants connection state recovery, clients
// are recovered on any node. The section Recovery of package cluster tells how. The
// offset of an event is the time the stream was made, the number of its entry, and a
// part of the entry's time, because a stream that was made anew, or that lost its end,
// gives the same numbers to other entries. Sessions lie in a second stream, the last
// message of one subject each; who deletes that message has the session. How old it is
// the server's clock tells. The subject is a hash of the secret the client resumes
// with, which is stored nowhere.
//
// A member remembers what it has read lately, and replays from that if the client's
// place is among it; else a consumer reads the part of the stream, and what the stream
// has afterwards proves that nothing was missing. A client that presents an entry that
// was trimmed is recovered all the same when the next one is still there.
//
// The reader accepts entries from a consumer after a look at which stream there is:
// the client library replaces consumers by the name of the stream only. When the
// stream is another one, has lost its end or was trimmed ahead of the reader, the
// sockets of the node count as having missed something, and a cluster.Hole in the
// stream tells the other nodes. Over NATS core there is no recovery.
//
// # Concurrency
//
// All exported names are safe for concurrent use. A provider owns: the goroutines
// of its NATS connection, one that sorts what arrives by namespace and never waits,
// one that watches the connection and sends heartbeats, per namespace one that
// decodes and delivers and one that subscribes to rooms, one that reads the stream,
// and those of package cluster. Messages of one namespace are delivered in the order
// of their arrival. All locks are leaves, and none is held during I/O, but for one that
// keeps what was read from the stream in order: it is held while a full queue is waited
// for.
package nats
