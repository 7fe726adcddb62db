package core

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/socketfleet/socketfleet/internal/engineio"
)

// Stream is a reliable byte stream to and from one client, for transports that
// net/http does not serve; package webtransport is one. Read and Write are called by
// one goroutine each, the other methods by any.
type Stream interface {
	io.Reader
	io.Writer
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	// CloseWrite ends the writing; what has been written is still delivered.
	CloseWrite() error
	// Close ends the stream and all that carries it, and frees who is blocked in
	// Read or Write. It returns soon, even when the peer takes nothing more, and may
	// be called more than once.
	Close(reason string) error
}

// ServeStream serves a CONNECT request that asks for a stream instead of a response.
// Options.Use, Origins, AllowRequest and the limits of handshakes apply to it, and a
// refusal is answered as that of any handshake. Otherwise accept is called, at most
// once: it answers with success and returns the first stream that the client opens,
// within its context; when it fails, it has answered and cleaned up. ServeStream
// returns when the client has a session or has been turned away, which takes
// Options.UpgradeTimeout at the most; the session lives on.
func (srv *Server) ServeStream(w http.ResponseWriter, r *http.Request, accept func(ctx context.Context) (Stream, error)) {
	srv.engine.ServeStream(w, r, func(ctx context.Context) (engineio.Stream, error) {
		st, err := accept(ctx)
		if err != nil {
			return nil, err
		}
		return st, nil
	})
}

// AttachStreams makes the server tell clients that poll about WebTransport, where
// Options.Transports lists it, until the returned function is called.
func (srv *Server) AttachStreams() (detach func()) { return srv.engine.AttachStreams() }

// Path returns the path at which the server is to be mounted, from Options.Path.
func (srv *Server) Path() string { return srv.engine.Path() }
