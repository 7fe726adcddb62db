package core

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/engineio"
	"github.com/socketfleet/socketfleet/parser"
)

// Options configure a Server. The zero value of every field means its default,
// which is the reference server's where that has one; a negative duration or
// limit disables it. A nil *Options is the zero value.
type Options struct {
	// AdapterURL chooses the adapter by URL scheme: memory, and those of the
	// packages the program imports, such as redis, redis+sharded and redis+streams
	// of adapter/redis, nats and nats+jetstream of adapter/nats. The error for an
	// unknown scheme names the import line to add. "" means memory://: this node
	// alone.
	AdapterURL string
	// Adapter, when not nil, is used instead of AdapterURL. The server closes it.
	Adapter adapter.Provider

	// NodeID names this process in logs and in the first part of its Engine.IO
	// session ids, so that a load balancer can route on it: letters, digits, "_"
	// and "-", at most 32. Default: random. It is never an address.
	NodeID string

	// Path is the request path clients use. It matters only to what the server
	// says of itself; the mux decides what reaches it. Default "/socket.io/".
	Path string

	// PingInterval and PingTimeout drive the heartbeat: the server pings a client
	// every interval and waits timeout for its answer. Defaults 25 s and 20 s.
	PingInterval time.Duration
	PingTimeout  time.Duration
	// UpgradeTimeout bounds a transport upgrade. Default 10 s.
	UpgradeTimeout time.Duration
	// ConnectTimeout bounds the time a connection may stay without having joined a
	// namespace. Default 45 s.
	ConnectTimeout time.Duration
	// WriteTimeout bounds one write to a client; a client that does not take up to
	// 64 KiB within it is disconnected. Default 10 s.
	WriteTimeout time.Duration
	// CloseTimeout bounds how long a connection that this server closes waits for
	// its client: for the next poll, or for the answer to a close frame. Default
	// 30 s.
	CloseTimeout time.Duration
	// AckTimeout bounds the wait for acknowledgements where the caller's context
	// has no deadline and the wait could otherwise be endless: broadcasts and
	// sockets of other nodes. Default 30 s.
	AckTimeout time.Duration

	// Transports lists the transports clients may use: "polling", "websocket" and
	// "webtransport", for which package webtransport has a server. Default polling
	// and websocket.
	Transports []string
	// DisableUpgrades keeps polling clients on polling.
	DisableUpgrades bool
	// AllowEIO3 lets clients of Socket.IO 2.x in, as in the reference. The id of
	// such a client's socket contains the session id, which its polling requests
	// are authenticated by: who learns of the one can act in the place of the other.
	AllowEIO3 bool

	// MaxPayload bounds an incoming message and a polling request body, in bytes.
	// Clients are told. Default 1e6.
	MaxPayload int64
	// MaxAttachments bounds the binary attachments of one packet. Default 10,
	// which is also the most official clients accept.
	MaxAttachments int
	// MaxDepth bounds the nesting of arrays and objects in a packet. Default 128.
	MaxDepth int
	// MaxTokens bounds the values and object keys of one packet, however deep.
	// Default 65,536.
	MaxTokens int
	// MaxQueueBytes bounds what is queued for one client, in bytes; a client over
	// it is disconnected as a slow consumer. Default 1 MiB.
	MaxQueueBytes int
	// MaxQueuePackets bounds the packets queued for one client, likewise. Default
	// 16,384.
	MaxQueuePackets int
	// MaxTotalQueueBytes bounds what is queued for all clients together, in bytes;
	// an event for many of them counts in every queue. Beyond it the clients that
	// have fallen behind furthest are disconnected until nine tenths are left; it may
	// be exceeded for a tenth of a second. Default: a quarter of the memory limit of
	// the Go runtime (GOMEMLIMIT), or 512 MiB without one.
	MaxTotalQueueBytes int64
	// OnSlowConsumer, when not nil, is asked when a client reaches MaxQueueBytes or
	// MaxQueuePackets, instead of disconnecting it at once. It runs on a goroutine of
	// its own and is not asked again before the queue has fallen to half its bound.
	// MaxTotalQueueBytes and WriteTimeout do not ask.
	OnSlowConsumer func(c SlowConsumer) Decision
	// HighWaterBytes is how much may be queued for one client before volatile events
	// are dropped, in bytes. Default 64 KiB.
	HighWaterBytes int
	// MaxInboundBytes bounds the events of one socket that wait for their
	// handlers, in bytes; beyond it the connection is not read. While this server
	// waits for an acknowledgement on that connection reading goes on up to four
	// times as much, beyond which the client is disconnected. Default 1 MiB.
	MaxInboundBytes int
	// EventRate bounds the events one socket may send, per second on average, with
	// bursts of EventBurst. A client over it is slowed down, not disconnected: its
	// connection is not read until its next event is due. Default: no bound; the
	// default burst is five seconds' worth.
	EventRate  int
	EventBurst int
	// MaxConnections bounds the connections of this server. Default: no bound.
	MaxConnections int
	// MaxConnectionsPerAddress bounds the connections of one client address. An
	// address is what TrustedProxies say it is: behind a proxy that is not listed all
	// clients share the proxy's. Of IPv6 the first 64 bits count. Default: no bound.
	MaxConnectionsPerAddress int
	// MaxConnectionAge bounds the life of a connection, less up to a tenth at random;
	// clients then reconnect, to another node perhaps. Default: no bound.
	MaxConnectionAge time.Duration
	// HandshakeRate bounds the new connections per second on average, with bursts of
	// HandshakeBurst, by default two seconds' worth. Others are answered 503 with
	// Retry-After. Default: no bound.
	HandshakeRate  int
	HandshakeBurst int
	// AddressHandshakeRate bounds the new connections per second of one client
	// address, with bursts of AddressHandshakeBurst, by default five seconds' worth.
	// Others are answered 429 with Retry-After. Default: no bound.
	AddressHandshakeRate  int
	AddressHandshakeBurst int
	// UnknownSessionRate bounds the requests per second of one client address that
	// name a session this server does not know, with bursts of five seconds' worth.
	// Others are answered 429 and not forwarded to other nodes. Default: no bound.
	UnknownSessionRate int
	// SessionRequestRate bounds the polling requests per second of one connection,
	// with bursts of two seconds' worth; a client over it is disconnected. Default:
	// no bound.
	SessionRequestRate int
	// MaxPacketsPerPayload bounds the packets of one polling request. Default 1,000.
	MaxPacketsPerPayload int
	// MaxNamespacesPerClient bounds the namespaces of one connection. Default 8.
	MaxNamespacesPerClient int
	// MaxDynamicNamespaces bounds the namespaces made for OfFunc and OfPattern.
	// Default 10,000.
	MaxDynamicNamespaces int
	// CleanupEmptyNamespaces removes a dynamic namespace when its last socket has
	// left. Default off, as in the reference.
	CleanupEmptyNamespaces bool
	// MaxRoomsPerSocket bounds the rooms of one socket. Default 1,000.
	MaxRoomsPerSocket int
	// MaxPendingAcks bounds the acknowledgements one socket owes. Default 1,000.
	MaxPendingAcks int
	// MaxUnknownAcks bounds the acknowledgements one connection may send of events
	// that were never sent to anybody; it is closed beyond it. Late answers do not
	// count. Default 100.
	MaxUnknownAcks int

	// Origins lists the browser origins that may connect, such as
	// "https://example.com"; "*" allows all. It governs CORS and WebSocket alike.
	// Default: the same origin only, judged by Host, or by X-Forwarded-Host from
	// TrustedProxies. Requests without an Origin header pass,
	// except for JSONP, where Sec-Fetch-Site or Referer has to vouch for the page.
	Origins []string
	// TrustedProxies lists the networks whose X-Forwarded-For and
	// X-Forwarded-Host headers are believed. Default: none.
	TrustedProxies []netip.Prefix
	// AllowRequest, when not nil, sees the first request of every connection; an
	// error refuses it with the error's text.
	AllowRequest func(r *http.Request) error
	// Cookie, when not nil, is set on the handshake of polling clients, with the
	// session id as its value.
	Cookie *http.Cookie

	// AllowCredentials lets browsers send cookies and credentials from the Origins
	// listed by name. Default off.
	AllowCredentials bool
	// NoTrailingSlash leaves the slash at the end of Path away.
	NoTrailingSlash bool

	// ServeClient says whether the server offers the browser client to pages, at
	// socket.io.js, socket.io.min.js, socket.io.esm.min.js and
	// socket.io.msgpack.min.js below its path, with their source maps. nil means
	// true; new(false) switches it off.
	ServeClient *bool
	// ClientFS holds these files instead of the client that is built in: the
	// official one's node_modules/socket.io-client/dist, for example. A file is read
	// once, when it is first asked for. It is sent with gzip and deflate, and with
	// Brotli when there is a file of its name and .br that holds it in that form.
	ClientFS fs.FS

	// Use wraps every HTTP request of the protocol, WebSocket upgrades included, in
	// middleware; the first is the outermost. CORS preflights are answered before.
	// On an upgrade the ResponseWriter that a middleware passes on must be
	// hijackable, if only through an Unwrap method, and the middleware returns
	// while the WebSocket lives on. Values it puts into the request's context are
	// in Socket.Context.
	Use []func(http.Handler) http.Handler
	// InitialHeaders, when not nil, may change the response headers of a
	// connection's first request, and Headers those of every successful response,
	// upgrades included. Error responses do not pass them.
	InitialHeaders func(h http.Header, r *http.Request)
	Headers        func(h http.Header, r *http.Request)
	// GenerateID, when not nil, makes the session ids of connections, which must
	// be unique and not to be guessed, and at most 256 bytes. An error refuses the
	// connection. The ids of sockets are others.
	GenerateID func(r *http.Request) (string, error)

	// CompressionThreshold is the size from which the responses of HTTP polling are
	// compressed for clients that accept gzip or deflate, in bytes. Default 1024.
	CompressionThreshold int
	// CompressionLevel is zlib's, from 1 to 9. Default 1.
	CompressionLevel int
	// CompressionConcurrency bounds how much is compressed at a time, responses and
	// WebSocket messages apart, and with it the memory of compressors, up to 1.2 MB
	// each. Default GOMAXPROCS.
	CompressionConcurrency int
	// Deflate, when not nil, compresses WebSocket messages (permessage-deflate) for
	// clients that support it; a broadcast is compressed once for all of them. No
	// connection keeps a compressor, and inflated messages are bounded by
	// MaxPayload. Default: off.
	Deflate *DeflateOptions

	// Recovery, when not nil, lets clients that lost their connection for a moment
	// resume where they stopped. Default: off.
	Recovery *RecoveryOptions

	// Parser, when not nil, is the form of packets between this server and its
	// clients, which must use it too; see package parser and the one below it.
	// Default: the text of the Socket.IO protocol.
	Parser parser.Parser
	// JSON replaces encoding/json. Its zero fields mean the default.
	JSON JSONCodec

	// ClusterSecret is known to the nodes of a deployment and nobody else, the same
	// for all and at least 16 bytes. With it the session ids of connections carry a
	// code that only these nodes can make. Default: none, and ids without a code.
	ClusterSecret string
	// AdvertiseURL is where the other nodes reach this one, such as
	// "http://10.0.0.5:3000" or "https://10.0.0.5:3443": no path, and behind the
	// address the same handlers that clients get. It needs ClusterSecret and
	// Forwarder.
	AdvertiseURL string
	// Forwarder, when not nil, hands the requests of connections that live on other
	// nodes to those, so that any load balancer will do: forward.New(nil) of package
	// cluster/forward. It needs ClusterSecret and AdvertiseURL, and belongs to this
	// server, which closes it. Default: such requests are refused, and the load
	// balancer has to send them to the right node.
	Forwarder Forwarder

	// ReadyRequiresAdapter makes HealthHandler report a server whose adapter has
	// lost its connection as not ready. Off by default: a short outage of the
	// backend would take every node out of service at once.
	ReadyRequiresAdapter bool

	// Logger receives what an operator should know. Default slog.Default().
	Logger *slog.Logger
}

