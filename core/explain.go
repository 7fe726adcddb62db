package core

import (
	"context"
	"net/http"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/socketfleet/socketfleet/internal/engineio"
)

// Refusal is one request, or one CONNECT to a namespace, that this server refused.
// It has no cookies, tokens, session ids or queries.
type Refusal struct {
	Time time.Time `json:"time"`
	// Check is what refused: transport, method, origin, origin_header, uri, limit,
	// busy, allow_request, protocol, session, mismatch, generate_id, upgrade, use (a
	// middleware of Options.Use), namespace (unknown, or too many), middleware (of
	// Namespace.Use), or request.
	Check string `json:"check"`
	// Reason says what the check looked at, and which option decides.
	Reason string `json:"reason"`
	// By is the name of the limit, or of the middleware's function.
	By string `json:"by,omitempty"`
	// Message is what the client was told.
	Message string `json:"message,omitempty"`
	Status  int    `json:"status,omitempty"` // of the HTTP response
	Code    int    `json:"code"`             // of the Engine.IO error; -1: none

	Method    string `json:"method,omitempty"`
	Transport string `json:"transport,omitempty"` // as the client named it
	Protocol  string `json:"protocol,omitempty"`  // EIO
	Origin    string `json:"origin,omitempty"`
	Host      string `json:"host,omitempty"` // that Origin was compared with
	Peer      string `json:"peer,omitempty"` // the address of the connection
	Client    string `json:"client"`         // the address derived from it
	Namespace string `json:"namespace,omitempty"`
}

const (
	// maxRefusals is how many refusals are remembered.
	maxRefusals = 200
	// maxRefusalText bounds each text in one, in bytes: clients choose most of them.
	maxRefusalText = 256
)

// explainer remembers refusals.
type explainer struct {
	mu     sync.Mutex // guards the following; leaf lock
	recent []Refusal  // a ring once it is full
	next   int
	counts map[string]uint64 // by Refusal.Check
}

