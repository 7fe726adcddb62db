package forward

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/sid"
)

// Options configure a Forwarder. The zero value means the defaults.
type Options struct {
	// Registry tells where the nodes are. Default: the one of the server's adapter,
	// which those on Redis have.
	Registry cluster.Registry
	// TLS is used to reach nodes whose URL begins with https. With a certificate in
	// it, and servers that ask for one, nodes know each other twice. Default: the
	// root certificates of the system.
	TLS *tls.Config
	// HTTP2 sends polls and posts over a few connections instead of one for each
	// poll that waits. All nodes have to serve HTTP/2 where they are advertised; on
	// http URLs that is http.Server.Protocols with UnencryptedHTTP2. Default off.
	HTTP2 bool
	// Lease is how long this node stays known after it was last heard of; it is
	// renewed three times as often. Default 15 s.
	Lease time.Duration
	// DialTimeout bounds the opening of a connection to a node. Default 1.5 s, which
	// a lost first packet fits in.
	DialTimeout time.Duration
	// MaxInFlight bounds the requests and tunnels under way to one node; more are
	// answered 503. Default 20,000.
	MaxInFlight int
	// OnMisrouted, when not nil, is asked before a request is forwarded, with the
	// node id of its owner. It may answer in another way, as with a header that makes
	// the platform's proxy replay the request there, and return true. It must not
	// touch w otherwise.
	OnMisrouted func(w http.ResponseWriter, r *http.Request, node string) (handled bool)
}

// Forwarder hands requests to the nodes they are for, and takes those for this one.
// It is the core.Forwarder of one server.
type Forwarder struct {
	opts  Options
	count counters

	// Defaults, which tests change.
	upgradeTimeout time.Duration
	maxUnsized     int64

	// Immutable after Open.
	node     adapter.ForwardNode
	registry cluster.Registry
	signer   *signer
	dir      *directory
	client   *http.Transport
	dialer   net.Dialer
	started  time.Time
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	drain    chan chan error
	leases   sync.WaitGroup // the goroutine of keepLease
	stop     chan struct{}  // closed to end it
	log      gate
	hijack   gate
	skew     gate

	mu      sync.Mutex // guards the following; leaf lock
	open    bool
	running int           // what has entered and not left
	idle    chan struct{} // closed when closing and nothing runs
	tunnels map[*tunnel]struct{}
}

// New returns a Forwarder for core.Options.Forwarder. nil options mean the defaults.
func New(opts *Options) *Forwarder {
	f := &Forwarder{
		upgradeTimeout: defaultUpgradeTimeout, maxUnsized: defaultMaxUnsized,
		tunnels: make(map[*tunnel]struct{}),
	}
	f.count.init()
	if opts != nil {
		f.opts = *opts
	}
	f.opts.Lease = cmp.Or(f.opts.Lease, 15*time.Second)
	f.opts.DialTimeout = cmp.Or(f.opts.DialTimeout, 1500*time.Millisecond)
	f.opts.MaxInFlight = cmp.Or(f.opts.MaxInFlight, 20_000)
	return f
}

// Open makes the node known to the others. It fails when there is no registry or it
// does not answer.
func (f *Forwarder) Open(ctx context.Context, n adapter.ForwardNode) error {
	f.node = n
	f.registry = f.opts.Registry
	if h, ok := n.Provider.(cluster.RegistryHolder); ok && f.registry == nil {
		f.registry = h.Registry()
	}
	if f.registry == nil {
		return errors.New("the adapter has no registry of nodes: use one on Redis, or set Registry in the options of forward.New")
	}
	if _, err := parseURL(n.URL); err != nil {
		return errors.New("the node's own URL cannot be used")
	}
	f.signer = newSigner(n.Secret, n.Owner)
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.dir = &directory{registry: f.registry, lease: f.opts.Lease, spawn: f.spawn, count: &f.count, peers: make(map[string]*peer)}
	f.dialer = net.Dialer{
		Timeout:         f.opts.DialTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	f.client = f.newTransport()
	f.started = time.Now()
	f.drain, f.stop = make(chan chan error), make(chan struct{})
	if err := f.announce(ctx, false); err != nil {
		f.cancel()
		return err
	}
	f.mu.Lock()
	f.open = true
	f.mu.Unlock()
	f.leases.Go(f.keepLease)
	return nil
}

// Close withdraws the node, cuts what is being forwarded and waits for all
// goroutines, or until ctx is done.
func (f *Forwarder) Close(ctx context.Context) error {
	f.mu.Lock()
	if !f.open {
		f.mu.Unlock()
		return nil
	}
	f.open = false
	idle := make(chan struct{})
	if f.idle = idle; f.running == 0 {
		close(idle)
	}
	cut := make([]*tunnel, 0, len(f.tunnels))
	for t := range f.tunnels {
		cut = append(cut, t)
	}
	f.mu.Unlock()

	close(f.stop)
	f.cancel()
	for _, t := range cut {
		t.close()
	}
	f.leases.Wait()
	err := f.registry.Withdraw(ctx, f.node.Owner)
	select {
	case <-idle:
	case <-ctx.Done():
		err = cmp.Or(err, ctx.Err())
	}
	f.client.CloseIdleConnections()
	return err
}

// Tunnels implements core.Forwarder: it returns the WebSockets that go through this
// node.
func (f *Forwarder) Tunnels() []io.Closer {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]io.Closer, 0, len(f.tunnels))
	for t := range f.tunnels {
		list = append(list, t)
	}
	return list
}

