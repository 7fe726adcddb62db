// Package admin lets the official Socket.IO Admin UI (@socket.io/admin-ui 0.5)
// watch and steer a [core.Server] and the cluster it belongs to:
//
//	a, err := admin.Instrument(srv, &admin.Options{
//		Username:     "admin",
//		PasswordHash: os.Getenv("ADMIN_PASSWORD_HASH"), // of bcrypt
//	})
//	defer a.Close()
//
// The UI connects to a namespace of the server, "/admin" by default, so it needs no
// port of its own, and what nodes say there reaches the UI through the adapter:
// connected to any node it shows all, Node.js servers that run the reference's
// instrument() among them, where the namespace has the same name.
//
// Every node reports its connections, namespaces and traffic every two seconds.
// With Options.Development it reports every socket, room and event as well, which
// costs one message to all nodes each: the UI's name for a mode that is not for
// production.
//
// # Where it differs from the reference
//
// The protocol is lib/index.ts of @socket.io/admin-ui. On purpose different are:
//
//   - There is no way to switch authentication off. A password must be hashed with
//     a cost of 10 at least. Attempts are counted per address, names and passwords
//     compared in constant time, and sessions expire.
//   - The UI may look and not touch, unless Options.Writable is set, and what it
//     does is logged. It acts on namespaces the node it is connected to knows; the
//     reference makes one of any name, which would let clients into it.
//   - Without Options.Development only statistics are sent. The reference sends all
//     unless NODE_ENV says otherwise.
//   - The session event follows the reply to CONNECT, so that it is not lost where
//     connection state recovery is on. Likewise socket_connected lists the socket's
//     own room only, and room_joined events name the others.
//   - The id of a client is made from its session id by a one-way function. The
//     reference shows the first 12 characters of the session id itself.
//   - The headers authorization, cookie and proxy-authorization are not shown.
//   - all_sockets is cut off at 512 KiB.
//   - Packets of the heartbeat count, and traffic is attributed to the second in
//     which it is reported.
//
// # Concurrency
//
// Instrument starts one goroutine, which Close or the end of the server stops. All
// methods are safe for concurrent use.
package admin
