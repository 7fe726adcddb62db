package engineio

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/socketfleet/socketfleet/internal/sid"
)

// killGrace is how long Shutdown and Close wait for handlers after all connections
// have been cut.
const killGrace = 5 * time.Second

// maxCustomID is the length limit of ids that the application makes.
const maxCustomID = 256

// readBuffer is the size in bytes of gorilla's read buffer, which an idle connection
// keeps. Messages that are larger are read past it; 1,024 bytes instead of 512 would
// cost 512 bytes per connection and save reads only where small messages come in
// bursts.
const readBuffer = 512

// Server accepts sessions over HTTP. It is an http.Handler.
type Server struct {
	// Immutable after NewServer.
	opts     Options
	handler  Handler
	serve    http.Handler // routed, inside Options.Use
	origins  origins
	upgrader websocket.Upgrader
	deflater websocket.Upgrader // for clients with permessage-deflate
	gzip     *compression       // of poll responses
	deflate  *compression       // of WebSocket messages; nil: off
	customID bool               // ids come from Options.GenerateID and have any form

	count      counters
	streams    atomic.Int32 // servers that call ServeStream
	leaving    atomic.Bool  // Shutdown was called: nothing waits for polls that may never come
	budget     budget
	slow       slowLog
	node       throttle // handshakes of all clients
	addresses  addresses
	originLog  logGate
	hijackLog  logGate
	writerPool sync.Pool // gorilla's write buffers, hardly ever used

	mu       sync.Mutex // guards the following
	sessions map[string]*Session
	closing  bool
	idle     chan struct{} // closed when closing and no session is left
}

// NewServer returns a server whose sessions are given to h. It fails when an
// option is not valid.
func NewServer(opts Options, h Handler) (*Server, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	list, err := newOrigins(opts.Origins)
	if err != nil {
		return nil, err
	}
	srv := &Server{
		opts:     opts,
		handler:  h,
		origins:  list,
		customID: opts.GenerateID != nil,
		sessions: make(map[string]*Session),
		idle:     make(chan struct{}),
		gzip:     newCompression(opts.CompressionThreshold, opts.CompressionLevel, opts.CompressionConcurrency),
	}
	srv.serve = http.HandlerFunc(srv.route)
	for _, use := range slices.Backward(opts.Use) {
		srv.serve = use(srv.serve)
	}
	srv.count.init()
	srv.budget.limit = opts.MaxTotalQueueBytes
	srv.budget.total.Mark = srv.opts.HighWaterBytes
	srv.addresses.opts = &srv.opts
	switch {
	case opts.Signer != nil:
		srv.opts.GenerateID = func(*http.Request) (string, error) { return opts.Signer.New(), nil }
	case opts.GenerateID == nil:
		srv.opts.GenerateID = func(*http.Request) (string, error) { return sid.Engine(opts.NodeID), nil }
	}
	srv.upgrader = websocket.Upgrader{
		HandshakeTimeout: upgradeTimeout,
		ReadBufferSize:   readBuffer,
		WriteBufferPool:  &srv.writerPool,
		CheckOrigin:      func(*http.Request) bool { return true }, // decided in verify
		Error:            srv.upgradeError,
	}
	if d := opts.Deflate; d != nil {
		srv.deflate = newCompression(d.Threshold, d.Level, opts.CompressionConcurrency)
		srv.deflater = srv.upgrader
		srv.deflater.EnableCompression = true
	}
	return srv, nil
}

// Path returns the normalized path at which the server is to be mounted.
func (srv *Server) Path() string { return srv.opts.Path }

// Sessions yields the open sessions.
func (srv *Server) Sessions() iter.Seq[*Session] {
	return func(yield func(*Session) bool) {
		for _, s := range srv.all() {
			s.mu.Lock()
			open := s.state != stateClosed
			s.mu.Unlock()
			if open && !yield(s) {
				return
			}
		}
	}
}

// Session returns the open session with an id.
func (srv *Server) Session(id string) (*Session, bool) {
	s := srv.lookup(id)
	return s, s != nil
}

func (srv *Server) all() []*Session {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	list := make([]*Session, 0, len(srv.sessions))
	for _, s := range srv.sessions {
		list = append(list, s)
	}
	return list
}

