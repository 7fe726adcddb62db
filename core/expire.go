package core

import (
	"context"
	"errors"
	"time"
)

// ErrExpired is the cause of the disconnection of a socket whose time, set with
// ExpireAt, has come.
var ErrExpired = errors.New("socketio: credentials expired")

// expireTimeout bounds the functions of OnExpire, which decide about one socket.
const expireTimeout = 30 * time.Second

// ExpireAt disconnects the socket at t, for example when the token it was
// authenticated with expires: the client is told, as by Disconnect(false), and
// the cause of the socket's context is ErrExpired. Functions added with OnExpire
// may grant more time. A later call replaces an earlier one; the zero time
// removes the limit.
func (s *Socket) ExpireAt(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopExpiryLocked()
	if t.IsZero() || s.closed() {
		return
	}
	s.expirySet++
	set := s.expirySet
	s.expiry = time.AfterFunc(time.Until(t), func() { s.expire(set) })
}

func (s *Socket) stopExpiryLocked() {
	if s.expiry != nil {
		s.expiry.Stop()
		s.expiry = nil
	}
}

// expire ends the socket unless it is granted more time. set tells whether
// ExpireAt has been called again meanwhile.
func (s *Socket) expire(set int) {
	srv := s.nsp.srv
	srv.work.Add(1)
	defer srv.work.Done()
	until := s.moreTime()
	s.mu.Lock()
	current := s.expirySet == set && !s.closed()
	s.mu.Unlock()
	switch {
	case !current:
	case until.After(time.Now()):
		s.ExpireAt(until)
	default:
		srv.stats.expired.Add(1)
		s.client.disconnect(s, ErrExpired)
	}
}

// moreTime asks the functions of OnExpire.
func (s *Socket) moreTime() (latest time.Time) {
	ctx, cancel := context.WithTimeout(s.Context(), expireTimeout)
	defer cancel()
	for h := range s.nsp.chain() {
		for _, fn := range h.expire {
			var t time.Time
			err := guard(func() (err error) { t, err = fn(ctx, s); return err })
			s.nsp.srv.failed("OnExpire", s.nsp, err)
			if err == nil && t.After(latest) {
				latest = t
			}
		}
	}
	return latest
}