// enter counts something that Close has to wait for, unless it is too late.
func (f *Forwarder) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.open {
		return false
	}
	f.running++
	return true
}

func (f *Forwarder) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running--; f.running == 0 && !f.open {
		close(f.idle)
	}
}

// spawn runs something on a goroutine of its own.
func (f *Forwarder) spawn(run func(ctx context.Context)) bool {
	if !f.enter() {
		return false
	}
	go func() {
		defer f.leave()
		run(f.ctx)
	}()
	return true
}

// Accept implements core.Forwarder.
func (f *Forwarder) Accept(w http.ResponseWriter, r *http.Request) *http.Request {
	if _, hopped := r.Header[hopHeader]; !hopped {
		return r
	}
	h, why := f.signer.check(r)
	var out *http.Request
	if why == "" {
		out, why = f.takeBody(w, r, &h)
	}
	if why != "" {
		f.refuse(w, r, &h, why)
		return nil
	}
	f.count.accepted.Add(1)
	return out
}

// refuse answers a hop as the reference's engine answers a request of an unknown
// session.
func (f *Forwarder) refuse(w http.ResponseWriter, r *http.Request, h *hop, why Refusal) {
	count(refusals[:], f.count.refused[:], why)
	if why == Expired && f.skew.allow() {
		f.node.Logger.LogAttrs(r.Context(), slog.LevelWarn, "socketio: forwarded request refused: it is too old, or the clocks of the nodes are apart",
			slog.String("event", "forward.clock_skew"), slog.String("node", h.From),
			slog.Duration("age", time.Since(time.UnixMilli(h.At))))
	}
	f.node.Logger.LogAttrs(r.Context(), slog.LevelDebug, "socketio: forwarded request refused",
		slog.String("event", "forward.hop_refused"), slog.String("reason", string(why)))
	w.Header().Set(hopHeader, "refused")
	if r.Header.Get("Upgrade") != "" {
		w.Header().Set("Connection", "close")
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte("Session ID unknown"))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write([]byte(`{"code":1,"message":"Session ID unknown"}`))
}

type forwardedKey struct{}

func markForwarded(ctx context.Context) context.Context {
	return context.WithValue(ctx, forwardedKey{}, true)
}

// Forward implements core.Forwarder.
func (f *Forwarder) Forward(w http.ResponseWriter, r *http.Request, id string) bool {
	owner, ok := sid.Owner(id)
	if !ok || owner == f.node.Owner { // of a session that has ended
		return false
	}
	if r.Context().Value(forwardedKey{}) != nil {
		f.fail(Looped)
		return false
	}
	if f.opts.OnMisrouted != nil {
		if node, _ := sid.Node(id); f.opts.OnMisrouted(w, r, node) {
			return true
		}
	}
	uri, ok := originalURI(r)
	if !ok || !f.enter() {
		return false
	}
	defer f.leave()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(f.ctx, cancel)()
	p, at, err := f.dir.find(ctx, owner)
	if err != nil {
		return f.unfound(r, err)
	}
	if p.inFlight.Add(1) > int64(f.opts.MaxInFlight) {
		p.inFlight.Add(-1)
		f.fail(Busy)
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	to := target{peer: p, url: at, uri: uri}
	if isUpgrade(r) {
		return f.tunnel(ctx, w, r, to)
	}
	defer p.inFlight.Add(-1)
	f.count.inFlight.Add(1)
	defer f.count.inFlight.Add(-1)
	return f.relay(ctx, w, r, to)
}

// target is where a request goes.
type target struct {
	*peer
	url *url.URL
	uri string
}

func (f *Forwarder) unfound(r *http.Request, err error) (handled bool) {
	switch {
	case r.Context().Err() != nil:
		f.fail(ClientGone)
		return true
	case errors.Is(err, cluster.ErrNodeUnknown):
		f.fail(OwnerUnknown)
	default:
		f.fail(RegistryError)
		f.complain(r.Context(), "socketio: the owner of a session cannot be looked up", "forward.lookup_failed", "", err)
	}
	return false
}

func (f *Forwarder) fail(why Failure) { count(failures[:], f.count.failed[:], why) }

// complain logs an operator's problem, at most one line in 10 s.
func (f *Forwarder) complain(ctx context.Context, text, event, node string, err error) {
	if f.log.allow() {
		f.node.Logger.LogAttrs(ctx, slog.LevelWarn, text, slog.String("event", event), slog.String("node", node), slog.Any("error", err))
	}
}

// originalURI is the request target as the client sent it, which is what the owner's
// handlers expect, whatever middleware here has done to r.URL.
func originalURI(r *http.Request) (string, bool) {
	uri := r.RequestURI
	if !strings.HasPrefix(uri, "/") {
		uri = r.URL.RequestURI()
	}
	return uri, strings.HasPrefix(uri, "/") && !strings.HasPrefix(uri, "//")
}

func isUpgrade(r *http.Request) bool {
	return r.Header.Get("Upgrade") != "" && strings.Contains(strings.ToLower(strings.Join(r.Header["Connection"], ",")), "upgrade")
}

// gate lets one log line pass in 10 s.
type gate struct{ next atomic.Int64 }

func (g *gate) allow() bool {
	now := time.Now().UnixNano()
	next := g.next.Load()
	return now >= next && g.next.CompareAndSwap(next, now+int64(10*time.Second))
}
