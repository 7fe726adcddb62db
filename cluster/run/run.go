package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Defaults of Config.
const (
	defaultDrainTimeout    = 90 * time.Second
	defaultShutdownTimeout = 15 * time.Second
)

// ErrForced is returned when a second signal ended the process before it had
// stopped in order.
var ErrForced = errors.New("socketio: stopped by a second signal")

// Node is what Serve stops; a *core.Server is one.
type Node interface {
	// Shutdown ends the node in order, Close at once. Close may be called while
	// Shutdown is running.
	Shutdown(ctx context.Context) error
	Close() error
}

// Config says what Serve serves and how it stops. HTTP and Node are required.
type Config struct {
	// HTTP serves Listener, or listens at its Addr when Listener is nil. It is
	// closed when Serve returns.
	HTTP     *http.Server
	Listener net.Listener
	// Node is stopped after it has been drained.
	Node Node
	// Drain, when not nil, sends the clients of the node elsewhere. It is called
	// while the listener still serves.
	Drain func(ctx context.Context) error
	// DrainTimeout bounds Drain. Default 90 s. An orchestrator must allow the
	// process the sum of both timeouts (in Kubernetes
	// terminationGracePeriodSeconds).
	DrainTimeout time.Duration
	// ShutdownTimeout bounds what follows: handlers, queued data, the listener.
	// Default 15 s.
	ShutdownTimeout time.Duration
	// Signals stop the process; a second one cuts everything short. Default SIGINT
	// and SIGTERM.
	Signals []os.Signal
	// Listening, when not nil, is told the address once connections are accepted.
	Listening func(net.Addr)
	// Logger receives the steps. Default slog.Default().
	Logger *slog.Logger
}

func (c *Config) withDefaults() (Config, error) {
	out := *c
	if out.HTTP == nil || out.Node == nil {
		return out, errors.New("socketio: run: HTTP and Node are required")
	}
	out.DrainTimeout = cmp.Or(out.DrainTimeout, defaultDrainTimeout)
	out.ShutdownTimeout = cmp.Or(out.ShutdownTimeout, defaultShutdownTimeout)
	if out.DrainTimeout < 0 || out.ShutdownTimeout < 0 {
		return out, errors.New("socketio: run: timeouts must be positive")
	}
	if len(out.Signals) == 0 {
		out.Signals = []os.Signal{os.Interrupt, syscall.SIGTERM}
	}
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	return out, nil
}

// Serve serves until a signal comes, ctx is done or the listener fails, and then
// stops in order: drain, node, listener. It returns nil when all of that went
// well, ErrForced after a second signal, and otherwise the first failure. ctx
// being done counts as a first signal; it does not cut the stopping short.
func Serve(ctx context.Context, config Config) error {
	c, err := config.withDefaults()
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, c.Signals...)
	defer signal.Stop(signals)
	l := c.Listener
	if l == nil {
		if l, err = net.Listen("tcp", c.HTTP.Addr); err != nil {
			return errors.Join(fmt.Errorf("socketio: run: %w", err), c.Node.Close())
		}
	}
	failed := make(chan error, 1)
	go func() { failed <- c.HTTP.Serve(l) }()
	c.Logger.Info("socketio: serving", "event", "server.start", "address", l.Addr().String())
	if c.Listening != nil {
		c.Listening(l.Addr())
	}

	select {
	case err = <-failed:
		failed <- http.ErrServerClosed
		err = fmt.Errorf("socketio: run: %w", err)
		c.Logger.Error("socketio: cannot serve", "event", "server.failed", "error", err)
	case sig := <-signals:
		c.Logger.Info("socketio: stopping", "event", "server.stop", "signal", sig.String())
	case <-ctx.Done():
		c.Logger.Info("socketio: stopping", "event", "server.stop", "cause", context.Cause(ctx))
	}

	stopped := make(chan error, 1)
	hurry, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go func() { stopped <- c.stop(hurry, err == nil) }()
	select {
	case stopErr := <-stopped:
		<-failed
		return cmp.Or(err, stopErr)
	case <-signals:
	}
	c.Logger.Warn("socketio: stopped by a second signal", "event", "server.forced")
	cancel()
	_ = c.Node.Close() // at once; Shutdown, if it runs, ends too
	_ = c.HTTP.Close()
	<-stopped
	<-failed
	return ErrForced
}

// stop ends the node, then the listener. Serving that failed leaves nobody to be
// drained.
func (c *Config) stop(ctx context.Context, drain bool) error {
	var drainErr error
	if drain && c.Drain != nil {
		bounded, cancel := context.WithTimeout(ctx, c.DrainTimeout)
		if err := c.Drain(bounded); err != nil {
			drainErr = fmt.Errorf("socketio: run: drain: %w", err)
		}
		cancel()
	}
	bounded, cancel := context.WithTimeout(ctx, c.ShutdownTimeout)
	defer cancel()
	nodeErr := c.Node.Shutdown(bounded)
	httpErr := c.HTTP.Shutdown(bounded)
	if httpErr != nil {
		_ = c.HTTP.Close() // what is left is cut
	}
	return cmp.Or(drainErr, nodeErr, httpErr)
}
