package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/socketfleet/socketfleet/adapter"
	_ "github.com/socketfleet/socketfleet/adapter/memory" // registers memory://, the default
	"github.com/socketfleet/socketfleet/internal/engineio"
	"github.com/socketfleet/socketfleet/internal/hist"
	"github.com/socketfleet/socketfleet/internal/parser"
	"github.com/socketfleet/socketfleet/internal/sid"
)

// Server is a Socket.IO server. It is an http.Handler, to be mounted on any mux
// or router, and it is also its namespace "/". It owns no listener: the program
// that mounts it shuts its http.Server down itself.
type Server struct {
	// Namespace is the namespace "/".
	*Namespace

	// Immutable after New.
	opts     Options
	log      *slog.Logger
	engine   *engineio.Server
	provider adapter.Provider
	codec    parser.Codec
	signer   *sid.Signer // nil without Options.ClusterSecret
	limits   parser.Limits

	every NamespaceFamily // all namespaces: OfAll

	stats     counters
	work      tracker // goroutines that run user code
	restores  restoreGate
	observers atomic.Pointer[[]*observerEntry] // nil: nobody; changed under mu
	explain   atomic.Pointer[explainer]        // nil until somebody asks
	draining  chan struct{}                    // closed when Drain, Shutdown or Close is called

	mu         sync.Mutex // guards the following
	namespaces map[string]*Namespace
	clients    map[*client]struct{}
	families   []*NamespaceFamily
	dynamic    int // namespaces made for families
	groups     map[string]*group
	closed     bool
}

var _ http.Handler = (*Server)(nil)

// New returns a server that is ready to serve. It fails when an option is wrong
// or the adapter cannot be reached; ctx bounds that attempt and nothing later.
func New(ctx context.Context, opts *Options) (*Server, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.NodeID == "" {
		o.NodeID = sid.New()[:8]
	}
	srv := &Server{
		opts:       o,
		log:        o.Logger,
		namespaces: make(map[string]*Namespace),
		clients:    make(map[*client]struct{}),
		groups:     make(map[string]*group),
		draining:   make(chan struct{}),
		codec:      parser.Codec(o.JSON),
		limits:     parser.Limits{MaxAttachments: o.MaxAttachments, MaxDepth: o.MaxDepth, MaxTokens: o.MaxTokens, MaxBytes: int(o.MaxPayload)},
	}
	srv.every.srv = srv
	srv.restores.packets = hist.NewSizes()
	engine := o.engine()
	engine.OnConnectionError = srv.engineRefused
	engine.Use = srv.tracedUse(o.Use)
	if o.ClusterSecret != "" {
		if engine.Signer, err = sid.NewSigner(o.ClusterSecret, o.NodeID); err != nil {
			return nil, fmt.Errorf("socketio: %w", err)
		}
		srv.signer = engine.Signer
	}
	if o.Forwarder != nil {
		engine.Foreign = o.Forwarder.Forward
	}
	if o.OnSlowConsumer != nil {
		engine.OnSlow = srv.askSlow
	}
	srv.engine, err = engineio.NewServer(engine, srv.open)
	if err != nil {
		return nil, fmt.Errorf("socketio: %w", err)
	}
	if err := srv.start(ctx); err != nil {
		return nil, err
	}
	if err := srv.startForwarding(ctx, engine.Signer); err != nil {
		return nil, errors.Join(err, srv.Close())
	}
	return srv, nil
}

// start opens the adapter and the namespace "/".
func (srv *Server) start(ctx context.Context) (err error) {
	srv.provider = srv.opts.Adapter
	if srv.provider == nil {
		if srv.provider, err = adapter.Open(adapter.WithLogger(ctx, srv.log), srv.opts.AdapterURL); err != nil {
			return err
		}
	}
	srv.mu.Lock()
	srv.Namespace = srv.addLocked("/", nil)
	srv.refs++
	srv.mu.Unlock()
	srv.Namespace.open(ctx)
	if err := srv.openErr; err != nil {
		_ = srv.provider.Close(ctx) // the first failure is the one to report
		return fmt.Errorf("socketio: open the adapter: %w", err)
	}
	return nil
}

