package core

import (
	"context"
	"encoding/json"
	"regexp"
)

// NamespaceFamily is the set of namespaces whose names one function accepts. The
// namespaces are made when a client asks for them; what is registered on the
// family holds for all of them.
type NamespaceFamily struct {
	hooks // run ahead of the namespaces' own

	srv   *Server
	match func(ctx context.Context, name string, auth json.RawMessage) bool
	// pattern is set by OfPattern; Of adopts it, as in the reference.
	pattern *regexp.Regexp
}

// OfFunc returns the family of the namespaces that match accepts, given the name
// and the payload of the client's CONNECT packet. Families are asked in the order
// they were made, and only for names no namespace has.
func (srv *Server) OfFunc(match func(ctx context.Context, name string, auth json.RawMessage) bool) *NamespaceFamily {
	return srv.addFamily(&NamespaceFamily{srv: srv, match: match})
}

// OfPattern returns the family of the namespaces whose name the pattern accepts;
// anchor it with ^ and $. Namespaces of such names that Of makes belong to it too.
func (srv *Server) OfPattern(pattern *regexp.Regexp) *NamespaceFamily {
	match := func(_ context.Context, name string, _ json.RawMessage) bool { return pattern.MatchString(name) }
	return srv.addFamily(&NamespaceFamily{srv: srv, match: match, pattern: pattern})
}

func (srv *Server) addFamily(f *NamespaceFamily) *NamespaceFamily {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.families = added(srv.families, f)
	return f
}

// Namespaces returns the namespaces of the family that exist on this node.
func (f *NamespaceFamily) Namespaces() []*Namespace {
	f.srv.mu.Lock()
	defer f.srv.mu.Unlock()
	var out []*Namespace
	for _, n := range f.srv.namespaces {
		if (n.family == f || f == &f.srv.every) && n.ready() {
			out = append(out, n)
		}
	}
	return out
}

// Emit sends an event to all sockets of all the family's namespaces.
func (f *NamespaceFamily) Emit(event string, args ...any) error {
	for _, n := range f.Namespaces() {
		if err := n.Emit(event, args...); err != nil {
			return err
		}
	}
	return nil
}
