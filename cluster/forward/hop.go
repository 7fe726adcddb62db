package forward

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/socketfleet/socketfleet/internal/sid"
)

const (
	// hopHeader carries a hop and its signature. In a response it says that the hop
	// was refused.
	hopHeader = "Socketfleet-Hop"
	// maxHop bounds the header in bytes.
	maxHop = 4 << 10
	// window is how far the clocks of two nodes may be apart, with the time a hop
	// travels.
	window = 30 * time.Second
)

// Faults of a client's body, for the owner to act upon.
const (
	faultAborted = "aborted"
	faultTooBig  = "oversized"
)

// hop is what a node says about the request it hands over.
type hop struct {
	At    int64  `json:"t"` // Unix milliseconds
	Nonce string `json:"n"`
	From  string `json:"f"` // owner names
	To    string `json:"o"`
	Peer  string `json:"p"` // RemoteAddr of the client's connection
	Host  string `json:"h"`
	TLS   bool   `json:"s,omitempty"`
	Body  string `json:"b"` // SHA-256
	Fault string `json:"x,omitempty"`
}

// signer signs and checks hops.
type signer struct {
	key []byte
	own string // this node's owner name

	seen nonces
}

func newSigner(secret, own string) *signer {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("socketfleet hop 1"))
	return &signer{key: mac.Sum(nil), own: own}
}

// sign returns the header of a hop to another node.
func (s *signer) sign(r *http.Request, uri, to string, body []byte, fault string) string {
	h := hop{
		At: time.Now().UnixMilli(), Nonce: sid.New(), From: s.own, To: to,
		Peer: r.RemoteAddr, Host: r.Host, TLS: r.TLS != nil, Body: digest(body), Fault: fault,
	}
	text, _ := json.Marshal(h)
	packed := base64.RawURLEncoding.EncodeToString(text)
	return packed + "." + s.code(r.Method, uri, packed)
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (s *signer) code(method, uri, packed string) string {
	mac := hmac.New(sha256.New, s.key)
	for _, part := range []string{method, "\n", uri, "\n", packed} {
		mac.Write([]byte(part))
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// check returns the hop that a request carries, or why it is refused. It does not
// look at the body.
func (s *signer) check(r *http.Request) (hop, Refusal) {
	values := r.Header[hopHeader]
	if len(values) != 1 || len(values[0]) > maxHop {
		return hop{}, Malformed
	}
	packed, code, _ := strings.Cut(values[0], ".")
	if !hmac.Equal([]byte(code), []byte(s.code(r.Method, r.RequestURI, packed))) {
		return hop{}, Forged
	}
	var h hop
	text, err := base64.RawURLEncoding.DecodeString(packed)
	if err != nil || json.Unmarshal(text, &h) != nil {
		return hop{}, Malformed
	}
	now := time.Now()
	if age := now.Sub(time.UnixMilli(h.At)); age > window || age < -window {
		return h, Expired
	}
	if h.To != s.own {
		return h, WrongNode
	}
	if !s.seen.first(h.Nonce, now) {
		return h, Replayed
	}
	return h, ""
}

// restore returns the client's request.
func (h *hop) restore(r *http.Request) *http.Request {
	out := r.WithContext(markForwarded(r.Context()))
	out.Header = r.Header.Clone()
	delete(out.Header, hopHeader)
	out.RemoteAddr, out.Host, out.TLS = h.Peer, h.Host, nil
	if h.TLS {
		out.TLS = &tls.ConnectionState{HandshakeComplete: true}
	}
	return out
}
