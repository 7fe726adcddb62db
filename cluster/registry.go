package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"
)

// ErrNodeUnknown is what Registry.Lookup returns for a node that is not there.
var ErrNodeUnknown = errors.New("socketio: node unknown")

// Node is what a Registry knows about one running process.
type Node struct {
	// ID is the process's name: its node id, a dot, and an epoch that tells it from
	// earlier processes of the same name.
	ID string `json:"-"`
	// URL is where other nodes reach it: scheme, host and port.
	URL string `json:"url"`
	// Started is when it was first announced.
	Started time.Time `json:"started"`
	// Draining says that it takes no new sessions. Those it has are still its own.
	Draining bool `json:"draining,omitempty"`
}

// Registry tells where the nodes of a deployment are reached. A node that is
// neither announced again nor withdrawn is forgotten when its lease ends. It is safe
// for concurrent use.
type Registry interface {
	// Announce makes n known for the time of lease, in place of what was known of
	// the same ID.
	Announce(ctx context.Context, n Node, lease time.Duration) error
	// Lookup returns the node with an ID, or ErrNodeUnknown. Any other error says
	// nothing about the node.
	Lookup(ctx context.Context, id string) (Node, error)
	// Withdraw makes a node unknown. One that is not there is no error.
	Withdraw(ctx context.Context, id string) error
}

// RegistryHolder is implemented by a Bus, and by the Provider on top of it, whose
// backend can also keep a Registry.
type RegistryHolder interface {
	// Registry returns nil when there is none.
	Registry() Registry
}

var _ RegistryHolder = (*Provider)(nil)

// Registry implements RegistryHolder for buses that do.
func (p *Provider) Registry() Registry {
	if h, ok := p.bus.(RegistryHolder); ok {
		return h.Registry()
	}
	return nil
}

// StaticRegistry returns a Registry of nodes whose addresses never change: a URL by
// node id, the Options.NodeID of package core. Announce fails for a node it does not
// list, with another URL than the listed one too.
func StaticRegistry(urls map[string]string) Registry { return staticRegistry(maps.Clone(urls)) }

type staticRegistry map[string]string

func (s staticRegistry) Announce(_ context.Context, n Node, _ time.Duration) error {
	listed, err := s.Lookup(context.Background(), n.ID)
	if err == nil && strings.TrimSuffix(listed.URL, "/") != strings.TrimSuffix(n.URL, "/") {
		err = fmt.Errorf("it is at %s, and announced at %s", listed.URL, n.URL)
	}
	if err != nil {
		return fmt.Errorf("socketio: static registry: node %q: %w", n.ID, err)
	}
	return nil
}

func (s staticRegistry) Lookup(_ context.Context, id string) (Node, error) {
	name, _, _ := strings.Cut(id, ".")
	if url, ok := s[name]; ok {
		return Node{ID: id, URL: url}, nil
	}
	return Node{}, ErrNodeUnknown
}

func (staticRegistry) Withdraw(context.Context, string) error { return nil }

// memoryRegistry is the Registry of a Loopback.
type memoryRegistry struct {
	mu    sync.Mutex // guards nodes; leaf lock
	nodes map[string]leased
}

type leased struct {
	node  Node
	until time.Time
}

func (m *memoryRegistry) Announce(_ context.Context, n Node, lease time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.nodes == nil {
		m.nodes = make(map[string]leased)
	}
	m.nodes[n.ID] = leased{n, time.Now().Add(lease)}
	return nil
}

func (m *memoryRegistry) Lookup(_ context.Context, id string) (Node, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l, ok := m.nodes[id]; ok && time.Now().Before(l.until) {
		return l.node, nil
	}
	return Node{}, ErrNodeUnknown
}

func (m *memoryRegistry) Withdraw(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.nodes, id)
	return nil
}
