// Package redis joins the nodes of a deployment through Redis. Importing it
// registers the URL schemes redis, redis+sharded and redis+streams, and the same
// with rediss for TLS:
//
//	redis://user:password@host:6379/0?key=socket.io&requests_timeout=5s
//	redis+sharded://host:7000?addr=host2:7001&mode=dynamic
//	redis+streams://host:6379?stream=socket.io&max_len=10000
//
// The wires are those of createAdapter and createShardedAdapter of
// @socket.io/redis-adapter (index.ts, sharded-adapter.ts), and of
// @socket.io/redis-streams-adapter (adapter.ts), to the byte, so that Go and
// Node.js nodes form one deployment; @socket.io/redis-emitter and
// redis-streams-emitter can emit into it. They differ where those adapters lose
// messages in silence:
//
//   - The connection that receives is ours to watch. When nothing has arrived for
//     a while the node publishes a probe to itself, on a room nobody has, and
//     replaces a connection that does not bring it back. A connection is never
//     repaired in place: a new one subscribes to everything and is up when Redis
//     has confirmed all of it.
//   - Sharded channels are subscribed to at the server that has their slot, and
//     again when the slot moves.
//   - A stream is read from its end by name, so that nothing between two reads is
//     missed, and with a pause after an error.
//   - Behind Sentinel the master is asked for every second. When it is another one all
//     connections to the old one end, because up to its demotion, 8 s later, both take
//     what they are sent. A stream is read on from the last entry both have. Clients
//     of Node.js have no such watch: what one adds to the old master is lost. When the
//     new master dies before the old one was demoted, Sentinel may turn back to that:
//     entries it took last then come late, or twice.
//   - Every time in which messages may have been missed is counted, logged and
//     passed to Options.OnGap: also when a stream was trimmed before it was read, or
//     lost its end, and when Redis did not confirm what this node published. One
//     loss no node can see: with PUBLISH on Redis Cluster, which the masters pass on
//     to each other, a master that has just come back misses some. Sharded pub/sub
//     and streams do not have that.
//   - What Redis refuses for the moment (MOVED, ASK, CLUSTERDOWN, READONLY, LOADING
//     and the like) is published again in its order within
//     Options.Cluster.MaxOutboundAge; what it refuses for good is given up at once.
//   - With subscribe=adaptive a node on the classic wire subscribes to the channels of
//     the rooms it has instead of to a pattern for all. Node.js peers publish to them
//     anyway. Three nodes that shared 300 rooms evenly each got a third of the
//     messages and 32 % of the bytes.
//   - Malformed messages are counted and dropped.
//   - Namespace names are escaped in subscription patterns.
//
// To these wires nodes of this package add an extension: the epoch and the number
// of a message, adapter.Meta, and heartbeats, which are requests of unknown type to
// the reference. It stands in a fourth element of a classic broadcast, in a member
// "ext" of everything else (answers on the classic wire have a "uid" instead), and
// in a field "ext" of stream entries. The reference ignores all of it; mixed
// clusters are tested with it. Cluster.NoExtensions leaves it out.
//
// With recovery on, streams also hold what clients missed, on any node; package
// cluster says how. The session's key is the reference's; one more member of its
// value, and one more field of an entry, are ignored by it, and so are the entries
// of types 48 to 50. The reference recovers clients of a Go node that was killed,
// too. What is checked before a client is recovered: the entry it resumes behind is
// still in the stream, so that nothing behind it was trimmed and the stream is the
// same; nothing behind it was deleted; nobody reported a hole. Volatile events are
// not replayed, as they are by the reference.
//
// The classic and the sharded adapter recover clients on any node with recovery=true
// (Cluster.Recovery) where every node is one of this package with that setting:
// Node.js servers and emitters number nothing, and their events end the sessions of
// the clients they are for and that are away. Each node has to hear every room, so it needs extensions and
// subscribe=all or mode=static, and is refused otherwise. Nodes keep the events
// themselves, and tell each other what one has missed; sessions lie in keys that
// begin with the key and ":session:". It costs no entry of a stream per event, and
// gaps are filled for connected clients, too; but a deployment whose last node stops
// loses what clients missed, which streams keep. Package cluster says how it works
// and when a client is not recovered.
//
// Without recovery all adapters deliver to the sockets of the emitting node first,
// whatever Redis does, and publish after that; the reference's sharded and streams
// adapters do it the other way round. Nodes on sharded pub/sub and streams say goodbye with an
// ADAPTER_CLOSE, which the reference ignores, so that nobody waits for them.
//
// Binary arguments of server-side emits and of their answers travel as
// MessagePack on the classic wire, which that adapter reads too, instead of as
// JSON lists of numbers.
//
// Redis pub/sub delivers at most once and keeps nothing for a node that is away.
// Streams keep broadcasts, joins, leaves and disconnects for it, and may deliver
// one twice. Channels are not separated by database number: two deployments on
// one Redis need different keys, and so do a classic and a streams one.
//
// # TLS
//
// A URL of the schemes rediss, rediss+sharded and rediss+streams speaks TLS 1.2 or
// newer with all servers, Sentinels too. Certificates are checked against the
// system's authorities or the file tls_ca, and have to be for the host dialed or for
// tls_server_name. tls_cert and tls_key name the files of a certificate to show. All
// are PEM files. New and its kin take the TLS settings of the client.
//
// # Rights
//
// With these rights a user can do what an adapter needs, and no more, where key and
// stream have their defaults:
//
//	# redis
//	ACL SETUSER app on >secret +ping +publish +subscribe +unsubscribe +psubscribe +punsubscribe +pubsub|numsub &socket.io#~probe~* &socket.io#/#* &socket.io-request#* &socket.io-response#*
//	# redis, adaptive
//	ACL SETUSER app on >secret +ping +publish +subscribe +unsubscribe +pubsub|numsub &socket.io#* &socket.io-request#* &socket.io-response#*
//	# redis+sharded
//	ACL SETUSER app on >secret +ping +spublish +ssubscribe +sunsubscribe +pubsub|shardnumsub &socket.io#*
//	# either of these with recovery, in addition
//	ACL SETUSER app +get +set +del +pttl +multi +exec ~socket.io:session:*
//	# redis+streams
//	ACL SETUSER app on >secret +ping +publish +subscribe +unsubscribe +pubsub|numsub +xadd +xread +xinfo|stream ~socket.io &socket.io#*
//	# redis+streams, sharded
//	ACL SETUSER app on >secret +ping +spublish +ssubscribe +sunsubscribe +pubsub|shardnumsub +xadd +xread +xinfo|stream ~socket.io &socket.io#*
//
// Redis compares a pattern somebody subscribes to literally with those of the ACL: the
// first of these needs &socket.io#/NAME#* for each namespace. A database other than 0
// needs +select, Redis Cluster +cluster|slots, and each Sentinel a user with
// +subscribe +sentinel|get-master-addr-by-name +sentinel|sentinels &+*. ACLs are not
// replicated: replicas need the same.
//
// # Concurrency
//
// All exported names are safe for concurrent use. A provider owns: one goroutine
// per connection that keeps the subscriptions as they should be, one that reads it
// and only moves bytes, one per stream, one that places sharded channels, a fixed
// number of workers that decode and deliver, one that watches the master behind
// Sentinel, and those of package cluster.
// Messages of one namespace are handled by one worker, in the order Redis sent
// them on a connection. None of the locks is held during I/O; all are leaves but
// that of a channel set, which comes before that of the topics of a connection.
package redis