// DeflateOptions configure Options.Deflate.
type DeflateOptions struct {
	// Threshold is the size from which messages are compressed, in bytes. Default
	// 1024.
	Threshold int
	// Level is zlib's, from 1 to 9. Default 1.
	Level int
}

// withDefaults returns a copy with every zero field replaced.
func (o *Options) withDefaults() (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	setDefault(&out.Path, "/socket.io/")
	setDefault(&out.ConnectTimeout, 45*time.Second)
	setDefault(&out.AckTimeout, 30*time.Second)
	setDefault(&out.MaxPayload, 1e6)
	setDefault(&out.MaxAttachments, 10)
	setDefault(&out.MaxDepth, 128)
	setDefault(&out.MaxTokens, 1<<16)
	if out.MaxTokens < 0 {
		out.MaxTokens = math.MaxInt
	}
	setDefault(&out.MaxInboundBytes, 1<<20)
	setDefault(&out.MaxNamespacesPerClient, 8)
	setDefault(&out.MaxDynamicNamespaces, 10_000)
	setDefault(&out.MaxRoomsPerSocket, 1000)
	setDefault(&out.EventBurst, 5*out.EventRate)
	setDefault(&out.MaxPendingAcks, 1000)
	setDefault(&out.MaxUnknownAcks, 100)
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	if out.Recovery != nil {
		out.Recovery = out.Recovery.withDefaults()
	}
	if out.Adapter != nil && out.AdapterURL != "" {
		return out, errors.New("socketio: options: Adapter and AdapterURL exclude each other")
	}
	if err := checkNodeID(out.NodeID); err != nil {
		return out, err
	}
	return out, out.checkForwarding()
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

func checkNodeID(id string) error {
	if len(id) > 32 {
		return fmt.Errorf("socketio: options: NodeID %q is longer than 32 bytes", id)
	}
	for _, c := range []byte(id) {
		if !strings.ContainsRune("_-", rune(c)) && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return fmt.Errorf("socketio: options: NodeID %q: only letters, digits, _ and - are allowed", id)
		}
	}
	return nil
}