func (x *explainer) add(r Refusal) {
	r.Time = time.Now()
	for _, text := range []*string{&r.Reason, &r.By, &r.Message, &r.Method, &r.Transport, &r.Protocol, &r.Origin, &r.Host, &r.Namespace} {
		*text = printable(*text)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	count(&x.counts, r.Check)
	if len(x.recent) < maxRefusals {
		x.recent = append(x.recent, r)
		return
	}
	x.recent[x.next] = r
	x.next = (x.next + 1) % maxRefusals
}

// refusals returns what is remembered, the newest first.
func (x *explainer) refusals() ([]Refusal, map[string]uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := len(x.recent)
	out := make([]Refusal, n)
	for i := range out {
		out[i] = x.recent[(x.next+n-1-i)%n]
	}
	return out, cloneMap(x.counts)
}

// engineRefused remembers a refused request.
func (srv *Server) engineRefused(e *engineio.ConnectionError) {
	x := srv.explain.Load()
	if x == nil {
		return
	}
	r := srv.refusalOf(e.Request)
	r.Check, r.By, r.Message, r.Status, r.Code = e.Check, e.Limit, e.Message, e.Status, int(e.Code)
	if e.Check == engineio.CheckBusy {
		r.Code = -1
	}
	r.Reason = srv.reason(e)
	x.add(r)
}

// refusalOf is what a refusal tells of a request.
func (srv *Server) refusalOf(r *http.Request) Refusal {
	t, q := srv.engine.Trace(r), r.URL.Query()
	return Refusal{
		Method: r.Method, Transport: q.Get("transport"), Protocol: q.Get("EIO"),
		Origin: r.Header.Get("Origin"), Host: t.Host, Peer: t.Peer, Client: t.Client,
	}
}

// reasons explain checks, and name what to look at.
var reasons = map[string]string{
	engineio.CheckTransport:    "the transport is unknown or not in Options.Transports",
	engineio.CheckMethod:       "the request has no session id, and a handshake is a GET",
	engineio.CheckOriginHeader: "the Origin header has characters that none may have",
	engineio.CheckURI:          "the path and the query are too long",
	engineio.CheckLimit:        "a limit is reached, see by and docs/limits.md",
	engineio.CheckBusy:         "the server is shutting down or draining, or Options.MaxConnections is reached",
	engineio.CheckAllowRequest: "Options.AllowRequest returned an error",
	engineio.CheckProtocol:     "the client does not speak Engine.IO 4 (EIO=4); Options.AllowEIO3 lets clients of Socket.IO 2.x in",
	engineio.CheckSession:      "no node that was asked knows the session: it has ended, or the load balancer sent the request to another node than its own (Options.Forwarder helps)",
	engineio.CheckMismatch:     "the session uses another transport or revision: a proxy may have dropped the Upgrade header",
	engineio.CheckGenerateID:   "Options.GenerateID failed",
	engineio.CheckUpgrade:      "this is no WebSocket handshake the server can take: a proxy may have dropped the Upgrade header, or a middleware hides Hijack",
	engineio.CheckRequest:      "the request is not valid",
}

func (srv *Server) reason(e *engineio.ConnectionError) string {
	if e.Check != engineio.CheckOrigin {
		return reasons[e.Check]
	}
	t := srv.engine.Trace(e.Request)
	switch {
	case e.Request.Header.Get("Origin") == "":
		return "a JSONP request of a page that neither Sec-Fetch-Site nor Referer vouches for: list its origin in Options.Origins"
	case !t.Trusted && e.Request.Header.Get("X-Forwarded-Host") != "":
		return "the origin is not in Options.Origins and not that of the host; X-Forwarded-Host was ignored, because its sender is not in Options.TrustedProxies"
	}
	return "the origin is not in Options.Origins and not that of the host"
}

// namespaceRefused remembers a CONNECT that was refused, by a middleware or, when
// by is nil, because there is no such namespace.
func (srv *Server) namespaceRefused(req *engineio.Request, name string, by middlewareFunc, err error) {
	x := srv.explain.Load()
	if x == nil {
		return
	}
	r := Refusal{
		Check: "namespace", Reason: "the namespace does not exist, cannot be opened, or a limit on namespaces is reached",
		Message: err.Error(), Code: -1, Namespace: name,
		Client: req.RemoteAddr(), Origin: req.Header().Get("Origin"), Host: req.Header().Get("Host"),
	}
	if by != nil {
		r.Check, r.By, r.Reason = "middleware", funcName(by), "a middleware of the namespace returned an error"
	}
	x.add(r)
}

func funcName(fn any) string {
	if f := runtime.FuncForPC(reflect.ValueOf(fn).Pointer()); f != nil {
		return f.Name()
	}
	return ""
}

// useTrace is how far a request has come through Options.Use.
type useTrace struct{ passed atomic.Int32 }

type useTraceKey struct{}

// tracedUse returns use with something around it that notices who answers a request
// that does not reach the server, once a handler explains.
func (srv *Server) tracedUse(use []func(http.Handler) http.Handler) []func(http.Handler) http.Handler {
	if len(use) == 0 {
		return nil
	}
	out := []func(http.Handler) http.Handler{func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			x := srv.explain.Load()
			if x == nil {
				next.ServeHTTP(w, r)
				return
			}
			t := new(useTrace)
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), useTraceKey{}, t)))
			if n := int(t.passed.Load()); n < len(use) {
				no := srv.refusalOf(r)
				no.Check, no.Code, no.By = "use", -1, funcName(use[n])
				no.Reason = "a middleware of Options.Use answered in the server's place"
				x.add(no)
			}
		})
	}}
	for i, mw := range use {
		out = append(out, mw, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if t, ok := r.Context().Value(useTraceKey{}).(*useTrace); ok {
					t.passed.Store(int32(i + 1))
				}
				next.ServeHTTP(w, r)
			})
		})
	}
	return out
}
