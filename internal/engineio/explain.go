package engineio

import "net/http"

// Checks that refuse requests, as ConnectionError.Check names them.
const (
	CheckTransport    = "transport"     // transport unknown or not in Options.Transports
	CheckMethod       = "method"        // a handshake is a GET
	CheckOriginHeader = "origin_header" // characters that no header may have
	CheckOrigin       = "origin"        // Options.Origins
	CheckURI          = "uri"           // too long
	CheckLimit        = "limit"         // ConnectionError.Limit is reached
	CheckBusy         = "busy"          // full, or shutting down
	CheckAllowRequest = "allow_request" // Options.AllowRequest
	CheckProtocol     = "protocol"      // EIO is not 4, and Options.AllowEIO3 is off
	CheckSession      = "session"       // nobody knows the session
	CheckMismatch     = "mismatch"      // of transport or revision with the session's
	CheckGenerateID   = "generate_id"   // Options.GenerateID
	CheckUpgrade      = "upgrade"       // the WebSocket handshake, or the proxy before it
	CheckRequest      = "request"       // anything else
)

// check names what refused a request.
func (no *refusal) check() string {
	switch {
	case no.busy:
		return CheckBusy
	case no.status != 0:
		return CheckLimit
	case no.origin:
		return CheckOrigin
	case no.code == CodeForbidden:
		return CheckAllowRequest
	}
	switch no.context {
	case "INVALID_ORIGIN":
		return CheckOriginHeader
	case "URI_TOO_LONG":
		return CheckURI
	case "ID_GENERATION_ERROR":
		return CheckGenerateID
	case "TRANSPORT_MISMATCH", "PROTOCOL_MISMATCH":
		return CheckMismatch
	case "TRANSPORT_HANDSHAKE_ERROR":
		return CheckUpgrade
	}
	switch no.code {
	case CodeTransportUnknown:
		return CheckTransport
	case CodeSessionUnknown:
		return CheckSession
	case CodeBadMethod:
		return CheckMethod
	case CodeUnsupportedProtocol:
		return CheckProtocol
	}
	return CheckRequest
}

// notify tells Options.OnConnectionError of a refusal with an HTTP status.
func (srv *Server) notify(r *http.Request, no *refusal, status int) {
	if srv.opts.OnConnectionError == nil {
		return
	}
	e := &ConnectionError{
		Request: r, Code: no.code, Message: no.text(), Context: no.context, Err: no.err,
		Check: no.check(), Status: status,
	}
	if e.Check == CheckLimit {
		e.Limit = no.limit.String()
	}
	srv.opts.OnConnectionError(e)
}

// Trace is how the server sees where a request comes from.
type Trace struct {
	Peer    string // the address of the connection
	Trusted bool   // the peer is in Options.TrustedProxies
	Client  string // the address derived from X-Forwarded-For
	Hops    []Hop  // of X-Forwarded-For, as it was sent, whether believed or not
	Host    string // that Origin is compared with
	Secure  bool   // over TLS, as far as this server believes it
}

// Hop is one entry of X-Forwarded-For.
type Hop struct {
	Text    string
	Valid   bool // an address
	Trusted bool // in Options.TrustedProxies
}

// maxHops bounds the hops of a Trace.
const maxHops = 32

// Trace looks at a request as a handshake does.
func (srv *Server) Trace(r *http.Request) Trace {
	t := Trace{
		Peer: peerAddr(r), Trusted: srv.fromProxy(r), Client: srv.clientAddr(r),
		Host: srv.host(r), Secure: srv.secure(r),
	}
	for _, text := range forwardedFor(r) {
		if len(t.Hops) == maxHops {
			break
		}
		ip, ok := parseHop(text)
		t.Hops = append(t.Hops, Hop{Text: text, Valid: ok, Trusted: ok && srv.trusted(ip.String())})
	}
	return t
}

// AllowsOrigin reports whether a handshake with the request's Origin header would
// pass, and whether the response lets a page of that origin read it (CORS).
func (srv *Server) AllowsOrigin(r *http.Request) (handshake, cors bool) {
	h := make(http.Header)
	if srv.origins.cors() {
		srv.allowOrigin(h, r)
	}
	return srv.allowedOrigin(r), h.Get("Access-Control-Allow-Origin") != ""
}