// exceeds reports whether n is above limit; a negative limit is none.
func exceeds(n, limit int) bool { return limit >= 0 && n > limit }

// clientFiles returns what serves the browser client; nil: nothing does.
func (o *Options) clientFiles() func(http.ResponseWriter, *http.Request) bool {
	if o.ServeClient != nil && !*o.ServeClient {
		return nil
	}
	return newClientFiles(o.ClientFS).serve
}

// engine translates the options the Engine.IO layer needs.
func (o *Options) engine() engineio.Options {
	out := engineio.Options{
		Path:                     o.Path,
		NodeID:                   o.NodeID,
		PingInterval:             o.PingInterval,
		PingTimeout:              o.PingTimeout,
		UpgradeTimeout:           o.UpgradeTimeout,
		WriteTimeout:             o.WriteTimeout,
		CloseTimeout:             o.CloseTimeout,
		Transports:               o.Transports,
		DisableUpgrades:          o.DisableUpgrades,
		MaxPayload:               o.MaxPayload,
		MaxQueueBytes:            o.MaxQueueBytes,
		MaxQueuePackets:          o.MaxQueuePackets,
		MaxTotalQueueBytes:       o.MaxTotalQueueBytes,
		HighWaterBytes:           o.HighWaterBytes,
		MaxPacketsPerPayload:     o.MaxPacketsPerPayload,
		MaxConnectionsPerAddress: o.MaxConnectionsPerAddress,
		HandshakeRate:            o.HandshakeRate,
		HandshakeBurst:           o.HandshakeBurst,
		AddressHandshakeRate:     o.AddressHandshakeRate,
		AddressHandshakeBurst:    o.AddressHandshakeBurst,
		UnknownSessionRate:       o.UnknownSessionRate,
		SessionRequestRate:       o.SessionRequestRate,
		MaxConnections:           o.MaxConnections,
		Origins:                  o.Origins,
		TrustedProxies:           o.TrustedProxies,
		AllowRequest:             o.AllowRequest,
		Cookie:                   o.Cookie,
		Logger:                   o.Logger,

		AllowEIO3:              o.AllowEIO3,
		AllowCredentials:       o.AllowCredentials,
		NoTrailingSlash:        o.NoTrailingSlash,
		Use:                    o.Use,
		Files:                  o.clientFiles(),
		InitialHeaders:         o.InitialHeaders,
		Headers:                o.Headers,
		GenerateID:             o.GenerateID,
		CompressionThreshold:   o.CompressionThreshold,
		CompressionLevel:       o.CompressionLevel,
		CompressionConcurrency: o.CompressionConcurrency,
	}
	if d := o.Deflate; d != nil {
		out.Deflate = &engineio.DeflateOptions{Threshold: d.Threshold, Level: d.Level}
	}
	return out
}
