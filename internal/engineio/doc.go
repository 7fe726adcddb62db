// Package engineio is an Engine.IO 4 server, and with Options.AllowEIO3 an
// Engine.IO 3 server too: it turns HTTP requests and WebSocket connections into
// sessions that exchange messages with a client.
//
// It follows the reference server (packages/engine.io/lib server.ts, socket.ts,
// transports/) byte by byte on the wire and differs from it on purpose here:
//
//   - Requests with an Origin header must come from the same host or from an
//     allowed origin, WebSocket upgrades included. The reference leaves that to
//     the application.
//   - The protocol revision belongs to the session. An upgrade that names another
//     one, or none, is refused (CVE-2026-102599).
//   - An unsupported revision is refused before the 101 response instead of after.
//   - A close packet on a WebSocket ends the session at once.
//   - A heartbeat in flight survives an upgrade, and pongs nobody asked for are
//     ignored.
//   - A session of revision 3 still has a heartbeat after an upgrade. Its payloads
//     are read strictly: lengths are digits, and nothing may be cut short.
//   - JSONP is refused to pages of other origins as well.
//   - permessage-deflate never keeps a context between messages, and obeys the
//     message's compression flag.
//   - Everything a peer can make grow is bounded: queues, payloads, packets per
//     payload, fragments per message, and the time each may take.
//
// A session has one transport: polling, whose waiting GET request is the flusher,
// or a WebSocket, read through gorilla/websocket and written by a goroutine that
// exists only while something is queued, or a byte stream of ServeStream, on which
// frames are those of WebTransport; who calls ServeStream brings the streams. What
// depends on the protocol revision is in codec.go, codec3.go, payload.go and
// message.go; what depends on the transport is behind the transport interface in
// transport.go.
//
// # Concurrency
//
// All exported methods are safe for concurrent use, and none of Send,
// SendVolatile and Close blocks.
//
// Locks: Server.mu and Session.mu are never held together. Session.mu guards the
// session, its queue and its transports; no user code and no I/O runs under it. The
// lock of the table of addresses is a leaf below it. What all queues hold together
// is one atomic number.
//
// Goroutines: a session on a WebSocket or a stream has one reader, and one flusher
// while packets wait. A polling session has none of its own. The heartbeat is one
// timer. The end of a session takes one short-lived goroutine, which tells the
// Receiver. Each holds a reference to its session; Shutdown waits until all sessions have lost
// all of theirs. Options.OnSlow is called by a goroutine that has one too. While the
// queues hold too much together, one goroutine of the server, which Shutdown waits
// for, looks for the longest.
//
// Receiver methods of one session are called by one goroutine at a time, in the
// order of arrival. While one of them blocks, the session reads nothing more and
// its heartbeat does not time out.
package engineio
