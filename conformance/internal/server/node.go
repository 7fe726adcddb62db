package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	_ "github.com/socketfleet/socketfleet/adapter/redis"
	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/parser"
	"github.com/socketfleet/socketfleet/parser/msgpack"
)

// nodeConfig is the JSON of NODE_CONFIG. Durations are in milliseconds.
type nodeConfig struct {
	Name            string `json:"name"`
	Port            int    `json:"port"`
	Adapter         string `json:"adapter"`
	Redis           string `json:"redis"`
	NATS            string `json:"nats"` // for the adapters nats and nats-jetstream
	Key             string `json:"key"`
	Heartbeat       int    `json:"heartbeat"`
	RequestsTimeout int    `json:"requestsTimeout"`
	Cleanup         bool   `json:"cleanupEmptyChildNamespaces"`
	Parser          string `json:"parser"`
	AdapterParser   string `json:"adapterParser"` // between nodes: MessagePack only
	StreamCount     int    `json:"streamCount"`
	PingInterval    int    `json:"pingInterval"`
	PingTimeout     int    `json:"pingTimeout"`
	CSR             int    `json:"csr"` // connection state recovery for this long; 0 is off
	AllowEIO3       bool   `json:"allowEIO3"`
	Deflate         bool   `json:"perMessageDeflate"`

	Origins []string `json:"origins"` // pages that may connect, with cookies; none is any, without
	Cookies bool     `json:"cookies"` // one of the handshake, and one of a middleware
}

// node is one member of a cluster and what its control endpoint knows of it.
type node struct {
	config   nodeConfig
	srv      *core.Server
	provider adapter.Provider

	mu         sync.Mutex // guards the following
	log        []logEntry
	serverLog  []serverEntry
	serverSide map[string]listenMode // by namespace, a space and the event
}

