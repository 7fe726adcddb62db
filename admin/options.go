package admin

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/socketfleet/socketfleet/core"
)

// Bounds of the cost of Options.PasswordHash: below, a stolen hash is guessed too
// soon; above, one login keeps a core busy for seconds.
const (
	minCost = 10
	maxCost = 15
)

// Options configure Instrument. Username and PasswordHash are required; the zero
// value of every other field means its default.
type Options struct {
	// Namespace is the namespace the UI connects to. Default "/admin".
	Namespace string

	// Username and PasswordHash are what the UI asks its user for. The hash is one
	// of bcrypt with a cost from 10 to 15, as `htpasswd -nbBC 10 admin <password>`
	// prints behind the colon.
	Username     string
	PasswordHash string

	// Writable lets the UI emit events and make sockets join and leave rooms and
	// disconnect. Default: it can only look.
	Writable bool
	// Development reports every socket, room and event. Default: statistics only.
	Development bool

	// ServerID tells this server from others in the UI. Default: its node id.
	ServerID string
	// Origins lists the browser origins, such as "https://admin.example.com", that
	// may use the namespace, out of those the server lets in. Requests without an
	// Origin header pass. Default: all of them.
	Origins []string

	// Store keeps the sessions of logged-in users. Nodes that share one accept each
	// other's sessions, so that the UI may reconnect to any. Default: the memory of
	// this process.
	Store Store
	// SessionDuration is how long a user stays logged in. Default 8 h.
	SessionDuration time.Duration
	// LoginAttempts bounds the failed logins of one client address per minute, as
	// core.Options.TrustedProxies tell it; of IPv6 the first 64 bits count.
	// Default 5.
	LoginAttempts int

	// Logger receives logins and, with Writable, what was done. Default
	// slog.Default().
	Logger *slog.Logger
}

// withDefaults returns a copy with every default filled in.
func (o *Options) withDefaults(srv *core.Server) (Options, error) {
	if o == nil || o.Username == "" || o.PasswordHash == "" {
		return Options{}, errors.New("socketio: admin: Username and PasswordHash are required")
	}
	out := *o
	cost, err := bcrypt.Cost([]byte(out.PasswordHash))
	if err != nil {
		return Options{}, fmt.Errorf("socketio: admin: PasswordHash is not one of bcrypt: %w", err)
	}
	if cost < minCost || cost > maxCost {
		return Options{}, fmt.Errorf("socketio: admin: PasswordHash has cost %d, want %d to %d", cost, minCost, maxCost)
	}
	if out.SessionDuration < 0 || out.LoginAttempts < 0 {
		return Options{}, errors.New("socketio: admin: SessionDuration and LoginAttempts cannot be negative")
	}
	out.Namespace = "/" + strings.TrimPrefix(cmp.Or(out.Namespace, "/admin"), "/")
	if out.Namespace == "/" {
		return Options{}, errors.New(`socketio: admin: Namespace cannot be "/": its clients would need the password`)
	}
	out.ServerID = cmp.Or(out.ServerID, srv.NodeID())
	out.SessionDuration = cmp.Or(out.SessionDuration, 8*time.Hour)
	out.LoginAttempts = cmp.Or(out.LoginAttempts, 5)
	out.Logger = cmp.Or(out.Logger, slog.Default())
	if out.Store == nil {
		out.Store = newMemoryStore()
	}
	return out, nil
}
