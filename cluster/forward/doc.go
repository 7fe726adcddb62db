// Package forward lets any node of a deployment take any request. The node that a
// load balancer happened to choose hands the requests of sessions that live
// elsewhere to their owner, so that plain round robin works, HTTP long-polling and
// upgrades included:
//
//	opts.ClusterSecret, opts.AdvertiseURL = secret, "http://10.0.0.5:3000"
//	opts.Forwarder = forward.New(nil)
//
// A session id names its owner and carries a code (package internal/sid), and a
// cluster.Registry, which the Redis adapters bring, has the owner's address. The
// reference's answer to the same problem (packages/socket.io-cluster-engine) asks all
// nodes through Redis who the owner is, and carries packets through it. Here the
// owner answers the client's own request: nothing is acknowledged that it does not
// have, its end is noticed at once, and an id nobody made costs no request at all.
//
// Polls and posts travel over pooled HTTP connections, WebSocket upgrades through a
// TCP tunnel that lives as long as the WebSocket. The owner's engine does not know:
// it sees the client's address, host and headers, and its response is what the
// client gets.
//
//   - Each hop is signed: an HMAC-SHA256 over method, URI, body, the client's
//     address, both nodes, the time and a nonce. A hop that is forged, late, repeated
//     or meant for another node is refused with code 1, "Session ID unknown".
//   - A hop is processed at most once. http.Transport repeats a request when a pooled
//     connection turns out to be dead, and cannot know whether the first one arrived;
//     answering a poll twice would lose what the first answer carried. The owner
//     remembers the nonces: a repeated hop is refused and the session ends visibly.
//   - What was forwarded is never forwarded again.
//   - When the owner cannot be reached or does not answer, the client gets code 1, as
//     for a session that has ended, and connects anew. Not a 502: load balancers
//     count those against this node.
//   - The body of a POST is read here, whole, before the owner hears of it. A client
//     that breaks off, or sends too much, is reported to the owner, whose engine acts
//     as if it had seen that itself. Two POSTs of a client that overlap are noticed
//     only where both have arrived.
//   - A client that goes away takes its poll at the owner with it.
//   - While the registry is away, addresses that are known stay in use for ten
//     minutes, and sessions of this node need none.
//
// A tunnel costs its WebSocket two more sockets and the bandwidth between the nodes.
// Where the load balancer can route on the text before the first dot of sid, or
// clients start with a WebSocket, forwarding is the safety net it should be;
// Stats tells.
//
// # Concurrency
//
// All exported methods are safe for concurrent use, but Open comes first. A Forwarder
// owns one goroutine that renews its lease, one per lookup in the registry, and two
// per tunnel; Close stops them and waits. A request is forwarded on its handler's
// goroutine. The locks are leaves: none is held during I/O or while OnMisrouted runs.
package forward
