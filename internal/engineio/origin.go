package engineio

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// origins decides which Origin headers may connect.
type origins struct {
	any    bool
	listed map[string]bool // in normal form
}

func newOrigins(list []string) (origins, error) {
	o := origins{listed: make(map[string]bool)}
	for _, entry := range list {
		switch entry {
		case "*":
			o.any = true
		case "null":
			o.listed[entry] = true
		default:
			norm, ok := normalizeOrigin(entry)
			if !ok {
				return o, fmt.Errorf("engineio: options: origin %q: want scheme://host[:port], \"null\" or \"*\"", entry)
			}
			o.listed[norm] = true
		}
	}
	return o, nil
}

func (o *origins) cors() bool { return o.any || len(o.listed) > 0 }

// lists reports whether origin is in the list itself, not just allowed by "*".
func (o *origins) lists(origin string) bool {
	if o.listed[origin] {
		return true
	}
	norm, ok := normalizeOrigin(origin)
	return ok && o.listed[norm]
}

// normalizeOrigin returns scheme://host[:port] in lower case without a default
// port. It fails for anything that is more or less than an origin.
func normalizeOrigin(origin string) (string, bool) {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || u.Opaque != "" {
		return "", false
	}
	if u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery || strings.HasSuffix(origin, "#") {
		return "", false
	}
	return u.Scheme + "://" + normalizeHost(u.Host, u.Scheme), true
}

// normalizeHost lowers a host and cuts the scheme's default port off.
func normalizeHost(host, scheme string) string {
	host = strings.ToLower(host)
	switch scheme {
	case "http", "ws":
		return strings.TrimSuffix(strings.TrimSuffix(host, ":80"), ":")
	case "https", "wss":
		return strings.TrimSuffix(strings.TrimSuffix(host, ":443"), ":")
	}
	return host
}

// sameOrigin reports whether origin is a page of host. secure says that the
// request certainly came over TLS; without it the scheme is not judged, because
// a proxy may have ended TLS.
func sameOrigin(origin, host string, secure bool) bool {
	norm, ok := normalizeOrigin(origin)
	if !ok || host == "" {
		return false
	}
	scheme, rest, _ := strings.Cut(norm, "://")
	if scheme != "http" && scheme != "https" || secure && scheme != "https" {
		return false
	}
	return rest == normalizeHost(host, scheme)
}

// allowedOrigin decides about the request's Origin header.
func (srv *Server) allowedOrigin(r *http.Request) bool {
	values := r.Header["Origin"]
	switch {
	case srv.origins.any:
		return true
	case len(values) == 0:
		return !queryHas(r.URL.RawQuery, "j") || srv.allowedScript(r)
	}
	for _, origin := range values {
		if !srv.origins.lists(origin) && !sameOrigin(origin, srv.host(r), srv.secure(r)) {
			return false
		}
	}
	return true
}

// allowedScript decides about a JSONP request. A page of any origin can load it as a
// script and read the answer, and browsers send no Origin header with that: what
// they do send, Sec-Fetch-Site or else Referer, has to vouch for it.
func (srv *Server) allowedScript(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site == "same-origin" || site == "none" {
		return true
	}
	from, err := url.Parse(r.Referer())
	if err != nil || from.Host == "" {
		return false
	}
	origin := from.Scheme + "://" + from.Host
	return srv.origins.lists(origin) || r.Header.Get("Sec-Fetch-Site") == "" && sameOrigin(origin, srv.host(r), srv.secure(r))
}

// refuseOrigin counts and logs a refusal, at most one line in 10 s.
func (srv *Server) refuseOrigin(r *http.Request) *refusal {
	srv.count.originsRefused.Add(1)
	if srv.originLog.allow() {
		srv.opts.Logger.LogAttrs(r.Context(), slog.LevelWarn,
			"socketio: origin refused: add it to Origins, or the proxy to TrustedProxies, if it is yours",
			slog.String("event", "handshake.rejected"),
			slog.String("origin", r.Header.Get("Origin")),
			slog.String("host", srv.host(r)),
			slog.String("option", "Origins"))
	}
	return &refusal{code: CodeForbidden, origin: true}
}

// validOrigin reports whether the Origin header has only characters that Node
// accepts in a header value.
func validOrigin(r *http.Request) bool {
	for _, v := range r.Header["Origin"] {
		for i := range len(v) {
			if c := v[i]; c != '\t' && (c < 0x20 || c == 0x7f) {
				return false
			}
		}
	}
	return true
}

