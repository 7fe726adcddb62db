package webtransport

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	wt "github.com/quic-go/webtransport-go"

	"github.com/socketfleet/socketfleet/core"
)

const defaultHandshakeTimeout = 10 * time.Second

// Options configure a Server.
type Options struct {
	// Addr is the UDP address of ListenAndServe, as "host:port"; default ":443".
	Addr string
	// TLSConfig has the certificate; it is required. Its ALPN protocols are replaced.
	TLSConfig *tls.Config
	// QUICConfig replaces the defaults of QUIC; nil and zero fields mean those of this
	// package: 4 streams, 8 unidirectional ones, at most 1 MiB on its way in per
	// stream and 1.5 MiB per connection, and a keep-alive every 15 s (negative: none).
	QUICConfig *quic.Config
	// HandshakeTimeout bounds the time that a connection may be without a session,
	// before the first and after the last; default 10 s, negative is no bound. A session
	// then has core.Options.UpgradeTimeout for its first packet.
	HandshakeTimeout time.Duration
}

// Server is an HTTP/3 server that serves nothing but the WebTransport sessions of a
// core.Server.
type Server struct {
	// Immutable after NewServer.
	core    *core.Server
	wt      *wt.Server
	addr    string
	path    string // without a slash at the end
	timeout time.Duration

	wg sync.WaitGroup // goroutines of sessions

	mu     sync.Mutex // guards the following
	closed bool
	detach func() // nil until Serve
}

// NewServer returns a server for the clients of srv. It fails without a certificate.
func NewServer(srv *core.Server, opts *Options) (*Server, error) {
	if opts == nil {
		opts = &Options{}
	}
	if opts.TLSConfig == nil {
		return nil, errors.New("socketio: webtransport: no TLSConfig")
	}
	s := &Server{
		core:    srv,
		addr:    cmp.Or(opts.Addr, ":443"),
		path:    strings.TrimSuffix(srv.Path(), "/"),
		timeout: cmp.Or(opts.HandshakeTimeout, defaultHandshakeTimeout),
	}
	if s.timeout < 0 {
		s.timeout = math.MaxInt64
	}
	s.wt = &wt.Server{
		H3: &http3.Server{
			TLSConfig:      http3.ConfigureTLSConfig(opts.TLSConfig),
			QUICConfig:     quicConfig(opts.QUICConfig),
			Handler:        http.HandlerFunc(s.serveHTTP),
			MaxHeaderBytes: 32 << 10,
			ConnContext:    s.connContext,
		},
		CheckOrigin: func(*http.Request) bool { return true }, // core has decided
	}
	return s, nil
}

// quicConfig fills in what c leaves open.
func quicConfig(c *quic.Config) *quic.Config {
	if c == nil {
		c = new(quic.Config)
	}
	c = c.Clone()
	// A session takes two streams, and HTTP/3 three unidirectional ones.
	c.MaxIncomingStreams = cmp.Or(c.MaxIncomingStreams, 4)
	c.MaxIncomingUniStreams = cmp.Or(c.MaxIncomingUniStreams, 8)
	// What a client may send while nobody reads.
	c.InitialStreamReceiveWindow = cmp.Or(c.InitialStreamReceiveWindow, 64<<10)
	c.MaxStreamReceiveWindow = cmp.Or(c.MaxStreamReceiveWindow, 1<<20)
	c.InitialConnectionReceiveWindow = cmp.Or(c.InitialConnectionReceiveWindow, 96<<10)
	c.MaxConnectionReceiveWindow = cmp.Or(c.MaxConnectionReceiveWindow, 3<<19)
	// Pings of Engine.IO may be further apart than the idle timeout of a browser.
	c.KeepAlivePeriod = max(cmp.Or(c.KeepAlivePeriod, 15*time.Second), 0)
	return c
}

// ListenAndServe listens on Options.Addr and serves until Close, after which it
// returns http.ErrServerClosed.
func (s *Server) ListenAndServe() error {
	addr, err := net.ResolveUDPAddr("udp", s.addr)
	if err != nil {
		return fmt.Errorf("socketio: webtransport: listen: %w", err)
	}
	conn, err := net.ListenUDP("udp", addr)
	if err != nil {
		return fmt.Errorf("socketio: webtransport: listen: %w", err)
	}
	defer conn.Close()
	return s.Serve(conn)
}

// Serve serves on a UDP socket, which stays the caller's, until Close, after which
// it returns http.ErrServerClosed. Meanwhile clients that poll are told of it.
func (s *Server) Serve(conn net.PacketConn) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return http.ErrServerClosed
	}
	if s.detach == nil {
		s.detach = s.core.AttachStreams()
	}
	s.mu.Unlock()
	err := s.wt.Serve(conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return http.ErrServerClosed
	}
	return fmt.Errorf("socketio: webtransport: serve: %w", err)
}

// Close ends all connections and waits for their goroutines. For an orderly end,
// shut the core.Server down first.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	if s.detach != nil {
		s.detach()
	}
	s.mu.Unlock()
	err := s.wt.Close()
	s.wg.Wait()
	if err != nil {
		return fmt.Errorf("socketio: webtransport: close: %w", err)
	}
	return nil
}

// serveHTTP answers a request. Those for anything but a session are told so.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.TrimSuffix(r.URL.Path, "/") != s.path:
		http.NotFound(w, r)
	case r.Method != http.MethodConnect:
		w.Header().Set("Allow", http.MethodConnect)
		w.WriteHeader(http.StatusMethodNotAllowed)
	default:
		r.RequestURI = r.URL.RequestURI() // HTTP/3 takes that of CONNECT to be a host
		// accept takes this w, because middleware may wrap what it passes on.
		s.core.ServeStream(w, r, func(ctx context.Context) (core.Stream, error) {
			return s.accept(ctx, w, r)
		})
	}
}

// accept makes the request a session and waits for its first stream.
func (s *Server) accept(ctx context.Context, w http.ResponseWriter, r *http.Request) (core.Stream, error) {
	sess, err := s.wt.Upgrade(w, r)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return nil, fmt.Errorf("socketio: webtransport: upgrade: %w", err)
	}
	guardOf(r).enter(sess.Context())
	first, err := sess.AcceptStream(ctx)
	if err != nil {
		_ = sess.CloseWithError(0, "no stream")
		return nil, fmt.Errorf("socketio: webtransport: first stream: %w", err)
	}
	s.wg.Go(func() { refuseStreams(sess) })
	s.wg.Go(func() { refuseUniStreams(sess) })
	return &stream{Stream: first, sess: sess}, nil
}

// refused is the code with which streams are refused; the client cannot act on it.
const refused wt.StreamErrorCode = 0

func refuseStreams(sess *wt.Session) {
	for {
		st, err := sess.AcceptStream(context.Background()) // ends with the session
		if err != nil {
			return
		}
		st.CancelRead(refused)
		st.CancelWrite(refused)
	}
}

func refuseUniStreams(sess *wt.Session) {
	for {
		st, err := sess.AcceptUniStream(context.Background()) // ends with the session
		if err != nil {
			return
		}
		st.CancelRead(refused)
	}
}
