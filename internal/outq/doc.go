// Package outq is the bounded queue of what one connection still has to send.
//
// A slot is one pointer, because the packets are shared by all recipients of a
// broadcast. Nothing is allocated while a connection is idle; a small array is
// kept from one burst to the next, a large one is given back. Bytes count from
// Push until Done, so that the bound covers what a flusher is busy writing. The
// same bytes count in a total that many queues share.
//
// Items may have a key, of which only the newest stays queued; see PushLatest.
// Queues that never see a key pay one comparison with nil for it.
//
// # Concurrency
//
// A Queue has no lock of its own: the session that owns it guards it together
// with the state that decides who flushes. The shared total is atomic.
package outq
