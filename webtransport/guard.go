package webtransport

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// guard ends a QUIC connection that has no session, whatever else its client does:
// it may send pings, or a request that never ends.
type guard struct {
	conn    *quic.Conn
	timeout time.Duration

	mu       sync.Mutex // guards the following; leaf lock
	sessions int
	timer    *time.Timer
}

type guardKey struct{}

// connContext is called for every connection.
func (s *Server) connContext(ctx context.Context, conn *quic.Conn) context.Context {
	g := &guard{conn: conn, timeout: s.timeout}
	g.timer = time.AfterFunc(s.timeout, func() {
		if g.idle() {
			_ = conn.CloseWithError(0, "no session")
		}
	})
	context.AfterFunc(conn.Context(), func() { g.timer.Stop() })
	return context.WithValue(ctx, guardKey{}, g)
}

// guardOf returns the guard of the request's connection.
func guardOf(r *http.Request) *guard {
	return r.Context().Value(guardKey{}).(*guard) // connContext has put it there
}

func (g *guard) idle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sessions == 0
}

// enter counts a session until its context is done.
func (g *guard) enter(ctx context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sessions++
	g.timer.Stop()
	context.AfterFunc(ctx, g.leave)
}

func (g *guard) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sessions--; g.sessions == 0 && g.conn.Context().Err() == nil {
		g.timer.Reset(g.timeout)
	}
}
