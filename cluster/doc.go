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
// events before it may be missing.
//
// The session of a socket is stored when it connects and when its rooms or data
// change, within about one round trip, and again at intervals, so that it outlives
// the process by the recovery window. Rooms joined in the last moment before a
// process is killed can be missing in it. Whoever resumes a session takes it from
// the store and adds a Takeover to the log: behind it the new node delivers, up to
// it the log is replayed, and a node that still holds the old socket ends that.
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
// wait for the log, and while there are sessions. What a bus receives is applied on the
// goroutine that calls the Receiver: it only touches memory and queues. Locks are leaves: none is held while a Bus or a Host is
// called.
package cluster
