// Package wsframe encodes WebSocket frames (RFC 6455 section 5.2) as a server
// sends them: final and never masked. A frame is therefore its payload with 2 to
// 10 bytes in front, which one buffer can hold and every recipient can share.
//
// # Concurrency
//
// The functions keep no state.
package wsframe
