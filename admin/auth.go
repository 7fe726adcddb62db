package admin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"slices"

	"golang.org/x/crypto/bcrypt"

	"github.com/socketfleet/socketfleet/core"
)

// The UI shows a text of its own for the first of these.
var (
	errCredentials = errors.New("invalid credentials")
	errAttempts    = errors.New("too many attempts, try again in a minute")
	errOrigin      = errors.New("origin not allowed")
)

// compareHash is a variable for the tests only.
var compareHash = bcrypt.CompareHashAndPassword

// credentials are what the UI puts into its CONNECT packet.
type credentials struct {
	SessionID string `json:"sessionId"`
	Username  string `json:"username"`
	Password  string `json:"password"`
}

// admit is the middleware of the namespace.
func (a *Admin) admit(ctx context.Context, s *core.Socket) error {
	h := s.Handshake()
	if origin := h.Header().Get("Origin"); origin != "" && len(a.opts.Origins) > 0 && !slices.Contains(a.opts.Origins, origin) {
		a.log.Warn("socketio: admin: origin not allowed", "event", "admin.origin_refused", "origin", origin)
		return errOrigin
	}
	var c credentials
	if err := json.Unmarshal(h.Auth(), &c); err != nil {
		return errCredentials
	}
	if c.SessionID != "" && a.resume(ctx, c.SessionID) {
		return nil
	}
	if c.Username == "" && c.Password == "" {
		return errCredentials // of a session that has ended
	}
	return a.login(ctx, s, c)
}

// resume reports whether a session exists.
func (a *Admin) resume(ctx context.Context, id string) bool {
	exists, err := a.opts.Store.Exists(ctx, id)
	if err != nil {
		a.log.Warn("socketio: admin: cannot look up a session", "event", "admin.store_failed", "error", err)
	}
	return err == nil && exists
}

func (a *Admin) login(ctx context.Context, s *core.Socket, c credentials) error {
	addr := s.Handshake().Address()
	if !a.limit.take(addr) {
		a.log.Warn("socketio: admin: too many failed logins", "event", "admin.login_limited", "address", addr)
		return errAttempts
	}
	if !a.matches(ctx, c) {
		a.log.Warn("socketio: admin: login failed", "event", "admin.login_failed", "address", addr)
		return errCredentials
	}
	a.limit.giveBack(addr)
	a.log.Info("socketio: admin: login", "event", "admin.login", "user", a.opts.Username, "address", addr)
	id := rand.Text()
	if err := a.opts.Store.Save(ctx, id, a.opts.SessionDuration); err != nil {
		// The user is in, but has to log in again after a lost connection.
		a.log.Warn("socketio: admin: cannot save a session", "event", "admin.store_failed", "error", err)
		return nil
	}
	a.logins.Store(s, id)
	context.AfterFunc(s.Context(), func() { a.logins.Delete(s) })
	return nil
}

// matches takes as long for a wrong name as for a wrong password. One login at a
// time is looked at, so that a flood of them takes one core at the most.
func (a *Admin) matches(ctx context.Context, c credentials) bool {
	select {
	case a.hashing <- struct{}{}:
		defer func() { <-a.hashing }()
	case <-ctx.Done():
		return false
	}
	want, got := sha256.Sum256([]byte(a.opts.Username)), sha256.Sum256([]byte(c.Username))
	name := subtle.ConstantTimeCompare(want[:], got[:]) == 1
	password := compareHash([]byte(a.opts.PasswordHash), []byte(c.Password)) == nil
	return name && password
}
