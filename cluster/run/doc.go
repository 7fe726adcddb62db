// Package run is the life of a process that serves Socket.IO, from the listener
// to the exit, so that a rolling restart loses nothing: it serves until a signal
// comes, drains the node while clients that are still connected are served, then
// stops the node and the listener.
//
//	err := run.Serve(ctx, run.Config{
//		HTTP:  &http.Server{Addr: ":3000", Handler: mux},
//		Node:  srv, // a *core.Server
//		Drain: func(ctx context.Context) error { _, err := srv.Drain(ctx, core.DrainOptions{}); return err },
//	})
//
// # Concurrency
//
// Serve blocks its caller and owns one goroutine, which accepts connections; it
// has ended when Serve returns. The functions of Config are called by the
// goroutine that called Serve, or, after a second signal, while a call of Drain or
// Shutdown is still running.
package run