// cors adds CORS headers and reports whether it has answered the request, which
// it does for every OPTIONS request once Origins is set.
func (srv *Server) cors(w http.ResponseWriter, r *http.Request) bool {
	if !srv.origins.cors() {
		return false
	}
	h := w.Header()
	srv.allowOrigin(h, r)
	if r.Method != http.MethodOptions {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET,HEAD,PUT,PATCH,POST,DELETE")
	h.Add("Vary", "Access-Control-Request-Headers")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// allowOrigin sets the headers that let a page of the request's origin read the
// response.
func (srv *Server) allowOrigin(h http.Header, r *http.Request) {
	origin := r.Header.Get("Origin")
	listed := origin != "" && srv.origins.lists(origin)
	if len(srv.origins.listed) > 0 {
		h.Add("Vary", "Origin")
	}
	switch {
	case listed:
		h.Set("Access-Control-Allow-Origin", origin)
		if srv.opts.AllowCredentials {
			h.Set("Access-Control-Allow-Credentials", "true")
		}
	case srv.origins.any:
		h.Set("Access-Control-Allow-Origin", "*")
	case origin != "" && srv.allowedOrigin(r):
		h.Set("Access-Control-Allow-Origin", origin)
	}
}

// forward offers the request to Options.Foreign, without the headers that the
// owner of the session will set.
func (srv *Server) forward(w http.ResponseWriter, r *http.Request, id string) bool {
	if srv.opts.Foreign == nil || !srv.wellFormed(id) {
		return false
	}
	if srv.opts.Signer != nil && !srv.opts.Signer.Verify(id) {
		return false
	}
	h := w.Header()
	before := h.Clone()
	for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Vary"} {
		h.Del(name)
	}
	if srv.opts.Foreign(w, r, id) {
		return true
	}
	maps.Copy(h, before)
	return false
}

// fromProxy reports whether the request's peer is a trusted proxy.
func (srv *Server) fromProxy(r *http.Request) bool {
	return len(srv.opts.TrustedProxies) > 0 && srv.trusted(peerAddr(r))
}

func (srv *Server) trusted(addr string) bool {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return false
	}
	ip = ip.Unmap().WithZone("")
	for _, p := range srv.opts.TrustedProxies {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// host is the host the client asked for.
func (srv *Server) host(r *http.Request) string {
	if forwarded := r.Header.Get("X-Forwarded-Host"); forwarded != "" && srv.fromProxy(r) {
		first, _, _ := strings.Cut(forwarded, ",")
		return strings.TrimSpace(first)
	}
	return r.Host
}

func (srv *Server) secure(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	proto := r.Header.Get("X-Forwarded-Proto")
	if proto == "" || !srv.fromProxy(r) {
		return false
	}
	first, _, _ := strings.Cut(proto, ",")
	first = strings.TrimSpace(first)
	return strings.EqualFold(first, "https") || strings.EqualFold(first, "wss")
}

// clientAddr returns the peer's address, or what the outermost trusted proxy says
// about its own peer.
func (srv *Server) clientAddr(r *http.Request) string {
	addr := peerAddr(r)
	if !srv.fromProxy(r) {
		return addr
	}
	hops := forwardedFor(r)
	for i := len(hops) - 1; i >= 0; i-- {
		ip, ok := parseHop(hops[i])
		if !ok {
			return addr
		}
		addr = ip.String()
		if !srv.trusted(addr) {
			return addr
		}
	}
	return addr
}

// forwardedFor returns the entries of X-Forwarded-For, the nearest proxy's last.
func forwardedFor(r *http.Request) []string {
	values := r.Header["X-Forwarded-For"]
	if len(values) == 0 {
		return nil
	}
	hops := strings.Split(strings.Join(values, ","), ",")
	for i := range hops {
		hops[i] = strings.TrimSpace(hops[i])
	}
	return hops
}

// parseHop parses an address, to which some proxies add the port.
func parseHop(hop string) (netip.Addr, bool) {
	if ip, err := netip.ParseAddr(hop); err == nil {
		return ip, true
	}
	ap, err := netip.ParseAddrPort(hop)
	return ap.Addr(), err == nil
}

func peerAddr(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
