package core

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"

	"github.com/socketfleet/socketfleet/internal/parser"
)

// This file is what differs for clients of Socket.IO 2.x, which speak Engine.IO 3
// and which Options.AllowEIO3 lets in (socket.io lib/client.ts, namespace.ts,
// socket.ts): they are in "/" from the start, know their id without being told,
// pass parameters in the query of a namespace, and take other error payloads.

// v2 reports whether the client is one of Socket.IO 2.x.
func (c *client) v2() bool { return c.sess.Protocol() == 3 }

// joinRoot takes a 2.x client into "/", for which it never asks.
func (c *client) joinRoot() {
	c.join(&parser.Packet{Type: parser.Connect, Namespace: "/"})
}

// v2SocketID returns the id of the client's socket in a namespace. A 2.x client
// derives it from its session.
func (c *client) v2SocketID(nsp string) string {
	if nsp == "/" {
		return c.sess.ID()
	}
	return nsp + "#" + c.sess.ID()
}

// resolveV2 reads the namespace of a 2.x client's packet as the URL it is: the path
// names the namespace, the query of a CONNECT is its payload.
func resolveV2(p *parser.Packet) {
	name, query := splitNamespace(p.Namespace)
	p.Namespace = name
	if p.Type != parser.Connect {
		return
	}
	auth := make(map[string]string)
	for pair := range strings.SplitSeq(query, "&") {
		if pair != "" {
			key, value, _ := strings.Cut(pair, "=")
			auth[unescapeV2(key)] = unescapeV2(value)
		}
	}
	p.Data, _ = json.Marshal(auth) // strings can always be encoded
}

// splitNamespace normalizes the path of a namespace as the URL standard does, and
// returns its query. An authority is not looked for: "//x" is a path.
func splitNamespace(raw string) (name, query string) {
	raw, _, _ = strings.Cut(raw, "#")
	raw, query, _ = strings.Cut(raw, "?")
	if plainPath(raw) {
		return raw, query
	}
	raw = strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(raw)
	var path []string
	segments := strings.Split(strings.TrimPrefix(raw, "/"), "/")
	for i, segment := range segments {
		dots := strings.ReplaceAll(strings.ToLower(segment), "%2e", ".")
		if dots == ".." && len(path) > 0 {
			path = path[:len(path)-1]
		}
		if dots != "." && dots != ".." {
			path = append(path, escapeSegment(segment))
		} else if i == len(segments)-1 {
			path = append(path, "")
		}
	}
	return "/" + strings.Join(path, "/"), query
}

// plainPath reports whether a path is what it would be normalized to. It spares
// the work for nearly all names.
func plainPath(s string) bool {
	for i := range len(s) {
		if c := s[i]; c == '.' || c == '%' || c == '\\' || escapes(c) {
			return false
		}
	}
	return s != ""
}

// escapes reports whether the URL standard percent-encodes c in paths.
func escapes(c byte) bool {
	return c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>`{}", c) >= 0
}

func escapeSegment(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; escapes(c) {
			b.Write([]byte{'%', hex[c>>4], hex[c&0xf]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescapeV2 decodes a part of a query; one that is malformed stands for itself.
func unescapeV2(s string) string {
	text, err := url.QueryUnescape(s)
	if err != nil {
		text = s
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// middlewareErrorV2 is what a 2.x client gets when a middleware refuses it: the
// error's data, or else its message, without an object around it.
func middlewareErrorV2(marshal func(any) ([]byte, error), err error) []byte {
	message := err.Error()
	var ce *ConnectError
	if errors.As(err, &ce) {
		message = ce.Message
		if data, err := marshal(ce.Data); err == nil && !falsy(data) {
			return data
		}
	}
	data, _ := json.Marshal(message) // a string can always be encoded
	return data
}

// falsy reports whether JavaScript takes a JSON value for false.
func falsy(data []byte) bool {
	switch string(data) {
	case "null", "false", "0", `""`:
		return true
	}
	return false
}
