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
//   - A request is registered before it is published, and a client's
//     acknowledgement counts once, whatever it holds.
//
// # Concurrency
//
// All exported methods are safe for concurrent use. A Provider owns two
// goroutines: the publisher, which drains the outbound queue in order, and the
// replier, which describes sockets to other nodes and sends answers;
// Provider.Close stops both and waits. What a bus receives is applied on the
// goroutine that calls the Receiver: it only touches memory and queues. Locks are leaves: none is held while a Bus or a Host is
// called.
package cluster
