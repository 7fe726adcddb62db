// Package outq is the bounded queue of what one connection still has to send.
//
// A slot is one pointer, because the packets are shared by all recipients of a
// broadcast. Nothing is allocated while a connection is idle; a small array is
// kept from one burst to the next, a large one is given back. Bytes count from
// Push until Done, so that the bound covers what a flusher is busy writing.
//
// # Concurrency
//
// A Queue has no lock of its own: the session that owns it guards it together
// with the state that decides who flushes.
package outq
