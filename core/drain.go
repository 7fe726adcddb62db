package core

import (
	"context"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/socketfleet/socketfleet/internal/engineio"
)

// Defaults of DrainOptions.
const (
	defaultDrainGrace    = 5 * time.Second
	defaultDrainWindow   = time.Minute
	defaultDrainHandlers = 5 * time.Second
)

// handlerPoll is how often a connection whose handlers run is looked at again.
const handlerPoll = 20 * time.Millisecond

// flushTimeout is how long a drained client has to take what is queued for it. One
// that polls is told to go by its next request, if there is one.
const flushTimeout = 10 * time.Second

// countTimeout bounds the question how many nodes there are.
const countTimeout = 2 * time.Second

// DrainOptions configure Server.Drain. The zero value of a field means its
// default; a negative duration is none.
type DrainOptions struct {
	// Grace is how long the server only refuses new connections, so that load
	// balancers take it out before the first client is sent away. Default 5 s.
	Grace time.Duration
	// Window is the time over which the connections are closed, so that the other
	// nodes are not stormed: clients come back within 0.5 to 1.5 s. Default 1 min.
	Window time.Duration
	// Rate is how many connections per second the other nodes take, all of them
	// together. Where the window would send them more it is lengthened, as far as
	// ctx's deadline allows. Default: half of Options.HandshakeRate for each other
	// node, which leaves the other half to new clients; without a HandshakeRate, or a
	// window, no bound.
	Rate int
	// HandlerTimeout bounds the wait for the handlers of one connection. Default
	// 5 s.
	HandlerTimeout time.Duration
	// Progress, when not nil, is called about once a second, by one goroutine at a
	// time, with what the report says so far.
	Progress func(DrainReport)
}

func (o DrainOptions) withDefaults() DrainOptions {
	setDefault(&o.Grace, defaultDrainGrace)
	setDefault(&o.Window, defaultDrainWindow)
	setDefault(&o.HandlerTimeout, defaultDrainHandlers)
	return o
}

// DrainReport says what a Drain did. Connections is the sum of Closed, Forced and
// Left, and of those that are still open when it is a report of progress.
type DrainReport struct {
	Connections int `json:"connections"` // open when the drain began
	Closed      int `json:"closed"`      // after their handlers had returned
	Forced      int `json:"forced"`      // while handlers ran, or because ctx was done
	Left        int `json:"left"`        // gone by themselves
	Flushed     int `json:"flushed"`     // of those closed or forced: ended with everything sent
	Saved       int `json:"saved"`       // sockets that can be recovered elsewhere
	Tunnels     int `json:"tunnels"`     // connections of other nodes that went through this one, ended too
	// Duration is the time since the beginning, in nanoseconds as JSON.
	Duration time.Duration `json:"duration"`
}

// Drain sends the clients of this server to other nodes, as the first part of a
// rolling restart; Shutdown is the second. At once new connections are refused
// with 503 and Retry-After, and HealthHandler answers that the server is not
// ready; Options.Forwarder tells the other nodes, and goes on with the requests it
// gets. After a grace period the connections are closed, spread evenly at random
// over a window, which is longer where the other nodes could not take them in that
// time: those without running handlers first, the others when their
// handlers have returned. So are the WebSockets of other nodes that go through this
// one. Sessions are saved before (Options.Recovery), and what is queued for a client
// is sent. No DISCONNECT packet is sent, because a client
// that gets one does not come back; sockets disconnect with ReasonShuttingDown.
//
// Drain returns when every connection has ended. When ctx is done first, the rest
// is closed at once and ctx's error returned. A second call while one runs or
// after it, or after Shutdown or Close, returns ErrClosed.
func (srv *Server) Drain(ctx context.Context, opts DrainOptions) (DrainReport, error) {
	if !srv.startDraining() {
		return DrainReport{}, ErrClosed
	}
	d := &drain{srv: srv, opts: opts.withDefaults(), begin: time.Now()}
	srv.engine.Refuse()
	d.total.Store(int64(len(srv.connections())))
	srv.log.Info("socketio: draining", "event", "drain.start", "connections", d.total.Load(),
		"grace", d.opts.Grace, "window", d.opts.Window)
	stop := d.watch()
	var told sync.WaitGroup // the registry may be slow, which is no reason to wait
	told.Go(func() { srv.drainForwarder(ctx) })
	err := d.run(ctx)
	told.Wait()
	stop()
	report := d.report()
	srv.log.Info("socketio: drained", "event", "drain.done", "connections", report.Connections, "closed", report.Closed,
		"forced", report.Forced, "left", report.Left, "flushed", report.Flushed, "saved", report.Saved, "tunnels", report.Tunnels,
		"duration", report.Duration, "error", err)
	return report, err
}

