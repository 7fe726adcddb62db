package admin

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/socketfleet/socketfleet/core"
)

// Admin is the server's side of the UI. Its methods are safe for concurrent use.
type Admin struct {
	// Immutable after Instrument.
	opts    Options
	log     *slog.Logger
	srv     *core.Server
	nsp     *core.Namespace
	start   time.Time
	limit   *limiter
	hashing chan struct{} // holds an element while a password is compared
	logins  sync.Map      // *core.Socket -> id of the session to tell it
	closed  atomic.Bool
	done    chan struct{} // closed by Close
	ended   chan struct{} // closed when the reporting goroutine has returned

	// Owned by the reporting goroutine.
	traffic traffic
}

// Instrument lets the UI connect to srv, and this node report to it. It fails when
// an option is wrong. Call it once for each server, before clients connect: sockets
// that are there already are shown only to those who log in later.
func Instrument(srv *core.Server, opts *Options) (*Admin, error) {
	o, err := opts.withDefaults(srv)
	if err != nil {
		return nil, err
	}
	a := &Admin{
		opts:    o,
		log:     o.Logger,
		srv:     srv,
		nsp:     srv.Of(o.Namespace),
		start:   time.Now(),
		limit:   &limiter{max: o.LoginAttempts},
		hashing: make(chan struct{}, 1),
		done:    make(chan struct{}),
		ended:   make(chan struct{}),
	}
	a.nsp.Use(a.admit)
	a.nsp.OnConnect(a.greet)
	if o.Writable {
		a.obey()
	}
	if o.Development {
		a.watch()
	}
	go a.report()
	return a, nil
}

// Close ends the reports of this node. Who is logged in stays connected. It returns
// when the reporting has ended, and always nil.
func (a *Admin) Close() error {
	if !a.closed.Swap(true) {
		close(a.done)
	}
	<-a.ended
	return nil
}

// config is the argument of the event of that name.
type config struct {
	SupportedFeatures []string `json:"supportedFeatures"`
}

func (a *Admin) features() []string {
	var out []string
	if a.opts.Writable {
		out = append(out, "EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT")
	}
	out = append(out, "AGGREGATED_EVENTS")
	if a.opts.Development {
		out = append(out, "ALL_EVENTS")
	}
	return out
}

// greet tells a UI that has connected what there is.
func (a *Admin) greet(ctx context.Context, s *core.Socket) error {
	if id, ok := a.logins.LoadAndDelete(s); ok {
		if err := s.Emit("session", id); err != nil {
			return err
		}
	}
	if err := s.Emit("config", config{a.features()}); err != nil {
		return err
	}
	if !a.opts.Development {
		return nil
	}
	return s.Emit("all_sockets", a.allSockets(ctx))
}

// emit sends an event to the UIs connected to any node.
func (a *Admin) emit(event string, args ...any) error {
	if a.closed.Load() {
		return core.ErrClosed
	}
	err := a.nsp.Emit(event, args...)
	if err != nil {
		a.log.Debug("socketio: admin: event not sent", "name", event, "error", err)
	}
	return err
}
