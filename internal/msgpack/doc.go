// Package msgpack turns JSON text into MessagePack and back, byte by byte, with
// no tree of values in between.
//
// It exists because Socket.IO nodes talk MessagePack to each other while a packet
// is held as JSON text plus attachments (adapter.Packet). The dialect written is
// the one of notepack.io 3.0.1, which the reference's Redis adapter uses:
// integers in their shortest form, every other number as float64, binary as bin.
// The dialects read are notepack.io 2 and 3 and @msgpack/msgpack 2.
//
// Input comes from a network and is not trusted: nesting is limited to MaxDepth,
// a declared length is compared with the bytes that remain before anything is
// done with it, and nothing is allocated on the word of a header.
//
// # Concurrency
//
// There is no shared state: all functions and the methods of Value may be called
// from any goroutine, as long as nobody writes to the bytes they read.
package msgpack
