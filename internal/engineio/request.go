package engineio

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxHeaderBytes bounds what is kept of a handshake request's headers.
const maxHeaderBytes = 8 << 10

// Request is what a session keeps of its handshake request: one string with the
// headers, which is a tenth of what the *http.Request and its buffers hold.
type Request struct {
	headers string // "Name: value\n", sorted by name
	uri     string
	addr    string
	issued  time.Time
	secure  bool
	cross   bool
}

func (srv *Server) newRequest(r *http.Request) Request {
	uri := r.RequestURI
	if uri == "" {
		uri = r.URL.RequestURI()
	}
	return Request{
		headers: packHeaders(r),
		uri:     strings.Clone(uri),
		addr:    strings.Clone(srv.clientAddr(r)),
		issued:  time.Now(),
		secure:  srv.secure(r),
		cross:   len(r.Header["Origin"]) > 0,
	}
}

func packHeaders(r *http.Request) string {
	type field struct{ name, value string }
	fields := make([]field, 0, len(r.Header)+1)
	fields = append(fields, field{"Host", r.Host})
	for name, values := range r.Header {
		for _, v := range values {
			fields = append(fields, field{name, v})
		}
	}
	slices.SortStableFunc(fields, func(a, b field) int { return cmp.Compare(a.name, b.name) })
	size := 0
	kept := fields[:0]
	for _, f := range fields {
		n := len(f.name) + len(f.value) + 3
		if size+n > maxHeaderBytes || strings.ContainsAny(f.value, "\r\n") {
			continue
		}
		size += n
		kept = append(kept, f)
	}
	var b strings.Builder
	b.Grow(size)
	for _, f := range kept {
		b.WriteString(f.name)
		b.WriteString(": ")
		b.WriteString(f.value)
		b.WriteByte('\n')
	}
	return b.String()
}

// Header returns the request's headers, Host among them. Headers that would take
// more than 8 KiB together are left out. The result is the caller's.
func (q *Request) Header() http.Header {
	h := make(http.Header)
	for line := range strings.Lines(q.headers) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		h[name] = append(h[name], value)
	}
	return h
}

// URL returns the request's URI as the client sent it.
func (q *Request) URL() string { return q.uri }

// Query returns the parameters of the URL; of several with one name the last.
func (q *Request) Query() url.Values {
	_, raw, _ := strings.Cut(q.uri, "?")
	values := make(url.Values)
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		values.Set(unescape(name), unescape(value))
	}
	return values
}

// RemoteAddr returns the client's address without a port. It comes from
// X-Forwarded-For only where a trusted proxy says so.
func (q *Request) RemoteAddr() string { return q.addr }

// Secure reports whether the client used TLS.
func (q *Request) Secure() bool { return q.secure }

// CrossDomain reports whether the request had an Origin header.
func (q *Request) CrossDomain() bool { return q.cross }

// Issued returns when the request arrived.
func (q *Request) Issued() time.Time { return q.issued }

// queryValue returns the last value of a parameter, as the URL standard parses
// queries: malformed escapes stand for themselves.
func queryValue(raw, name string) string {
	value, _ := queryLookup(raw, name)
	return value
}

// queryHas reports whether a parameter is there, even if empty.
func queryHas(raw, name string) bool {
	_, found := queryLookup(raw, name)
	return found
}

func queryLookup(raw, name string) (value string, found bool) {
	for raw != "" {
		pair := raw
		if i := strings.LastIndexByte(raw, '&'); i >= 0 {
			raw, pair = raw[:i], raw[i+1:]
		} else {
			raw = ""
		}
		key, value, _ := strings.Cut(pair, "=")
		if unescape(key) == name {
			return unescape(value), true
		}
	}
	return "", false
}

func unescape(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b = append(b, ' ')
		case s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			b = append(b, s[i])
		}
	}
	return string(b)
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// valuesOnly keeps the values of a request's context, which authentication
// middleware may have put there, and drops its cancellation.
func valuesOnly(r *http.Request) context.Context {
	return context.WithoutCancel(r.Context())
}
