// Package server is the server under test in the conformance suites, for the
// programs that differ in the adapters they know. Its mode, the only argument, says
// what it plays:
//
//	protocol    bare Engine.IO at /engine.io/ and Socket.IO at /socket.io/, with the
//	            short timings the official protocol suites expect
//	sio-client  what the suite of socket.io-client expects, with recovery
//	eio-client  what the suite of engine.io-client expects, at /engine.io/
//	node        one node of a cluster, driven over POST /ctl; NODE_CONFIG holds its
//	            configuration as JSON
//	balanced    the Socket.IO of protocol, with default timings, on three nodes, behind a front that hands
//	            every request to the next node in turn; GET /forwarded tells what
//	            the nodes handed to each other
//	emitter     a process that serves no sockets and emits into such a cluster, driven
//	            and configured the same way
//	rolling     one node behind any load balancer that emits numbers from POST /start
//	            to POST /stop; SIGTERM drains it, and it prints the report and the
//	            last number. NODE_CONFIG is that of a node, and rolling.go's
//
// It prints "LISTENING <port>" when it is ready. PORT names the port, 0 a free
// one.
package server
