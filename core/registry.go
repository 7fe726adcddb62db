package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/socketfleet/socketfleet/adapter/memory"
)

// openTimeout bounds the opening of a namespace's adapter.
const openTimeout = 5 * time.Second

// maxNamespaceName is the longest name a client may ask for, in bytes.
const maxNamespaceName = 256

// errInvalidNamespace is in the words clients know from the reference.
//
//lint:ignore ST1005 the text is part of the wire
var errInvalidNamespace = errors.New("Invalid namespace")

var (
	errTooManyNamespaces = errors.New("too many namespaces")
	errUnavailable       = errors.New("namespace unavailable")
)

// Of returns the namespace of the given name and makes it if needed; a leading
// "/" may be left out. Making one reaches out to the adapter, for at most 5
// seconds; when that fails the failure is logged and clients of the namespace are
// refused.
func (srv *Server) Of(name string) *Namespace {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	for {
		srv.mu.Lock()
		n, exists := srv.namespaces[name]
		if !exists {
			n = srv.addLocked(name, srv.patternLocked(name))
		}
		if closing := n.closing; closing != nil {
			srv.mu.Unlock()
			<-closing
			continue
		}
		n.refs++ // never released: a namespace the program holds is not cleaned up
		srv.mu.Unlock()
		if !exists {
			ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
			defer cancel()
			n.open(ctx)
		}
		<-n.opened
		return n
	}
}

// patternLocked returns the first family made with OfPattern that accepts name.
func (srv *Server) patternLocked(name string) *NamespaceFamily {
	for _, f := range srv.families {
		if f.pattern != nil && f.pattern.MatchString(name) {
			return f
		}
	}
	return nil
}

// addLocked registers a namespace whose adapter is still to be opened.
func (srv *Server) addLocked(name string, f *NamespaceFamily) *Namespace {
	n := &Namespace{srv: srv, name: name, family: f, opened: make(chan struct{}), sockets: make(map[string]*Socket)}
	n.group = srv.groupLocked(n.groupName())
	srv.namespaces[name] = n
	return n
}

// open gets the namespace its adapter.
func (n *Namespace) open(ctx context.Context) {
	defer close(n.opened)
	h := &host{n}
	n.adapter, n.openErr = n.srv.provider.Open(ctx, h)
	if n.openErr != nil {
		n.srv.log.Error("socketio: cannot open the adapter", "event", "adapter.open_failed", "namespace", n.name, "error", n.openErr)
		n.adapter = memory.New(h, memory.Options{})
	}
}

// acquire returns a namespace that exists, holding a reference.
func (srv *Server) acquire(name string) (*Namespace, bool) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	n, ok := srv.namespaces[name]
	if !ok || n.closing != nil || !n.ready() || n.openErr != nil {
		return nil, false
	}
	n.refs++
	return n, true
}

// acquireDynamic returns the namespace of the given name, made for the first
// family that accepts it, holding a reference. It may run user code and wait for
// the adapter.
func (srv *Server) acquireDynamic(ctx context.Context, name string, auth json.RawMessage) (*Namespace, error) {
	if !validName(name) {
		return nil, errInvalidNamespace
	}
	var f *NamespaceFamily
	for {
		srv.mu.Lock()
		n, exists := srv.namespaces[name]
		switch {
		case exists && n.closing != nil:
			closing := n.closing
			srv.mu.Unlock()
			<-closing
			continue
		case exists:
			n.refs++
			srv.mu.Unlock()
			return n.await()
		case f == nil:
			srv.mu.Unlock()
			if f = srv.familyOf(ctx, name, auth); f == nil {
				return nil, errInvalidNamespace
			}
			continue
		case srv.closed || exceeds(srv.dynamic+1, srv.opts.MaxDynamicNamespaces):
			srv.mu.Unlock()
			srv.stats.limit("dynamic_namespaces")
			return nil, errTooManyNamespaces
		}
		n = srv.addLocked(name, f)
		n.dynamic = true
		n.refs++
		srv.dynamic++
		srv.mu.Unlock()
		octx, cancel := context.WithTimeout(ctx, openTimeout)
		defer cancel()
		n.open(octx)
		return n.await()
	}
}

// await waits for the namespace's adapter; on failure the reference is returned.
func (n *Namespace) await() (*Namespace, error) {
	<-n.opened
	if n.openErr != nil {
		n.release()
		return nil, errUnavailable
	}
	return n, nil
}

// familyOf asks the families for one that accepts name.
func (srv *Server) familyOf(ctx context.Context, name string, auth json.RawMessage) *NamespaceFamily {
	srv.mu.Lock()
	families := srv.families
	srv.mu.Unlock()
	for _, f := range families {
		accepted := false
		err := guard(func() error { accepted = f.match(ctx, name, auth); return nil })
		if err != nil {
			srv.failed("OfFunc", srv.Namespace, err)
		}
		if accepted {
			return f
		}
	}
	return nil
}

// release returns a reference. An empty dynamic namespace is removed where the
// options say so, or when it never had an adapter or a socket.
func (n *Namespace) release() {
	srv := n.srv
	srv.mu.Lock()
	defer srv.mu.Unlock()
	n.refs--
	n.collectLocked()
}

// collectLocked removes the namespace, under Server.mu, if it is to be removed.
func (n *Namespace) collectLocked() {
	srv := n.srv
	if n.refs > 0 || !n.dynamic || n.closing != nil || srv.closed {
		return
	}
	// Clients that are refused everywhere must not use up MaxDynamicNamespaces.
	keeps := n.openErr == nil && n.used.Load()
	if keeps && (!srv.opts.CleanupEmptyNamespaces || n.savedSessions() > 0) {
		return
	}
	n.closing = make(chan struct{})
	srv.work.Add(1)
	go func() {
		defer srv.work.Done()
		ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
		defer cancel()
		if err := n.adapter.Close(ctx); err != nil {
			srv.log.Warn("socketio: cannot close the adapter", "event", "adapter.close_failed", "namespace", n.name, "error", err)
		}
		srv.mu.Lock()
		delete(srv.namespaces, n.name)
		srv.dynamic--
		srv.mu.Unlock()
		close(n.closing)
	}()
}

// validName reports whether a client may ask for a namespace of this name.
func validName(name string) bool {
	if len(name) > maxNamespaceName || !strings.HasPrefix(name, "/") {
		return false
	}
	for _, c := range []byte(name) {
		if c < 0x20 || c == 0x7f {
			return false
		}
	}
	return true
}

// closeAdapters closes every namespace's adapter, then the provider.
func (srv *Server) closeAdapters(ctx context.Context) error {
	srv.mu.Lock()
	var all []*Namespace
	for _, n := range srv.namespaces {
		if n.closing == nil {
			all = append(all, n)
		}
	}
	srv.mu.Unlock()
	var errs []error
	for _, n := range all {
		<-n.opened
		if err := n.adapter.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("socketio: close adapter of %s: %w", n.name, err))
		}
	}
	if err := srv.provider.Close(ctx); err != nil {
		errs = append(errs, fmt.Errorf("socketio: close adapter: %w", err))
	}
	return errors.Join(errs...)
}