type logEntry struct {
	Event     string `json:"event"`
	Namespace string `json:"nsp"`
	ID        string `json:"id"`
	Recovered *bool  `json:"recovered,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

type serverEntry struct {
	Namespace string `json:"nsp"`
	Event     string `json:"event"`
	Args      []any  `json:"args"`
	WithAck   bool   `json:"withAck"`
}

type listenMode struct {
	mode  string
	value any
}

var dynamicNames = regexp.MustCompile(`^/dyn-[\w-]+$`)

// routeCookie sets what a balancer would.
func routeCookie(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Set-Cookie", "route=a; Path=/")
		next.ServeHTTP(w, r)
	})
}

func clusterNode() (http.Handler, string, error) {
	n := &node{serverSide: make(map[string]listenMode)}
	if text := os.Getenv("NODE_CONFIG"); text != "" {
		if err := json.Unmarshal([]byte(text), &n.config); err != nil {
			return nil, "", fmt.Errorf("NODE_CONFIG: %w", err)
		}
	}
	rawURL, err := n.config.adapterURL()
	if err != nil {
		return nil, "", err
	}
	packets, err := n.config.packets()
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if n.provider, err = adapter.Open(ctx, rawURL); err != nil {
		return nil, "", err
	}
	opts := &core.Options{
		Adapter:                n.provider,
		NodeID:                 n.config.Name,
		Parser:                 packets,
		Origins:                []string{"*"},
		MaxPayload:             5e6,
		MaxQueueBytes:          16 << 20,
		PingInterval:           milliseconds(n.config.PingInterval),
		PingTimeout:            milliseconds(n.config.PingTimeout),
		CleanupEmptyNamespaces: n.config.Cleanup,
		MaxNamespacesPerClient: 64,
		Recovery:               n.config.recovery(),
		AllowEIO3:              n.config.AllowEIO3,
	}
	if n.config.Deflate {
		opts.Deflate = new(core.DeflateOptions)
	}
	if n.config.Origins != nil {
		opts.Origins, opts.AllowCredentials = n.config.Origins, true
	}
	if n.config.Cookies {
		opts.Cookie = &http.Cookie{Name: "io", Path: "/", SameSite: http.SameSiteLaxMode, HttpOnly: true}
		opts.Use = append(opts.Use, routeCookie)
	}
	n.srv, err = core.New(ctx, opts)
	if err != nil {
		return nil, "", err
	}
	n.serve(n.srv)
	n.serve(n.srv.Of("/custom"))
	n.serve(n.srv.OfPattern(dynamicNames))

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", n.srv)
	mux.HandleFunc("POST /ctl", n.control)
	return mux, "127.0.0.1:" + strconv.Itoa(n.port()), nil
}

func (n *node) port() int {
	if n.config.Port != 0 {
		return n.config.Port
	}
	port, _ := strconv.Atoi(os.Getenv("PORT")) // none is a free one
	return port
}

// adapterURL says in a URL what the configuration says in fields.
func (c *nodeConfig) adapterURL() (string, error) {
	if c.AdapterParser != "" {
		return "", fmt.Errorf("adapterParser %q: the nodes speak MessagePack only", c.AdapterParser)
	}
	if strings.HasPrefix(c.Adapter, "nats") {
		return c.natsURL()
	}
	query := url.Values{}
	u, err := url.Parse(c.Redis)
	if err != nil {
		return "", errors.New("the redis URL cannot be parsed")
	}
	switch c.Adapter {
	case "", "none":
		return "memory://", nil
	case "redis":
	case "redis-specific":
		query.Set("specific_response_channel", "true")
	case "sharded-dynamic", "sharded-dynamic-private", "sharded-static":
		u.Scheme += "+sharded"
		query.Set("mode", strings.TrimPrefix(c.Adapter, "sharded-"))
	case "streams":
		u.Scheme += "+streams"
		query.Set("stream", c.Key)
		query.Set("session_key_prefix", c.Key+":session:")
		query.Set("stream_count", strconv.Itoa(max(c.StreamCount, 1)))
		query.Set("session_key_prefix", c.Key+":session:")
	default:
		return "", fmt.Errorf("unknown adapter %q", c.Adapter)
	}
	if c.Key != "" {
		query.Set("key", c.Key)
	}
	if c.Heartbeat > 0 {
		query.Set("heartbeat", milliseconds(c.Heartbeat).String())
	}
	if c.RequestsTimeout > 0 {
		query.Set("requests_timeout", milliseconds(c.RequestsTimeout).String())
	}
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// natsURL is adapterURL for NATS, which only some programs know.
func (c *nodeConfig) natsURL() (string, error) {
	u, err := url.Parse(c.NATS)
	if err != nil {
		return "", errors.New("the NATS URL cannot be parsed")
	}
	query := url.Values{"prefix": {c.Key}}
	switch c.Adapter {
	case "nats":
	case "nats-jetstream":
		u.Scheme += "+jetstream"
	default:
		return "", fmt.Errorf("unknown adapter %q", c.Adapter)
	}
	if c.Heartbeat > 0 {
		query.Set("heartbeat_interval", milliseconds(c.Heartbeat).String())
	}
	if c.RequestsTimeout > 0 {
		query.Set("requests_timeout", milliseconds(c.RequestsTimeout).String())
	}
	u.RawQuery = query.Encode()
	return u.String(), nil
}

func (c *nodeConfig) recovery() *core.RecoveryOptions {
	if c.CSR == 0 {
		return nil
	}
	return &core.RecoveryOptions{MaxDisconnection: milliseconds(c.CSR)}
}

// packets returns the parser of the configuration.
func (c *nodeConfig) packets() (parser.Parser, error) {
	switch c.Parser {
	case "", "default":
		return nil, nil
	case "msgpack":
		return msgpack.Parser{}, nil
	}
	return nil, fmt.Errorf("unknown parser %q", c.Parser)
}

func milliseconds(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// listener is a namespace or a family of them.
type listener interface {
	core.Listener
	OnConnect(func(context.Context, *core.Socket) error)
	OnDisconnect(func(context.Context, *core.Socket, core.DisconnectReason))
}

// serve gives a namespace the behavior all nodes have.
func (n *node) serve(l listener) {
	l.OnConnect(func(_ context.Context, s *core.Socket) error {
		recovered := s.Recovered()
		n.record(logEntry{Event: "connection", Namespace: s.Namespace().Name(), ID: s.ID(), Recovered: &recovered})
		return nil
	})
	l.OnDisconnect(func(_ context.Context, s *core.Socket, r core.DisconnectReason) {
		n.record(logEntry{Event: "disconnect", Namespace: s.Namespace().Name(), ID: s.ID(), Reason: string(r)})
	})
	core.OnAck(l, "echo", func(_ context.Context, _ *core.Socket, a core.Args) (core.Args, error) { return a, nil })
	core.OnArgs(l, "relay", func(_ context.Context, s *core.Socket, a core.Args) error {
		return relay(s, a, 0, s.Broadcast())
	})
	core.OnArgs(l, "relayAll", func(_ context.Context, s *core.Socket, a core.Args) error {
		return relay(s, a, 0, s.Namespace().To())
	})
	core.OnArgs(l, "relayRoom", func(_ context.Context, s *core.Socket, a core.Args) error {
		var room string
		if err := a.Decode(0, &room); err != nil {
			return err
		}
		return relay(s, a, 1, s.To(room))
	})
}

// relay emits to op the event that argument i names, with the sender's id and the
// arguments behind it.
func relay(s *core.Socket, a core.Args, i int, op core.BroadcastOperator) error {
	var event string
	if err := a.Decode(i, &event); err != nil {
		return err
	}
	args := []any{s.ID()}
	for i++; i < a.Len(); i++ {
		var v any
		if err := a.Decode(i, &v); err != nil {
			return err
		}
		args = append(args, v)
	}
	return op.Emit(event, args...)
}

func (n *node) record(e logEntry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.log = append(n.log, e)
}
