package core

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/socketfleet/socketfleet/internal/sid"
)

// Locator is implemented by a Forwarder that can tell where a process is.
type Locator interface {
	// Locate returns the URL of the process with a name, as session ids carry it. An
	// error that matches nothing else says that there is none.
	Locate(ctx context.Context, owner string) (url string, err error)
}

// Explanation is what ExplainHandler answers.
type Explanation struct {
	Node    string            `json:"node"`
	Request RequestExplained  `json:"request"`
	Origin  *OriginExplained  `json:"origin,omitempty"`
	Session *SessionExplained `json:"session,omitempty"`
	// Refused counts refusals by Refusal.Check since the handler was made; Recent
	// holds the last 200, the newest first.
	Refused map[string]uint64 `json:"refused"`
	Recent  []Refusal         `json:"recent"`
}

// RequestExplained is how the server sees the request for the explanation itself.
type RequestExplained struct {
	Peer    string `json:"peer"`         // the address of the connection
	Trusted bool   `json:"peer_trusted"` // it is in Options.TrustedProxies
	Client  string `json:"client"`       // what Handshake.Address would be
	Host    string `json:"host"`         // that an Origin would be compared with
	Secure  bool   `json:"secure"`
	// Headers are those of proxies that came with the request.
	Headers map[string]string `json:"headers"`
	Hops    []HopExplained    `json:"hops"`  // of X-Forwarded-For, the nearest proxy's last
	Notes   []string          `json:"notes"` // what is probably not as it should be
}

// HopExplained is an entry of X-Forwarded-For.
type HopExplained struct {
	Address string `json:"address"`
	Valid   bool   `json:"valid"`
	Trusted bool   `json:"trusted"` // it is in Options.TrustedProxies
}

// OriginExplained is what a browser page of an origin would get.
type OriginExplained struct {
	Origin    string `json:"origin"`
	Handshake bool   `json:"handshake"` // it may connect
	CORS      bool   `json:"cors"`      // it may read the answer; a page of the same origin need not ask
}

// SessionExplained is where a session lives, as its id tells.
type SessionExplained struct {
	Valid  bool   `json:"valid"`            // the id has the form, and the code, of an id of this deployment
	Here   bool   `json:"here"`             // the session is on this node
	Node   string `json:"node,omitempty"`   // whose id it is
	URL    string `json:"url,omitempty"`    // where that process is reached
	Result string `json:"result,omitempty"` // in words
}

// ExplainHandler returns a handler that says why clients are refused, how proxies
// look to this server, and where a session lives. It answers in JSON, or in plain
// text to ?format=text and to clients that accept text/plain only. Of the request it
// explains the headers of proxies; ?origin=https://example.com tells whether a page
// of that origin could connect through the same proxies, and sid, best sent in the
// form of a POST because it is a secret, tells which node has that session.
//
// Refusals are remembered from the first call on; they are those of the real checks.
// The answer holds addresses of clients and what they were told, but no cookies,
// tokens, session ids or queries. authorize decides who may ask: an error is answered
// 403 and nothing else. It must not be nil. It panics when it is.
func (srv *Server) ExplainHandler(authorize func(r *http.Request) error) http.Handler {
	if authorize == nil {
		panic("socketio: ExplainHandler: authorize is nil")
	}
	srv.explain.CompareAndSwap(nil, new(explainer))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if err := authorize(r); err != nil {
			http.Error(w, "forbidden", http.StatusForbidden)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodPost {
			w.Header().Set("Allow", "GET, POST")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
		e := srv.explanation(r)
		if wantsText(r) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			e.writeText(w)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		_ = enc.Encode(e) // the client may have gone
	})
}

func wantsText(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	return r.FormValue("format") == "text" ||
		strings.Contains(accept, "text/plain") && !strings.Contains(accept, "json")
}

func (srv *Server) explanation(r *http.Request) *Explanation {
	e := &Explanation{Node: srv.NodeID(), Request: srv.explainRequest(r)}
	e.Recent, e.Refused = srv.explain.Load().refusals()
	if origin := r.FormValue("origin"); origin != "" {
		e.Origin = srv.explainOrigin(r, origin)
	}
	if id := r.FormValue("sid"); id != "" {
		e.Session = srv.explainSession(r.Context(), id)
	}
	return e
}

// proxyHeaders are the headers by which proxies are known. Only the first three are
// ever believed.
var proxyHeaders = []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
	"Forwarded", "X-Real-Ip", "X-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Via"}

