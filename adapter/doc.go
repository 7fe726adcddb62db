// Package adapter declares the seam between a Socket.IO server and whatever
// carries its messages: an Adapter owns the rooms of one namespace and every
// path to that namespace's sockets, on this node and on all others.
//
// The core delegates every broadcast and every targeted emit to an Adapter and
// is called back through Host. The adapter decides who receives a packet; the
// core decides which bytes they receive, and encodes them once.
//
// Room sets hold Member handles, not ids, so that a broadcast does no second
// lookup per recipient. A Packet is JSON text plus attachments, so that no tree
// of values exists between the caller of Emit and the wire: every other form
// (frame, polling payload, MessagePack) is a transcode of those bytes.
//
// # Concurrency
//
// All methods of Adapter, Host and Provider may be called from any goroutine; a
// Delivery is used by one at a time. A Host never calls its adapter back
// synchronously. An adapter holds no lock while it calls Host.Describe,
// Host.Disconnect or Host.ServerEvent; Delivery.To neither blocks nor runs user
// code and may be called under a room lock.
package adapter