// lookup returns the session with an id, or nil.
func (srv *Server) lookup(id string) *Session {
	if !srv.wellFormed(id) {
		return nil
	}
	srv.mu.Lock()
	s := srv.sessions[id]
	srv.mu.Unlock()
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == stateClosed {
		return nil
	}
	return s
}

// wellFormed checks the form of a session id before anything is done with it.
func (srv *Server) wellFormed(id string) bool {
	if srv.customID {
		return len(id) <= maxCustomID
	}
	return sid.Valid(id)
}

// register makes a new session known. It returns false when the id is taken or the
// server is closing.
func (srv *Server) register(s *Session) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.closing || srv.sessions[s.id] != nil {
		return false
	}
	srv.sessions[s.id] = s
	return true
}

// forget is called when nothing of a session is left.
func (srv *Server) forget(s *Session) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.sessions[s.id] == s {
		delete(srv.sessions, s.id)
	}
	if srv.closing && len(srv.sessions) == 0 {
		srv.closeIdleLocked()
	}
}

func (srv *Server) closeIdleLocked() {
	select {
	case <-srv.idle:
	default:
		close(srv.idle)
	}
}

// overloaded reports whether new sessions are refused.
func (srv *Server) overloaded() bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.Full() {
		srv.count.hit(limitConnections)
		return true
	}
	return srv.closing
}

// Full reports whether there are as many sessions as MaxConnections allows.
func (srv *Server) Full() bool {
	limit := srv.opts.MaxConnections
	return limit > 0 && srv.count.sessions.Load()+srv.count.expected.Load() >= int64(limit)
}

// Shutdown refuses new handshakes with 503 and closes all sessions, with
// ReasonShutdown and after what is queued for them has been sent. It returns when
// all their goroutines have ended. When ctx is done first, connections are cut and
// the error is ctx's.
func (srv *Server) Shutdown(ctx context.Context) error {
	srv.Refuse()
	srv.leaving.Store(true)
	for _, s := range srv.all() {
		s.Close(ReasonShutdown, true)
	}
	select {
	case <-srv.idle:
		srv.budget.searches.Wait()
		return nil
	case <-ctx.Done():
		srv.cut()
		return ctx.Err()
	}
}

// Close is Shutdown without sending what is queued.
func (srv *Server) Close() error {
	srv.Refuse()
	return srv.cut()
}

// Refuse answers new handshakes with 503 from now on.
func (srv *Server) Refuse() {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.closing = true
	if len(srv.sessions) == 0 {
		srv.closeIdleLocked()
	}
}

// cut ends all sessions and connections and waits for their goroutines; it fails
// when handlers keep them.
func (srv *Server) cut() error {
	for _, s := range srv.all() {
		s.cut()
	}
	grace := time.NewTimer(killGrace)
	defer grace.Stop()
	select {
	case <-srv.idle:
		srv.budget.searches.Wait()
		return nil
	case <-grace.C:
		return ErrServerClosed
	}
}

// cut ends the session and its connections without a farewell.
func (s *Session) cut() {
	s.mu.Lock()
	s.abrupt = true
	kill := []transport{s.transport}
	if s.probe != nil {
		kill = append(kill, s.probe.w)
	}
	s.closeLocked(ReasonShutdown, nil, false)
	s.mu.Unlock()
	for _, t := range kill {
		t.kill(true)
	}
}

func (o *Options) allows(name string) bool {
	return slices.Contains(o.Transports, name)
}

// Limits are bounds of a Server that who forwards its requests needs too. Zero is no
// bound.
type Limits struct {
	MaxPayload   int64         // of a request body, in bytes
	BodyTimeout  time.Duration // of reading it
	PollTimeout  time.Duration // within which a poll is answered
	WriteTimeout time.Duration // of one write to a client
}

// Limits returns the server's bounds.
func (srv *Server) Limits() Limits {
	o := &srv.opts
	l := Limits{MaxPayload: o.MaxPayload, BodyTimeout: o.BodyTimeout, WriteTimeout: o.WriteTimeout}
	if o.PingInterval > 0 {
		l.PollTimeout = o.PingInterval + o.PingTimeout + 5*time.Second
	}
	return l
}
