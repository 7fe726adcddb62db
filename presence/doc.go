// Package presence tells who is in a room, on whichever node they are connected:
//
//	p, err := presence.New(srv.Namespace, presence.Options{Event: "presence"})
//	srv.OnConnect(func(ctx context.Context, s *core.Socket) error {
//		return p.Track(ctx, s, "lobby", userOf(s), profileOf(s))
//	})
//	members, err := p.List(ctx, "lobby")
//
// The program names the user behind a socket by a key. Sockets of one key in one
// room are one member: it joins with the first, on whichever node, and leaves with
// the last. A socket's share ends with Untrack, when it leaves the room and when it
// disconnects. The reference has no presence; its users build it from FetchSockets,
// which asks every node each time, or from counters in Redis, which stay wrong after
// a crash.
//
// # How it works
//
// Every node keeps the members of all nodes and only writes its own. It numbers what
// it changes and tells the other nodes in server-side events (Namespace.ServerSideEmit),
// so that any adapter will do and nothing but the nodes has to be there. Node.js
// servers in the same cluster ignore those events, and their sockets are not tracked.
//
//   - Changes within ten milliseconds travel together.
//   - A node that has nothing to tell says three times per lease what its last number
//     was. Who has missed one asks for it, and gets the changes, or all members of
//     that node when they are too long ago.
//   - A node that has not been heard of for Options.Lease is dead: its members leave.
//     When it was only cut off it is asked for all its members when it is back. A
//     process that was stopped itself does not take the others for dead.
//   - A node that closes says so, and its members leave at once.
//
// Options.Grace puts leaves off, so that a reload of a page or a restart of a node is
// no leave and no join.
//
// # Events
//
// OnJoin and OnLeave hear of every member of every node, on every node: once when it
// joins, once when it leaves. On one node the calls for one member always alternate,
// and they come one after the other. Between nodes, and between members of different
// nodes, there is no order. A change that is undone before the listeners get to it is
// not told, so that slow listeners miss detail and never the outcome. While nodes
// cannot reach each other they disagree; afterwards each tells what changes.
//
// With Options.Event the clients in the room hear of it too, each from its own node. A
// client that gets the list after it was tracked and then applies the events ends up
// with what is true; a join of somebody on the list is to be expected.
//
// # Cost
//
// A member of one socket takes about 500 bytes on its node and 400 on others, with
// 22 bytes of meta. One change alone is one message to all nodes, 1,000 at once were 5,
// and a quiet node sends three per lease. What is kept is bounded
// by Options.MaxSockets and Options.MaxTotal.
//
// # Concurrency
//
// All exported methods are safe for concurrent use. A Presence owns one goroutine that
// sends and watches leases, one that runs listeners, one after the other, and for two
// seconds after New one that waits for the other nodes; Close stops all and waits.
// Its lock is a leaf: it is not held while listeners run or anything is sent.
package presence
