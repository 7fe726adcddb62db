// Package memory keeps the rooms of one namespace and delivers to its local
// sockets. It is the default adapter, for a server of one node, and the local
// half of every clustered one. It follows the reference server's
// socket.io-adapter in-memory-adapter.ts.
//
// It differs in two ways. Room sets hold socket handles instead of ids, so that
// a broadcast looks no recipient up. The room every socket has under its own id
// is no set: it resolves through the index of members by id.
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
// possibly after the change returned.
package memory
