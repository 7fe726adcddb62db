// Package cluster joins the nodes of one deployment. NewProvider puts a
// coordinator on top of a Bus: local sockets and rooms are adapter/memory's, and
// everything meant for other nodes is a Message. The Bus knows the wire, the
// coordinator knows what messages mean: requests, answers, membership, timeouts.
// It follows the reference server's socket.io-adapter cluster-adapter.ts, and
// serves the two requests only its classic Redis adapter has.
//
// It differs where the reference's users suffer:
//
//   - Local sockets are served first and never wait for the bus. Publishing is a
//     bounded queue with one publisher; when it is full or stands still, the
//     caller is told with adapter.ErrQueueFull.
//   - Joining, leaving and disconnecting act on local sockets at once.
//   - A request that times out yields what arrived, and an
//     *adapter.PartialError that names the silent nodes where they are known.
//   - A node that is waited for and gives no sign of life for Options.Lease ends
//     the wait, and is named. Heartbeats and numbers travel as extensions (Ext),
//     which peers of the reference ignore.
//   - Repeated messages are dropped where they are numbered, missing ones counted,
//     and reported as a Gap where no other gap explains them.
//   - A request is registered before it is published, and a client's
//     acknowledgement counts once, whatever it holds.
//
// A host that vanishes without closing its connections may be counted by a bus
// for minutes: requests that begin after it was taken out wait for it until they
// time out.
//
// # Recovery
//
// On a bus that is a Log, a namespace whose host wants connection state recovery is
// served from the log: every event, this node's own too, is delivered when it is
// read, and its offset is its place. The reference delivers its own events at the
// reply to their publication; then they overtake entries of other nodes that have
// not been read yet, and a client that resumes behind the offset of the first never
// gets the others. Reading costs a little time, and gives all clients of all nodes
// one order.
//
// What needs no place in the log (volatile events to one socket, events that want
// an answer) waits for what was sent before it. Joins, leaves and disconnects by
// room, and broadcasts that want answers, block their caller until then. Before a
// socket is disconnected it gets what waits for it. Socket.Leave does not wait: an
// event reaches those who are in the room when its place in the log comes.
// When the log does not move for Options.MaxOutboundAge, events are delivered
// without a place: their recipients are not recovered unless an event with one
// follows. A Hole in the log, added when it moves again, tells the other nodes that
// events before it may be missing: it ends the sessions of who was away, and, on the
// other nodes, of who is connected and gets no event after it.
//
// The session of a socket is stored when it connects and when its rooms or data
// change, within about one round trip, and again at intervals, so that it outlives
// the process by the recovery window. Rooms joined in the last moment before a
// process is killed can be missing in it. Whoever resumes a session takes it from
// the store and adds a Takeover to the log: behind it the new node delivers, up to
// it the log is replayed, and a node that still holds the old socket ends that.
//
// # Recovery over pub/sub
//
// On a bus that is no Log, Options.Recovery recovers sessions where every node is of
// this kind, has the option on and hears every message. Each node makes a journal:
// what it received and what it sent, once the bus has taken it, in one order. That
// of a sender is the order of its numbers, on every node; what several send comes in
// another order on each. A place in the journal is the vector of the numbers taken,
// and that is the client's offset: every node can read it, also when the one that
// wrote it was killed a moment ago. It costs about 13 bytes per node that is alive or
// was within the last minutes; beyond 4 KiB, some 300 nodes, nothing is recovered.
//
// A node that misses numbers holds back what came after them from that sender, asks
// all others, and gives its clients everything in order; so gaps are healed for
// clients that stay connected, too. A client is recovered when its node has got as
// far as the client, and still has, or gets from another node, all that the client
// has not. Sessions lie in the bus's Vault, as with a Log: taking one out makes it
// one connection's.
//
// A client is not recovered, because it cannot be proved what it missed, when
//
//   - a number is missing that no node has within 2 s (the sender gave it up, or was
//     killed before anybody got it): those away, and those connected where it is
//     missing until they get an event after it;
//   - nodes dropped what it missed, for Recovery.Window or the bounds of what is kept;
//   - an event without a number was for it while it was away: one of an emitter, of a
//     Node.js server or of a node without extensions. Whether a node lost such an
//     event it cannot know, so emitters are outside of what recovery promises;
//   - its new node does not get as far as the client within 2 s.
//
// An event that a node had queued, and the bus not taken, when it was killed was never
// sent: nobody gets it. What must keep its order waits as it does for a Log. Journals
// speak to each other through server-side emits named "socketfleet:journal"; a new
// node asks its peers how far they got, and opens its namespace after 1 s even if
// some say nothing.
//
// # Concurrency
//
// All exported methods are safe for concurrent use. A Provider owns three
// goroutines: the keeper, which sends heartbeats and takes out dead nodes, the
// publisher, which drains the outbound queue in order, and the
// replier, which describes sockets to other nodes and sends answers;
// Provider.Close stops all and waits, as it does for the saver, a goroutine that
// stores sessions once there is one. With recovery a mutex per namespace makes
// taking an entry from the log and queueing it one step; it comes before the locks
// of the local adapter and of the queues. Two timers per namespace run while events
// wait for the log, and while there are sessions. A journal has a mutex that makes
// taking a message and handing it on one step, which comes before all others, and a
// goroutine for each sender whose messages are missing, while they are. What a bus receives is applied on the
// goroutine that calls the Receiver: it only touches memory and queues. Locks are leaves: none is held while a Bus or a Host is
// called.
package cluster