func (srv *Server) explainRequest(r *http.Request) RequestExplained {
	t := srv.engine.Trace(r)
	out := RequestExplained{
		Peer: t.Peer, Trusted: t.Trusted, Client: t.Client, Host: printable(t.Host), Secure: t.Secure,
		Headers: make(map[string]string), Hops: []HopExplained{}, Notes: []string{},
	}
	for _, name := range proxyHeaders {
		if values := r.Header[name]; len(values) > 0 {
			out.Headers[name] = printable(strings.Join(values, ", "))
		}
	}
	believable := false
	for _, name := range proxyHeaders[:3] {
		_, sent := out.Headers[name]
		believable = believable || sent
	}
	invalid, trusted := false, 0
	for _, h := range t.Hops {
		out.Hops = append(out.Hops, HopExplained{Address: printable(h.Text), Valid: h.Valid, Trusted: h.Trusted})
		invalid = invalid || !h.Valid
		if h.Trusted {
			trusted++
		}
	}
	note := func(when bool, text string) {
		if when {
			out.Notes = append(out.Notes, text)
		}
	}
	note(believable && !t.Trusted, "the peer is not in Options.TrustedProxies: what it says of its client is ignored")
	note(t.Trusted && len(t.Hops) == 0, "the peer is a trusted proxy and sends no X-Forwarded-For: all its clients share its address")
	note(t.Trusted && len(t.Hops) > 0 && trusted == len(t.Hops), "every hop is in Options.TrustedProxies: the client's address is the first of them")
	note(invalid, "a hop of X-Forwarded-For is no address: the search for the client's ends there")
	note(!believable && len(out.Headers) > 0, "a proxy sends headers that are not used; configure it to send X-Forwarded-For")
	return out
}

func (srv *Server) explainOrigin(r *http.Request, origin string) *OriginExplained {
	asked := &http.Request{Method: http.MethodGet, URL: r.URL, Host: r.Host, TLS: r.TLS, RemoteAddr: r.RemoteAddr, Header: r.Header.Clone()}
	asked.Header.Set("Origin", origin)
	out := &OriginExplained{Origin: printable(origin)}
	out.Handshake, out.CORS = srv.engine.AllowsOrigin(asked)
	return out
}

func (srv *Server) explainSession(ctx context.Context, id string) *SessionExplained {
	out := new(SessionExplained)
	if _, out.Here = srv.engine.Session(id); out.Here {
		out.Valid, out.Node, out.Result = true, srv.NodeID(), "the session is on this node"
		return out
	}
	out.Valid = sid.Valid(id)
	if srv.signer != nil {
		out.Valid = srv.signer.Verify(id)
	}
	if !out.Valid {
		out.Result = "no server with this configuration made the id"
		return out
	}
	out.Node, _ = sid.Node(id)
	owner, signed := sid.Owner(id)
	locator, can := srv.opts.Forwarder.(Locator)
	switch {
	case signed && srv.signer != nil && owner == srv.signer.Owner():
		out.Result = "the session was on this node and has ended"
	case !signed || !can:
		out.Result = "the session is not on this node; without a Forwarder this node does not know where others are"
	default:
		ctx, cancel := context.WithTimeout(ctx, openTimeout)
		defer cancel()
		url, err := locator.Locate(ctx, owner)
		if err != nil {
			out.Result = "the process that made the session is not known: " + err.Error()
			break
		}
		out.URL, out.Result = url, "the process that made the session is known; whether it still has it, it does not say"
	}
	return out
}

// printable makes a text of somebody else's choice fit for a page of text.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) > maxRefusalText {
		s = strings.ToValidUTF8(s[:maxRefusalText], "") + "..."
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return '?'
		}
		return c
	}, s)
}

// writeText writes the explanation in lines.
func (e *Explanation) writeText(w io.Writer) {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	q := &e.Request
	line("node %s", e.Node)
	line("\nthis request")
	line("  peer    %s (in TrustedProxies: %t)", q.Peer, q.Trusted)
	line("  client  %s", q.Client)
	line("  host    %s", q.Host)
	line("  secure  %t", q.Secure)
	for _, name := range slices.Sorted(maps.Keys(q.Headers)) {
		line("  header  %s: %s", name, q.Headers[name])
	}
	for _, h := range q.Hops {
		line("  hop     %s (address: %t, in TrustedProxies: %t)", h.Address, h.Valid, h.Trusted)
	}
	for _, note := range q.Notes {
		line("  note    %s", note)
	}
	if o := e.Origin; o != nil {
		line("\norigin %s\n  may connect: %t\n  may read the answer (CORS): %t", o.Origin, o.Handshake, o.CORS)
	}
	if s := e.Session; s != nil {
		line("\nsession\n  %s\n  node %s %s", s.Result, cmp.Or(s.Node, "unknown"), s.URL)
	}
	line("\nrefused")
	for _, check := range slices.Sorted(maps.Keys(e.Refused)) {
		line("  %-14s %d", check, e.Refused[check])
	}
	for _, r := range e.Recent {
		line("\n%s %s: %s", r.Time.UTC().Format(time.RFC3339), r.Check, r.Reason)
		line("  by %q, told %q, status %d, code %d", r.By, r.Message, r.Status, r.Code)
		line("  client %s, peer %s, origin %q, host %q", r.Client, r.Peer, r.Origin, r.Host)
		line("  %s transport %q, EIO %q, namespace %q", r.Method, r.Transport, r.Protocol, r.Namespace)
	}
	_, _ = io.WriteString(w, b.String()) // the client may have gone
}
