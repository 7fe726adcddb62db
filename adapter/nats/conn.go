package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

const (
	dialTimeout   = 2 * time.Second
	writeTimeout  = 3 * time.Second
	reconnectWait = 100 * time.Millisecond
	reconnectMax  = 2 * time.Second
)

// tune makes the options of our own connection out of the user's: same servers,
// credentials, TLS settings and dialer, and nothing that replays or loses messages
// in silence.
func tune(o natsgo.Options, opts *Options) natsgo.Options {
	o.Name = "socketfleet"
	o.NoEcho = true
	// What is published while the connection is away fails, and waits in the
	// outbound queue, whose age and size are bounded, instead of in a second buffer
	// here that is thrown away without a word.
	o.ReconnectBufSize = -1
	o.AllowReconnect, o.MaxReconnect, o.RetryOnFailedConnect = true, -1, false
	o.IgnoreAuthErrorAbort = true
	o.CustomReconnectDelayCB = func(rounds int) time.Duration {
		return min(reconnectWait<<min(max(rounds-1, 0), 10), reconnectMax)
	}
	o.ReconnectToServerCB = nil
	o.Timeout, o.FlusherTimeout = dialTimeout, writeTimeout
	o.ReconnectOnFlusherError = true
	o.PingInterval, o.MaxPingsOut = opts.HeartbeatInterval, 1
	o.UseOldRequestStyle, o.SkipSubjectValidation = false, false
	o.PermissionErrOnSubscribe = false
	o.NoCallbacksAfterClientClose = true
	o.ConnectedCB, o.ReconnectedCB, o.DisconnectedCB, o.DisconnectedErrCB = nil, nil, nil, nil
	o.ClosedCB, o.DiscoveredServersCB, o.LameDuckModeHandler = nil, nil, nil
	o.ReconnectErrCB, o.AsyncErrorCB = nil, nil
	return o
}

// connect opens a connection, with the callbacks of b.
func (b *bus) connect(ctx context.Context, o natsgo.Options) error {
	o.ReconnectedCB = func(*natsgo.Conn) { signal(b.watch.wake) }
	o.DisconnectedErrCB = func(_ *natsgo.Conn, err error) {
		if err == nil {
			err = errors.New("connection lost")
		}
		b.watch.down(err)
		signal(b.watch.wake)
	}
	o.ReconnectErrCB = func(_ *natsgo.Conn, err error) { b.watch.down(err) }
	o.AsyncErrorCB = b.asyncError
	// Connect takes no context, but gives up by itself: one attempt per server.
	done := make(chan struct{})
	var conn *natsgo.Conn
	var err error
	go func() {
		defer close(done)
		conn, err = o.Connect()
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
		go func() { // ends with the attempts
			<-done
			if err == nil {
				conn.Close()
			}
		}()
		return fmt.Errorf("socketio: nats: connect: %w", ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("socketio: nats: connect: %w", err)
	}
	b.conn = conn
	return nil
}

// asyncError takes what nats.go finds out while nobody asks.
func (b *bus) asyncError(_ *natsgo.Conn, _ *natsgo.Subscription, err error) {
	switch {
	case errors.Is(err, natsgo.ErrSlowConsumer):
		b.watch.overrun()
		signal(b.watch.wake)
	case errors.Is(err, natsgo.ErrPermissionViolation), errors.Is(err, natsgo.ErrMaxSubscriptionsExceeded):
		b.opts.Logger.Error("socketio: nats: the server refuses what this adapter needs", "event", "adapter.refused", "error", err)
		b.watch.note(err)
	default:
		b.opts.Logger.Debug("socketio: nats: asynchronous error", "error", err)
		b.watch.note(err)
	}
}
