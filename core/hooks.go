package core

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

type (
	middlewareFunc = func(ctx context.Context, s *Socket) error
	connectFunc    = func(ctx context.Context, s *Socket) error
	disconnectFunc = func(ctx context.Context, s *Socket, r DisconnectReason)
	anyFunc        = func(ctx context.Context, s *Socket, e *Event)
	outgoingFunc   = func(o Outgoing)
	roomFunc       = func(e RoomEvent)
	expireFunc     = func(ctx context.Context, s *Socket) (time.Time, error)
	serverFunc     = func(ctx context.Context, e *ServerEvent) error
)

// route is one registered handler; its address tells it from others.
type route struct{ fn EventHandler }

type serverRoute struct{ fn serverFunc }

// hooks is what user code registered on a namespace, a family or a socket.
// Readers take a snapshot without a lock; registration copies it.
type hooks struct {
	mu    sync.Mutex // serializes registration
	table atomic.Pointer[hookTable]
}

// hookTable is immutable once it has been stored.
type hookTable struct {
	middleware    []middlewareFunc
	connect       []connectFunc
	disconnecting []disconnectFunc
	disconnect    []disconnectFunc
	any           []anyFunc
	outgoing      []outgoingFunc
	rooms         []roomFunc
	expire        []expireFunc
	updates       []updateFunc
	sent          []sentFunc
	describe      []describeFunc
	events        map[string][]*route
	server        map[string][]*serverRoute
	wrap          func(EventHandler) EventHandler // all event middlewares, outermost first
}

var noHooks hookTable

func (h *hooks) load() *hookTable {
	if t := h.table.Load(); t != nil {
		return t
	}
	return &noHooks
}

// change stores a changed copy of the table. change must replace slices and maps
// rather than write into them.
func (h *hooks) change(change func(t *hookTable)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := *h.load()
	change(&t)
	h.table.Store(&t)
}

// added returns a copy of list with items behind it.
func added[T any](list []T, items ...T) []T { return append(slices.Clip(list), items...) }

// listen adds a route and returns the function that removes it.
func (h *hooks) listen(event string, fn EventHandler) (cancel func()) {
	if err := checkName(event); err != nil {
		panic(err)
	}
	r := &route{fn}
	h.change(func(t *hookTable) { t.events = withRoute(t.events, event, r) })
	return func() {
		h.change(func(t *hookTable) { t.events = withoutRoute(t.events, event, r) })
	}
}

func withRoute[R any](m map[string][]*R, event string, r *R) map[string][]*R {
	out := make(map[string][]*R, len(m)+1)
	for name, routes := range m {
		out[name] = routes
	}
	out[event] = added(out[event], r)
	return out
}

func withoutRoute[R any](m map[string][]*R, event string, r *R) map[string][]*R {
	out := make(map[string][]*R, len(m))
	for name, routes := range m {
		if name == event {
			routes = slices.DeleteFunc(slices.Clone(routes), func(x *R) bool { return x == r })
		}
		if len(routes) > 0 {
			out[name] = routes
		}
	}
	return out
}
