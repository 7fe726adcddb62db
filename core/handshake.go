package core

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/socketfleet/socketfleet/internal/engineio"
)

// Handshake is what a client presented when it connected. It holds a copy of the
// first request's essentials, never the request. Its methods are safe for
// concurrent use.
type Handshake struct {
	req  *engineio.Request
	auth json.RawMessage
	at   time.Time
}

// Header returns a copy of the headers of the first request of the connection.
func (h *Handshake) Header() http.Header { return h.req.Header() }

// Query returns the query parameters of the first request; of a repeated key the
// last value counts.
func (h *Handshake) Query() map[string]string {
	values := h.req.Query()
	out := make(map[string]string, len(values))
	for k, v := range values {
		if len(v) > 0 {
			out[k] = v[len(v)-1]
		}
	}
	return out
}

// Auth returns the payload of the namespace's CONNECT packet: a JSON object,
// {} when the client sent none.
func (h *Handshake) Auth() json.RawMessage { return h.auth }

// URL returns the request URI of the first request, with its query.
func (h *Handshake) URL() string { return h.req.URL() }

// Address returns the client's address. Forwarding headers count only when they
// come from Options.TrustedProxies.
func (h *Handshake) Address() string { return h.req.RemoteAddr() }

// Secure reports whether the first request came over TLS.
func (h *Handshake) Secure() bool { return h.req.Secure() }

// CrossDomain reports whether the first request had an Origin header.
func (h *Handshake) CrossDomain() bool { return h.req.CrossDomain() }

// Time returns when the client connected to the namespace.
func (h *Handshake) Time() time.Time { return h.at }

// jsDate is the layout of JavaScript's Date.prototype.toString in UTC.
const jsDate = "Mon Jan 02 2006 15:04:05 GMT+0000 (Coordinated Universal Time)"

// MarshalJSON renders the handshake as the reference server does, so that
// FetchSockets tells the same on every node: headers with lower-case names, then
// time, address, xdomain, secure, issued (milliseconds), url, query and auth.
func (h *Handshake) MarshalJSON() ([]byte, error) {
	headers := make(map[string]string)
	for name, values := range h.Header() {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return marshalJSON(struct {
		Headers map[string]string `json:"headers"`
		Time    string            `json:"time"`
		Address string            `json:"address"`
		XDomain bool              `json:"xdomain"`
		Secure  bool              `json:"secure"`
		Issued  int64             `json:"issued"`
		URL     string            `json:"url"`
		Query   map[string]string `json:"query"`
		Auth    json.RawMessage   `json:"auth"`
	}{headers, h.at.UTC().Format(jsDate), h.Address(), h.CrossDomain(), h.Secure(),
		h.at.UnixMilli(), h.URL(), h.Query(), h.auth})
}
