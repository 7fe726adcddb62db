// Package memory keeps the rooms of one namespace and delivers to its local
// sockets. It is the default adapter, for a server of one node, and the local
// half of every clustered one. It follows the reference server's
// socket.io-adapter in-memory-adapter.ts.
//
// It differs in two ways. Room sets hold socket handles instead of ids, so that
// a broadcast looks no recipient up. The room every socket has under its own id
// is no set: it resolves through the index of members by id.
//
// For a host that wants connection state recovery the provider's adapter also keeps
// events and sessions (SessionAwareAdapter of the same file). It differs from the
// reference: its log is bounded, offsets belong to one log and are checked, the
// log and every client agree on the order of events, a session is resumed by one
// connection at a time and used up only when the client is back, and a client
// need not have received an event. As in the reference, a client gets missed
// events of the rooms it was in at the end, even from before it joined one.
//
// Importing the package registers the URL scheme memory.
//
// # Concurrency
//
// All methods of Adapter are safe for concurrent use. One RWMutex guards the
// rooms: broadcasts share it for as long as they hand the packet to each
// recipient's queue, changes of membership own it for a few hundred nanoseconds.
// Sharding it would make a broadcast to several rooms, and each join, take
// several locks; BenchmarkLock measures what that could gain. Host.Disconnect,
// Host.Describe and the functions of Options run without it. Those functions are
// called by one goroutine at a time, in the order of the changes; a change made
// while another goroutine is calling them is reported by that goroutine,
// possibly after the change returned. With recovery a mutex, taken before that
// lock, makes adding an event to the log and queueing it one step; it serializes
// the broadcasts of the namespace. One timer sweeps what has expired, while there
// is something to sweep.
package memory