// ServeHTTP answers every request of the Engine.IO protocol, whatever its path.
// It works behind http.StripPrefix, under the timeouts of http.Server, over
// HTTP/2 (polling) and with wrapped ResponseWriters that have an Unwrap method.
func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f := srv.opts.Forwarder; f != nil {
		if r = f.Accept(w, r); r == nil {
			return
		}
	}
	srv.engine.ServeHTTP(w, r)
}

// all returns the namespaces that are ready.
func (srv *Server) all() []*Namespace {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	out := make([]*Namespace, 0, len(srv.namespaces))
	for _, n := range srv.namespaces {
		if n.ready() {
			out = append(out, n)
		}
	}
	return out
}

// Shutdown ends the server in order: new connections are refused, every socket
// disconnects with ReasonShuttingDown and without a DISCONNECT packet, so that
// clients reconnect elsewhere, running handlers are waited for, queued data is
// flushed, and the adapter leaves the cluster. When ctx is done the rest is cut
// short and ctx's error returned. Only the first call of Shutdown or Close works;
// later ones return ErrClosed.
func (srv *Server) Shutdown(ctx context.Context) error {
	if !srv.markClosed() {
		return ErrClosed
	}
	srv.drainForwarder(ctx)
	srv.closeSockets()
	handlers := srv.work.wait(ctx)
	sessions := srv.engine.Shutdown(ctx)
	late := srv.work.wait(ctx) // of lookups of namespaces
	forwarder := srv.closeForwarder(ctx)
	adapters := srv.closeAdapters(ctx)
	return cmp.Or(handlers, sessions, late, forwarder, adapters)
}

// Close ends the server at once: it neither waits for handlers nor flushes.
func (srv *Server) Close() error {
	if !srv.markClosed() {
		return ErrClosed
	}
	srv.closeSockets()
	engineErr := srv.engine.Close()
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	forwarderErr := srv.closeForwarder(ctx)
	return cmp.Or(srv.closeAdapters(ctx), forwarderErr, engineErr)
}

func (srv *Server) markClosed() bool {
	srv.startDraining()
	srv.mu.Lock()
	defer srv.mu.Unlock()
	first := !srv.closed
	srv.closed = true
	return first
}

// closeSockets disconnects every socket; the connections stay, so that running
// handlers can still answer.
func (srv *Server) closeSockets() {
	srv.engine.Refuse()
	for _, c := range srv.connections() {
		c.end(ReasonShuttingDown, nil)
	}
}

// keep remembers a connection until drop. It reports false when the server is
// shutting down, and its connections are left to the engine.
func (srv *Server) keep(c *client) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.clients[c] = struct{}{}
	return !srv.closed
}

func (srv *Server) drop(c *client) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	delete(srv.clients, c)
}

// tracker counts goroutines and waits for them. Unlike a sync.WaitGroup it may
// grow while it is waited for.
type tracker struct {
	mu   sync.Mutex // guards the following; leaf lock
	n    int
	idle chan struct{} // closed when n falls to zero; nil while nobody waits
}

// Add counts n more.
func (t *tracker) Add(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n += n
	if t.n == 0 && t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
}

// Done counts one less.
func (t *tracker) Done() { t.Add(-1) }

// wait returns when nothing is counted any more, or with ctx's error.
func (t *tracker) wait(ctx context.Context) error {
	t.mu.Lock()
	if t.n == 0 {
		t.mu.Unlock()
		return nil
	}
	if t.idle == nil {
		t.idle = make(chan struct{})
	}
	idle := t.idle
	t.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("socketio: shutdown: handlers still running: %w", ctx.Err())
	}
}
