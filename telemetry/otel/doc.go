// Package otel traces what a Socketfleet server does with OpenTelemetry:
//
//	srv, err := core.New(ctx, &core.Options{
//		Use: []func(http.Handler) http.Handler{otel.Handshake(nil)},
//	})
//	defer otel.Observe(srv, nil)()
//
// The spans:
//
//   - "socketio handshake" (server): the first request of a connection.
//   - "connect {namespace}" (server): a client joins a namespace, with all
//     middlewares and OnConnect handlers.
//   - "{event} process" (consumer): an event with all its handlers. It is the root of
//     a trace, because a connection may live for days, and linked to the connection's
//     handshake. Its context is the one handlers get.
//   - "{event} broadcast" (producer): an emit, and below it "adapter publish": from
//     the queue of this node to the backend of the adapter.
//   - "adapter receive" (consumer): the broadcast on another node, the root of a trace
//     there, linked to the broadcast.
//   - "{event} send" (producer) and "{request}" (client): emits to one socket and
//     requests to other nodes whose caller has a span.
//
// An emit is a part of the trace of its caller when the caller says so:
//
//	srv.To("room").WithContext(ctx).Emit("news", text)
//
// What a span is named after was chosen by the program, never by a client: events
// without a handler are "_other", namespaces of a family bear the family's pattern.
// Span contexts of clients are used only where Options say so, and as links. Between
// nodes the trace travels in adapter.Meta, which no client sees.
//
// # Concurrency
//
// All functions are safe for concurrent use. The package starts no goroutine; the
// spans go to the program's TracerProvider on the goroutine of what they describe, so
// that its processors must not block.
package otel
