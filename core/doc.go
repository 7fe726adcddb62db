// Package core is a Socket.IO server. Every official Socket.IO client, 3.x and
// 4.x, connects to it unchanged, over HTTP long-polling and WebSocket.
//
// A Server is an http.Handler and is also its own namespace "/":
//
//	srv, err := core.New(ctx, nil)
//	core.On(srv, "chat", func(ctx context.Context, s *core.Socket, text string) error {
//		return srv.Emit("chat", text)
//	})
//	http.Handle("/socket.io/", srv)
//
// Events are typed: On decodes the first argument of an event into the type its
// handler takes, OnAck also sends the handler's result back, and EmitWithAck
// waits for a client's answer. Every broadcast and every targeted emit goes
// through the adapter that Options names, so that a room or a socket id is
// reached on whichever node it lives.
//
// The protocol is Socket.IO 5 over Engine.IO 4 (socket.io-protocol v5).
//
// # Events and goroutines
//
// Events of one socket are handled one after the other, in the order the client
// sent them; events of different sockets are handled concurrently. A socket with
// nothing to handle costs no goroutine. An acknowledgement resolves the call
// that waits for it on the goroutine that read it, so that a handler may wait
// for one. Several handlers of one event all run, in order of registration.
//
// A socket's context is cancelled the moment the socket disconnects, with a
// *DisconnectError as its cause. Events that had arrived by then are still
// handled, unless it was this server that disconnected the socket; then
// OnDisconnect runs, last.
//
// # Where this server differs from the reference
//
// An event, acknowledgement or disconnect that crosses a server-side disconnect
// of its namespace is ignored; the reference closes the whole connection. A
// disconnect ends every wait for that socket's acknowledgements at once; the
// reference leaves them to their timeouts. A second CONNECT for a namespace that
// is still in its middleware closes the connection, as a third would.
//
// # Concurrency
//
// All exported methods are safe for concurrent use. No lock is held while user
// code runs or I/O happens. Locks are taken in this order:
//
//	Server.mu -> Socket.members -> client.mu, session log (adapter) -> room shard (adapter) -> Socket.mu -> outbound queue
//
// Options are read by New and must not be changed afterwards.
package core
