package core

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/sid"
)

// minSecret is the least length of Options.ClusterSecret, in bytes.
const minSecret = 16

// Forwarder lets any node take any request: it hands those of connections that live
// on other nodes to those nodes, and takes what they hand over to this one.
// *forward.Forwarder of package cluster/forward is one. The server calls Open once,
// before any other method, and Close last.
type Forwarder interface {
	// Open makes this process known to the others. ctx bounds it.
	Open(ctx context.Context, n adapter.ForwardNode) error
	// Accept is called with every request. It returns the client's request: r
	// itself, or the one inside r if a node sent it; or nil when it has refused r
	// and written the answer.
	Accept(w http.ResponseWriter, r *http.Request) *http.Request
	// Forward is called with a request of a connection that is not here, whose
	// session id has been verified. It has the owner answer and returns true, or
	// returns false with nothing written.
	Forward(w http.ResponseWriter, r *http.Request, sid string) bool
	// Drain tells the others that this process takes no new connections.
	Drain(ctx context.Context) error
	// Tunnels returns the connections of clients that go through this process to the
	// processes that own them. To close one is to end it, gently.
	Tunnels() []io.Closer
	// Close makes this process unknown, cuts what is still being forwarded and waits
	// for its goroutines.
	Close(ctx context.Context) error
}

// checkForwarding checks that what forwarding needs is there as a whole.
func (o *Options) checkForwarding() error {
	if n := len(o.ClusterSecret); n > 0 && n < minSecret {
		return fmt.Errorf("socketio: options: ClusterSecret has %d bytes, want at least %d", n, minSecret)
	}
	if o.ClusterSecret != "" && o.GenerateID != nil {
		return errors.New("socketio: options: ClusterSecret and GenerateID exclude each other")
	}
	switch {
	case o.Forwarder == nil && o.AdvertiseURL == "":
		return nil
	case o.Forwarder == nil:
		return errors.New("socketio: options: AdvertiseURL needs Forwarder: forward.New(nil) of github.com/socketfleet/socketfleet/cluster/forward")
	case o.ClusterSecret == "":
		return errors.New("socketio: options: Forwarder needs ClusterSecret")
	case o.AdvertiseURL == "":
		return errors.New("socketio: options: Forwarder needs AdvertiseURL")
	}
	return checkAdvertiseURL(o.AdvertiseURL)
}

func checkAdvertiseURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" ||
		u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New(`socketio: options: AdvertiseURL: want a scheme, a host and a port, such as "http://10.0.0.5:3000"`)
	}
	return nil
}

// startForwarding makes the server known to other nodes.
func (srv *Server) startForwarding(ctx context.Context, signer *sid.Signer) error {
	o := &srv.opts
	if o.Forwarder == nil {
		return nil
	}
	limits := srv.engine.Limits()
	err := o.Forwarder.Open(ctx, adapter.ForwardNode{
		Owner:        signer.Owner(),
		Secret:       o.ClusterSecret,
		URL:          o.AdvertiseURL,
		Provider:     srv.provider,
		MaxPayload:   limits.MaxPayload,
		BodyTimeout:  limits.BodyTimeout,
		PollTimeout:  limits.PollTimeout,
		WriteTimeout: limits.WriteTimeout,
		Logger:       srv.log,
	})
	if err != nil {
		return fmt.Errorf("socketio: start forwarding: %w", err)
	}
	return nil
}

// drainForwarder tells the other nodes. That they do not hear it is no reason to
// stay.
func (srv *Server) drainForwarder(ctx context.Context) {
	if srv.opts.Forwarder == nil {
		return
	}
	if err := srv.opts.Forwarder.Drain(ctx); err != nil {
		srv.log.LogAttrs(ctx, slog.LevelWarn, "socketio: other nodes were not told that this one drains",
			slog.String("event", "forward.drain_failed"), slog.Any("error", err))
	}
}

// tunnels returns the connections that go through this node to other nodes.
func (srv *Server) tunnels() []io.Closer {
	if srv.opts.Forwarder == nil {
		return nil
	}
	return srv.opts.Forwarder.Tunnels()
}

func (srv *Server) closeForwarder(ctx context.Context) error {
	if srv.opts.Forwarder == nil {
		return nil
	}
	return srv.opts.Forwarder.Close(ctx)
}
