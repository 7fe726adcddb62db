// Package webtransport serves Socket.IO over WebTransport, that is over HTTP/3,
// for a [core.Server]. It is a module of its own, so that programs that do not want
// QUIC do not link it.
//
// A client that polls is told of it in the handshake and upgrades, and one that is
// configured for nothing else connects at once. Both take the host, the port and the
// path of the URL they know, so the server has to listen on the UDP port of the
// same number. Options.Transports of the core.Server must list "webtransport". Where
// there are several nodes, a client that upgrades has to reach the node it polls, or
// it stays on polling.
//
// On the wire it is transports/webtransport.ts of engine.io: one session per client,
// of which the first bidirectional stream the client opens carries length-prefixed
// packets. It differs from the reference server on purpose here:
//
//   - The CONNECT request passes what any handshake passes: middleware, origins,
//     AllowRequest, limits. The reference knows no request, and closes every session
//     where it has any middleware. Because a client says only in its first packet
//     that it upgrades an existing connection, an upgrade passes all of this too, and
//     counts as a handshake: where the limits are reached, it stays on polling.
//   - A handshake therefore has headers, an address and a URL.
//   - Streams besides the first are refused, and connections without a session end
//     after [Options.HandshakeTimeout].
//   - Text has to be UTF-8.
//   - A graceful end sends what is queued, ends the stream, and leaves the client up
//     to a second to take it: closing a session drops what is on its way.
//
// Only polling can be upgraded, as the official clients do it.
//
// # Concurrency
//
// All methods are safe for concurrent use.
//
// Goroutines: those of QUIC and HTTP/3; the reader and flusher of the core; and two
// per session, which wait for streams to refuse.
// [Server.Close] ends and waits for all but the core's, which end with their streams
// and for which core.Server.Shutdown waits.
package webtransport
