package adapter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// DefaultURL is what an empty URL stands for: one node, no other process.
const DefaultURL = "memory://"

// Opener opens the provider an URL describes. ctx bounds the opening only. An
// opener reads its parameters with NewParams and returns Params.Err, so that a
// misspelled parameter never goes unnoticed.
type Opener func(ctx context.Context, u *url.URL) (Provider, error)

// Registry maps URL schemes to openers. The zero value is an empty registry. It
// is safe for concurrent use and must not be copied after first use.
type Registry struct {
	mu      sync.RWMutex // guards openers; leaf lock
	openers map[string]Opener
}

// defaults is what Register and Open use. Packages add themselves in init.
var defaults Registry

// Register adds a scheme to the default registry. It panics where
// Registry.Register does.
func Register(scheme string, open Opener) { defaults.Register(scheme, open) }

// Open opens rawURL through the default registry.
func Open(ctx context.Context, rawURL string) (Provider, error) {
	return defaults.Open(ctx, rawURL)
}

// Register adds a scheme. It panics when the scheme is empty or taken, or open
// is nil: those are mistakes of the program, not of its configuration.
func (r *Registry) Register(scheme string, open Opener) {
	scheme = strings.ToLower(scheme)
	if scheme == "" || open == nil {
		panic("adapter: Register needs a scheme and an opener")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.openers[scheme]; taken {
		panic("adapter: scheme " + scheme + " is registered twice")
	}
	if r.openers == nil {
		r.openers = make(map[string]Opener)
	}
	r.openers[scheme] = open
}

// Schemes returns the registered schemes in alphabetical order.
func (r *Registry) Schemes() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Sorted(maps.Keys(r.openers))
}

// Open opens the provider that rawURL names by its scheme; an empty rawURL means
// DefaultURL. Its errors never contain a password.
func (r *Registry) Open(ctx context.Context, rawURL string) (Provider, error) {
	if rawURL == "" {
		rawURL = DefaultURL
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		// The parser's own text can quote a piece of the password.
		return nil, fmt.Errorf("socketio: adapter URL %q cannot be parsed (user and password must be percent-encoded)", Redact(rawURL))
	}
	r.mu.RLock()
	open := r.openers[u.Scheme]
	r.mu.RUnlock()
	if open == nil {
		return nil, r.unknown(u.Scheme, rawURL)
	}
	p, err := open(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("socketio: open adapter %s: %w", Redact(rawURL), err)
	}
	return p, nil
}

// imports names the package that registers a scheme, by the scheme's part before
// the first "+".
var imports = map[string]string{
	"memory": "github.com/socketfleet/socketfleet/adapter/memory",
	"redis":  "github.com/socketfleet/socketfleet/adapter/redis",
	"rediss": "github.com/socketfleet/socketfleet/adapter/redis",
	"nats":   "github.com/socketfleet/socketfleet/adapter/nats",
	"tls":    "github.com/socketfleet/socketfleet/adapter/nats",
}

func (r *Registry) unknown(scheme, rawURL string) error {
	known := strings.Join(r.Schemes(), ", ")
	if known == "" {
		known = "none"
	}
	if scheme == "" {
		return fmt.Errorf("socketio: adapter URL %q has no scheme (registered: %s)", Redact(rawURL), known)
	}
	hint := ""
	family, _, _ := strings.Cut(scheme, "+")
	if path, ok := imports[family]; ok {
		hint = fmt.Sprintf("; add the line: import _ %q", path)
	}
	return fmt.Errorf("socketio: unknown adapter scheme %q (registered: %s)%s", scheme, known, hint)
}

const hidden = "xxxxx"

// Redact returns rawURL fit for logs: passwords and parameters that look like
// secrets are replaced. Text that is no clean URL loses everything before its
// last "@", because a password that was not percent-encoded ends anywhere.
func Redact(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Opaque != "" || strings.Count(rawURL, "@") > 1 ||
		(u.User == nil && strings.Contains(rawURL, "@")) {
		return redactText(rawURL)
	}
	_, secret := u.User.Password()
	if secret {
		u.User = url.UserPassword(u.User.Username(), hidden)
	}
	if query := redactQuery(u.RawQuery); query != u.RawQuery {
		u.RawQuery, secret = query, true
	}
	if !secret {
		return rawURL
	}
	return u.String()
}

func redactText(raw string) string {
	prefix := ""
	if i := strings.Index(raw, "://"); i >= 0 {
		prefix, raw = raw[:i+3], raw[i+3:]
	}
	if i := strings.LastIndexByte(raw, '@'); i >= 0 {
		raw = hidden + raw[i:]
	}
	if path, query, ok := strings.Cut(raw, "?"); ok {
		raw = path + "?" + redactQuery(query)
	}
	return prefix + raw
}

func redactQuery(query string) string {
	parts := strings.Split(query, "&")
	for i, part := range parts {
		if name, _, ok := strings.Cut(part, "="); ok && secretName(name) {
			parts[i] = name + "=" + hidden
		}
	}
	return strings.Join(parts, "&")
}

// secretName reports whether a parameter's value should stay out of logs.
func secretName(name string) bool {
	if plain, err := url.QueryUnescape(name); err == nil {
		name = plain
	}
	name = strings.ToLower(name)
	for _, word := range []string{"pass", "pwd", "secret", "token", "credential", "apikey", "api_key"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// ErrQueueFull is returned by Broadcast and ServerSideEmit when the queue of
// messages for the other nodes is full or has stood still for too long. Local
// sockets have received the packet.
var ErrQueueFull = errors.New("socketio: outbound queue is full")

// ErrClosed is returned by the operations of an adapter or a server that has been
// closed.
var ErrClosed = errors.New("socketio: closed")
