package emitter

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

// Options are the settings of an Emitter. The zero value holds the defaults.
type Options struct {
	// Replies lets the emitter ask nodes and clients. The default is false: it only
	// publishes, which needs no subscription.
	Replies bool
}

var (
	// ErrNoReplies is returned by requests of an emitter without Options.Replies.
	ErrNoReplies = errors.New("socketio: emitter: Options.Replies is off")
	// ErrReserved is returned for event names the protocol keeps for itself.
	ErrReserved = errors.New("socketio: emitter: reserved event name")
	// ErrNoSocket is returned by EmitWithAck when no node has the socket, or it
	// disconnected before it answered.
	ErrNoSocket = errors.New("socketio: emitter: no such socket")
)

// LostError says that messages were given up because their backend was away for
// too long, or because they could not be encoded for it.
type LostError struct {
	Messages int // since the last LostError
}

func (e *LostError) Error() string {
	return fmt.Sprintf("socketio: emitter: %d messages were not published", e.Messages)
}

// Emitter emits into one deployment. It is also the Operator of all sockets of
// the namespace "/".
type Emitter struct {
	Operator
}

// source is what cluster.Provider offers to processes that serve no sockets.
type source interface {
	adapter.Provider
	Emit(m *cluster.Message) error
	Flush(ctx context.Context) error
	OpenEmitter(ctx context.Context, namespace string) (*cluster.Adapter, error)
	Stats() cluster.Stats
}

var _ source = (*cluster.Provider)(nil)

// Open returns an emitter for the nodes that have rawURL as their adapter URL. The
// package of the adapter must be imported, as for nodes. It fails when the backend
// does not answer. nil options mean the defaults. ctx bounds the opening only.
func Open(ctx context.Context, rawURL string, opts *Options) (*Emitter, error) {
	p, err := adapter.Open(ctx, rawURL)
	if err != nil {
		return nil, err
	}
	e, err := New(p, opts)
	if err != nil {
		_ = p.Close(ctx) // the error of New says it all
		return nil, err
	}
	return e, nil
}

// New returns an emitter over a provider that joins nodes, such as that of
// redis.New for a client the program has. The provider must not be used for
// anything else; Close closes it. nil options mean the defaults.
func New(p adapter.Provider, opts *Options) (*Emitter, error) {
	src, ok := p.(source)
	if !ok {
		return nil, fmt.Errorf("socketio: emitter: a %T joins no nodes", p)
	}
	h := &hub{src: src, links: make(map[string]*link)}
	if opts != nil {
		h.opts = *opts
	}
	return &Emitter{Operator{hub: h, namespace: "/"}}, nil
}

// Flush waits until everything emitted so far has been published or given up;
// volatile events are not waited for. It returns a *LostError when messages have
// been given up since the last one was returned.
func (e *Emitter) Flush(ctx context.Context) error {
	if err := e.hub.src.Flush(ctx); err != nil {
		return fmt.Errorf("socketio: emitter: %w", err)
	}
	return e.hub.lost(false)
}

// Close publishes what is queued, until ctx is done, and closes the provider. It
// returns a *LostError when messages were not published. Pending requests end with
// adapter.ErrClosed.
func (e *Emitter) Close(ctx context.Context) error {
	err := e.hub.src.Close(ctx)
	return errors.Join(e.hub.lost(true), err)
}

// hub is what the operators of an emitter share.
type hub struct {
	// Immutable after New.
	src  source
	opts Options

	mu       sync.Mutex // guards the following; leaf lock
	links    map[string]*link
	reported uint64 // lost messages
}

// lost reports what has been given up; at the end what is still queued is, too.
func (h *hub) lost(end bool) error {
	stats := h.src.Stats()
	total := stats.Lost
	if end {
		total += uint64(stats.QueueMessages)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	n := int(total - h.reported)
	h.reported = total
	if n <= 0 {
		return nil
	}
	return &LostError{Messages: n}
}

// link is the way back to us in one namespace.
type link struct {
	ready chan struct{} // closed when the rest is set
	a     *cluster.Adapter
	err   error
}

// link returns the adapter that asks the nodes of a namespace.
func (h *hub) link(ctx context.Context, namespace string) (*cluster.Adapter, error) {
	if !h.opts.Replies {
		return nil, ErrNoReplies
	}
	for {
		l, first := h.claim(namespace)
		if first {
			l.a, l.err = h.src.OpenEmitter(ctx, namespace)
			if l.err != nil {
				h.forget(namespace)
			}
			close(l.ready)
			return l.a, l.err
		}
		select {
		case <-l.ready:
		case <-ctx.Done():
			return nil, adapter.CauseOf(ctx)
		}
		if l.err == nil {
			return l.a, nil
		}
	}
}

// claim returns the link of a namespace, and whether the caller is to open it.
func (h *hub) claim(namespace string) (l *link, first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l = h.links[namespace]; l != nil {
		return l, false
	}
	l = &link{ready: make(chan struct{})}
	h.links[namespace] = l
	return l, true
}

func (h *hub) forget(namespace string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.links, namespace)
}