// Draining returns a channel that is closed when Drain, Shutdown or Close is
// called.
func (srv *Server) Draining() <-chan struct{} { return srv.draining }

// startDraining reports false when it has been called before.
func (srv *Server) startDraining() bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	select {
	case <-srv.draining:
		return false
	default:
		close(srv.draining)
		return true
	}
}

// connections returns the clients that are connected.
func (srv *Server) connections() []*client {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return slices.Collect(maps.Keys(srv.clients))
}

// drain is one call of Drain.
type drain struct {
	// Immutable after Drain.
	srv   *Server
	opts  DrainOptions
	begin time.Time

	closing sync.WaitGroup // connections on their way out

	total, closed, forced, left, flushed, saved, tunnels atomic.Int64
}

func (d *drain) report() DrainReport {
	return DrainReport{
		Connections: int(d.total.Load()),
		Closed:      int(d.closed.Load()),
		Forced:      int(d.forced.Load()),
		Left:        int(d.left.Load()),
		Flushed:     int(d.flushed.Load()),
		Saved:       int(d.saved.Load()),
		Tunnels:     int(d.tunnels.Load()),
		Duration:    time.Since(d.begin),
	}
}

// watch reports progress until the function it returns is called.
func (d *drain) watch() (stop func()) {
	if d.opts.Progress == nil {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				d.srv.failed("DrainOptions.Progress", d.srv.Namespace, guard(func() error { d.opts.Progress(d.report()); return nil }))
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

func (d *drain) run(ctx context.Context) error {
	if d.opts.Grace > 0 && (d.total.Load() > 0 || len(d.srv.tunnels()) > 0) {
		pause(ctx, d.opts.Grace)
	}
	clients := d.srv.connections()
	// A handshake that was under way may have added one.
	d.total.Store(max(d.total.Load(), int64(len(clients))))
	d.left.Store(d.total.Load() - int64(len(clients)))
	var idle, busy []func()
	for _, c := range clients {
		if end := func() { d.close(ctx, c) }; c.busy() {
			busy = append(busy, end)
		} else {
			idle = append(idle, end)
		}
	}
	for _, t := range d.srv.tunnels() {
		idle = append(idle, func() { d.cut(t) })
	}
	ends := append(idle, busy...)
	d.spread(ctx, ends, d.window(ctx, len(ends)))
	d.closing.Wait() // heeds ctx
	return ctx.Err()
}

// window returns the time over which n connections are closed: the one of the
// options, or longer where the other nodes do not take them as fast.
func (d *drain) window(ctx context.Context, n int) time.Duration {
	window, rate := d.opts.Window, d.opts.Rate
	if rate == 0 && window > 0 {
		rate = d.srv.spareHandshakes(ctx)
	}
	if rate <= 0 {
		return window
	}
	need := time.Duration(n) * time.Second / time.Duration(rate)
	if need <= window {
		return window
	}
	if deadline, ok := ctx.Deadline(); ok {
		// The last ones must have the time to end in order.
		left := time.Until(deadline) - d.opts.HandlerTimeout - time.Second
		if left < need {
			d.srv.log.Warn("socketio: draining: the other nodes will be sent more clients than they take: give Drain more time",
				"event", "drain.too_fast", "connections", n, "rate", rate, "needed", need, "left", left)
		}
		need = max(min(need, left), window)
	}
	d.srv.log.Info("socketio: draining: the window is longer, for the other nodes to take the clients", "event", "drain.paced",
		"connections", n, "rate", rate, "window", need)
	return need
}

// spareHandshakes is how many connections of this server the other nodes are taken to
// admit per second, if they have its options. Zero: that is not bounded, or not known.
func (srv *Server) spareHandshakes(ctx context.Context) int {
	if srv.opts.HandshakeRate <= 0 {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	nodes, err := srv.ServerCount(ctx)
	if err != nil || nodes < 2 {
		return 0
	}
	return max(srv.opts.HandshakeRate*(nodes-1)/2, 1)
}

// spread starts to end the connections, one after the other over the window.
func (d *drain) spread(ctx context.Context, ends []func(), window time.Duration) {
	begin := time.Now()
	for i, at := range offsets(len(ends), window) {
		if wait := time.Until(begin.Add(at)); wait > time.Millisecond {
			pause(ctx, wait)
		}
		d.closing.Go(ends[i])
	}
}

// offsets yields when each of n connections is to be closed: one after the other,
// each pause being the fair share of what is left of the window, give or take a
// half.
func offsets(n int, window time.Duration) iter.Seq2[int, time.Duration] {
	return func(yield func(int, time.Duration) bool) {
		var at time.Duration
		for i := range n {
			if !yield(i, at) {
				return
			}
			share := max(window-at, 0) / time.Duration(n-i)
			at += share/2 + rand.N(share+1)
		}
	}
}

// close ends one connection and waits until its client has everything.
func (d *drain) close(ctx context.Context, c *client) {
	done := c.sess.Done()
	limit := time.Now().Add(d.opts.HandlerTimeout)
	busy := c.busy()
	for ; busy && ctx.Err() == nil && time.Now().Before(limit); busy = c.busy() {
		select {
		case <-time.After(handlerPoll):
		case <-ctx.Done():
		case <-done:
		}
	}
	select {
	case <-done:
		d.left.Add(1)
		return
	default:
	}
	d.saved.Add(int64(c.recoverable()))
	c.end(ReasonShuttingDown, nil)
	c.sess.Close(engineio.Reason(ReasonShuttingDown), true)
	if busy || ctx.Err() != nil {
		d.forced.Add(1)
	} else {
		d.closed.Add(1)
	}
	late := time.NewTimer(flushTimeout)
	defer late.Stop()
	select {
	case <-done:
		d.flushed.Add(1)
	case <-late.C:
		c.sess.Close(engineio.Reason(ReasonShuttingDown), false)
	case <-ctx.Done():
	}
}

// cut ends a connection that belongs to another node, which saves the session. It
// would not outlive this process.
func (d *drain) cut(tunnel io.Closer) {
	d.tunnels.Add(1)
	_ = tunnel.Close() // it may have ended
}

// busy reports whether a handler of the connection runs or is about to, or its
// client owes an acknowledgement.
func (c *client) busy() bool {
	if c.pendingAcks.Load() > 0 {
		return true
	}
	c.mu.Lock()
	entries := slices.Clone(c.entries)
	c.mu.Unlock()
	return slices.ContainsFunc(entries, func(e entry) bool {
		if e.s == nil {
			return true // a dynamic namespace is being looked up
		}
		e.s.mu.Lock()
		defer e.s.mu.Unlock()
		return e.s.dispatching
	})
}

// recoverable counts the connection's sockets whose session will be saved.
func (c *client) recoverable() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, e := range c.entries {
		if e.s != nil && e.s.lease != nil && e.s.Connected() && e.s.nsp.store() != nil {
			n++
		}
	}
	return n
}

// pause waits for d, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
