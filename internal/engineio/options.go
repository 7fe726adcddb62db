package engineio

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"github.com/socketfleet/socketfleet/internal/sid"
)

// Transport names, as they appear in queries.
const (
	Polling      = "polling"
	WebSocket    = "websocket"
	WebTransport = "webtransport"
)

// Options configure a Server. The zero value means the reference's defaults; a
// negative duration or size disables what it bounds.
type Options struct {
	// Path is where the server is mounted; default "/socket.io/". The server does
	// not route: it answers whatever the mux hands it. Server.Path returns the
	// normalized form for the mux.
	Path string
	// NoTrailingSlash leaves the slash at the end of Path away.
	NoTrailingSlash bool

	// PingInterval is the time from one pong to the next ping; default 25 s.
	PingInterval time.Duration
	// PingTimeout is how long a pong may take; default 20 s.
	PingTimeout time.Duration
	// NoPingJitter sends the first ping after exactly PingInterval. Otherwise, where
	// PingInterval is 10 s or more, it leaves after a random half to whole interval,
	// so that clients that connected together do not stay in step.
	NoPingJitter bool
	// UpgradeTimeout bounds the probing of a new transport; default 10 s.
	UpgradeTimeout time.Duration
	// WriteTimeout bounds one write of at most 64 KiB; default 10 s.
	WriteTimeout time.Duration
	// CloseTimeout bounds how long a closing session waits for its client: for the
	// next poll, or for the answer to a close frame; default 30 s.
	CloseTimeout time.Duration
	// BodyTimeout bounds the reading of a POST body and of a WebSocket message that
	// has begun; default 30 s.
	BodyTimeout time.Duration

	// MaxPayload is the size limit in bytes of a POST body, of a WebSocket message,
	// and of what one poll returns (unless one message alone is larger); default 1e6.
	MaxPayload int64
	// MaxPacketsPerPayload is how many packets a POST body may hold; default 1000.
	MaxPacketsPerPayload int
	// MaxQueueBytes is how much may wait for one client; default 1 MiB. A client
	// that falls further behind is disconnected.
	MaxQueueBytes int
	// MaxQueuePackets is how many messages may wait for one client; default 16384.
	MaxQueuePackets int
	// MaxTotalQueueBytes is how much may wait for all clients together, where every
	// queue counts a message that many share; default a quarter of the runtime's
	// memory limit (GOMEMLIMIT), or 512 MiB. Beyond it, those that fell behind
	// furthest are disconnected until nine tenths are left.
	MaxTotalQueueBytes int64
	// OnSlow, when not nil, decides about a client whose queue has reached a bound;
	// false disconnects it. It is called on a goroutine of its own, at most once
	// until the queue has fallen to half its bound. Meanwhile, and if the client is
	// kept, the queue may grow to twice its bound, where the client is disconnected
	// without a question.
	OnSlow func(r Receiver, slow Slow) (keep bool)
	// HighWaterBytes is how much may wait before volatile messages are dropped;
	// default 64 KiB.
	HighWaterBytes int
	// MaxConnections bounds the number of sessions; zero is no bound. Beyond it
	// handshakes are answered 503.
	MaxConnections int

	// HandshakeRate bounds the handshakes per second of the server, with bursts of
	// HandshakeBurst; zero is no bound. Beyond it they are answered 503. The burst
	// is two seconds' worth by default.
	HandshakeRate, HandshakeBurst int
	// MaxConnectionsPerAddress bounds the sessions of one client address, and
	// AddressHandshakeRate and AddressHandshakeBurst its handshakes; zero is no
	// bound. Beyond them handshakes are answered 429. An address is what
	// TrustedProxies say it is; of an IPv6 address the first 64 bits count. The burst
	// is five seconds' worth by default.
	MaxConnectionsPerAddress                    int
	AddressHandshakeRate, AddressHandshakeBurst int
	// UnknownSessionRate bounds the requests per second of one client address that
	// name no session of this server, with bursts of five seconds' worth; zero is no
	// bound. Beyond it they are answered 429, and not offered to Foreign.
	UnknownSessionRate int
	// SessionRequestRate bounds the polling requests per second of one session, with
	// bursts of two seconds' worth; zero is no bound. Beyond it the session is closed.
	SessionRequestRate int

	// Transports lists what clients may use; default polling and websocket.
	// WebTransport needs a server that calls ServeStream.
	Transports []string
	// AllowEIO3 accepts clients of protocol revision 3 too: those of Socket.IO 2.x.
	AllowEIO3 bool
	// DisableUpgrades advertises no upgrade to clients that poll.
	DisableUpgrades bool

	// Origins are the origins, besides the server's own, whose pages may connect,
	// as "https://app.example.com". "*" allows all. A list switches on CORS response
	// headers and preflight answers. Requests without an Origin header pass,
	// except for JSONP, where Sec-Fetch-Site or Referer has to vouch for the page.
	Origins []string
	// AllowCredentials adds Access-Control-Allow-Credentials for listed origins; it
	// has no effect on those that only "*" allows.
	AllowCredentials bool
	// TrustedProxies are the peers whose X-Forwarded-For, X-Forwarded-Host and
	// X-Forwarded-Proto headers count.
	TrustedProxies []netip.Prefix
	// AllowRequest decides about a handshake: an error refuses it with code 4 and
	// the error's text. Requests of an existing session are not asked again.
	AllowRequest func(r *http.Request) error
	// GenerateID makes session ids; default sid.Engine(NodeID).
	GenerateID func(r *http.Request) (string, error)
	// NodeID stands in front of generated session ids: at most 43 letters, digits,
	// '-' and '_'.
	NodeID string
	// Signer, when not nil, makes the session ids instead of NodeID and GenerateID.
	// Requests with an id that it did not sign are refused without asking Foreign.
	Signer *sid.Signer

	// Cookie is the template of a cookie that carries the session id, set on polling
	// handshakes only; nil is none. With an empty name it is the reference's: "io",
	// path "/", HttpOnly, SameSite=Lax.
	Cookie *http.Cookie
	// InitialHeaders may change the response headers of a session's first request,
	// and Headers those of every successful response, upgrades included.
	InitialHeaders, Headers func(h http.Header, r *http.Request)
	// CompressionThreshold is the size in bytes from which poll responses are
	// compressed for clients that accept it; default 1024.
	CompressionThreshold int
	// CompressionLevel is zlib's, from 1 to 9; default 1.
	CompressionLevel int
	// CompressionConcurrency bounds how many responses are compressed at a time;
	// default GOMAXPROCS. It bounds memory: a compressor takes up to 1.2 MB.
	CompressionConcurrency int

	// Deflate compresses WebSocket messages for clients that support it; nil is off.
	Deflate *DeflateOptions

	// Files, when not nil, is called with every request that is no preflight. It
	// returns true when it has answered.
	Files func(w http.ResponseWriter, r *http.Request) bool
	// Use wraps what serves requests, WebSocket upgrades included; the first is the
	// outermost. CORS is answered before. For upgrades the ResponseWriter that a
	// middleware passes on must be hijackable, if only through an Unwrap method.
	Use []func(http.Handler) http.Handler

	// OnConnectionError hears of every refused request. It must not block.
	OnConnectionError func(e *ConnectionError)
	// Foreign may answer a request whose well-formed session id is not known here,
	// by forwarding it to the node that owns it; false leaves it to be refused.
	Foreign func(w http.ResponseWriter, r *http.Request, sid string) bool

	// Logger defaults to slog.Default.
	Logger *slog.Logger
}

