package core

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/socketfleet/socketfleet/adapter"
)

// Namespace is one channel of communication, multiplexed with others over each
// client's connection. All methods are safe for concurrent use.
type Namespace struct {
	hooks // what was registered on the namespace itself

	// Immutable once opened is closed.
	srv     *Server
	name    string
	family  *NamespaceFamily // nil for a namespace no family accepts
	group   *group           // never nil
	adapter adapter.Adapter
	openErr error // why there is no way to other nodes; clients are refused

	opened   chan struct{} // closed when adapter and openErr are set
	ackID    atomic.Uint64
	events   taskQueue   // server-side events
	changes  taskQueue   // of rooms
	transits taskQueue   // what the adapter reports for the observers
	used     atomic.Bool // a socket has been connected

	// Guarded by Server.mu.
	dynamic bool          // made for a client, and counted as such
	refs    int           // sockets, and clients on their way in
	closing chan struct{} // closed when the namespace has been removed; nil before

	mu      sync.Mutex // guards the following
	sockets map[string]*Socket
}

// Name returns the namespace's name, which starts with "/".
func (n *Namespace) Name() string { return n.name }

// NodeID returns the name of this process among the nodes.
func (n *Namespace) NodeID() string { return n.srv.opts.NodeID }

// Outgoing is what OnAnyOutgoing sees of an emit.
type Outgoing struct {
	Event  string
	Args   []any
	Socket *Socket        // the receiver, for an emit to one socket of this node
	Target adapter.Target // the receivers, for a broadcast
}

// Sockets returns the sockets of this node.
func (n *Namespace) Sockets() iter.Seq[*Socket] {
	return func(yield func(*Socket) bool) {
		n.mu.Lock()
		all := slices.Collect(maps.Values(n.sockets))
		n.mu.Unlock()
		for _, s := range all {
			if !yield(s) {
				return
			}
		}
	}
}

// Socket returns the socket of this node with the given id.
func (n *Namespace) Socket(id string) (*Socket, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s, ok := n.sockets[id]
	return s, ok
}

func (n *Namespace) add(s *Socket) {
	n.used.Store(true)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sockets[s.id] = s
}

func (n *Namespace) remove(s *Socket) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sockets[s.id] == s { // a recovered socket has its predecessor's id
		delete(n.sockets, s.id)
	}
}

// chain yields what was registered on the family of all namespaces, then on the
// namespace's own family, then on the namespace.
func (n *Namespace) chain() iter.Seq[*hookTable] {
	return func(yield func(*hookTable) bool) {
		if !yield(n.srv.every.load()) {
			return
		}
		if f := n.familyHooks(); f != nil && !yield(f) {
			return
		}
		yield(n.hooks.load())
	}
}

func (n *Namespace) familyHooks() *hookTable {
	if n.family == nil {
		return nil
	}
	return n.family.hooks.load()
}

func (n *Namespace) anyHook(has func(*hookTable) bool) bool {
	for h := range n.chain() {
		if has(h) {
			return true
		}
	}
	return false
}

// runsOnConnect reports whether user code has to run before or after a socket is
// accepted.
func (n *Namespace) runsOnConnect() bool {
	return n.anyHook(func(t *hookTable) bool { return len(t.middleware)+len(t.connect) > 0 })
}

func (n *Namespace) listensToDisconnecting() bool {
	return n.anyHook(func(t *hookTable) bool { return len(t.disconnecting) > 0 })
}

func (n *Namespace) listensToDisconnect() bool {
	return n.anyHook(func(t *hookTable) bool { return len(t.disconnecting)+len(t.disconnect) > 0 })
}

// outgoing shows an emit to the catch-all listeners.
func (n *Namespace) outgoing(o Outgoing) {
	for h := range n.chain() {
		for _, fn := range h.outgoing {
			n.srv.failed("OnAnyOutgoing", n, guard(func() error { fn(o); return nil }))
		}
	}
}

// packet encodes an event once.
func (n *Namespace) packet(event string, args []any) (*adapter.Packet, error) {
	if err := checkName(event); err != nil {
		return nil, err
	}
	return n.encode(event, args)
}

// encode is packet without the check of the name.
func (n *Namespace) encode(event string, args []any) (*adapter.Packet, error) {
	args, err := flatten(args)
	if err != nil {
		return nil, err
	}
	data, atts, err := n.srv.codec.AppendEvent(nil, event, args...)
	if err != nil {
		return nil, fmt.Errorf("socketio: encode event %q: %w", event, err)
	}
	return &adapter.Packet{Data: data, Attachments: ownAttachments(atts)}, nil
}

// ready reports whether the namespace has its adapter.
func (n *Namespace) ready() bool {
	select {
	case <-n.opened:
		return true
	default:
		return false
	}
}