// withDefaults checks o and fills in what is missing. In the result zero means
// disabled.
func (o Options) withDefaults() (Options, error) {
	o.Path = normalizePath(o.Path, o.NoTrailingSlash)
	setDefault(&o.PingInterval, 25*time.Second)
	setDefault(&o.PingTimeout, 20*time.Second)
	setDefault(&o.UpgradeTimeout, 10*time.Second)
	setDefault(&o.WriteTimeout, 10*time.Second)
	setDefault(&o.CloseTimeout, 30*time.Second)
	setDefault(&o.BodyTimeout, 30*time.Second)
	setDefault(&o.MaxPayload, 1_000_000)
	setDefault(&o.MaxPacketsPerPayload, 1000)
	setDefault(&o.MaxQueueBytes, 1<<20)
	setDefault(&o.MaxQueuePackets, 16<<10)
	if o.MaxTotalQueueBytes == 0 {
		o.MaxTotalQueueBytes = defaultTotal()
	}
	o.MaxTotalQueueBytes = max(o.MaxTotalQueueBytes, 0)
	setDefault(&o.HandshakeBurst, 2*o.HandshakeRate)
	setDefault(&o.AddressHandshakeBurst, 5*o.AddressHandshakeRate)
	setDefault(&o.HighWaterBytes, 64<<10)
	setDefault(&o.CompressionThreshold, 1024)
	setDefault(&o.CompressionLevel, fastest)
	setDefault(&o.CompressionConcurrency, runtime.GOMAXPROCS(0))
	if o.Deflate != nil {
		deflate := *o.Deflate
		setDefault(&deflate.Threshold, 1024)
		setDefault(&deflate.Level, fastest)
		o.Deflate = &deflate
	}
	if o.Transports == nil {
		o.Transports = []string{Polling, WebSocket}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.MaxConnections < 0 {
		o.MaxConnections = 0
	}
	return o, o.check()
}

func (o *Options) check() error {
	if len(o.Transports) == 0 {
		return errors.New("engineio: options: no transport")
	}
	for _, name := range o.Transports {
		if name != Polling && name != WebSocket && name != WebTransport {
			return fmt.Errorf("engineio: options: unknown transport %q", name)
		}
	}
	if o.CompressionLevel < 1 || o.CompressionLevel > 9 {
		return errors.New("engineio: options: compression level not from 1 to 9")
	}
	if d := o.Deflate; d != nil && (d.Level < 1 || d.Level > 9) {
		return errors.New("engineio: options: deflate level not from 1 to 9")
	}
	if o.Signer != nil && o.GenerateID != nil {
		return errors.New("engineio: options: Signer and GenerateID exclude each other")
	}
	if o.NodeID != "" && !sid.ValidNode(o.NodeID) {
		return fmt.Errorf("engineio: options: node id %q: want 1 to %d letters, digits, '-' or '_'", o.NodeID, sid.MaxNode)
	}
	return nil
}

// setDefault replaces zero by def, and what is negative by zero.
func setDefault[T ~int | ~int64](v *T, def T) {
	switch {
	case *v == 0:
		*v = def
	case *v < 0:
		*v = 0
	}
}

func normalizePath(path string, noSlash bool) string {
	if path == "" {
		path = "/socket.io"
	}
	path = strings.TrimSuffix(path, "/")
	if !noSlash {
		path += "/"
	}
	return path
}
