package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// Log is implemented by a Bus that keeps broadcasts, joins, leaves and
// disconnects in a log every node of the deployment reads in one order. All methods are safe for
// concurrent use and may block until ctx is done.
type Log interface {
	Bus
	Vault
	// ValidOffset reports whether a text a client presented has the form of an
	// offset; the other methods get no others.
	ValidOffset(adapter.Offset) bool
	// Before compares offsets of one log. The empty one precedes all others.
	Before(a, b adapter.Offset) bool
	// Append adds m and returns its offset.
	Append(ctx context.Context, m *Message) (adapter.Offset, error)
	// ReadLog calls fn for every Broadcast and Hole of a namespace behind the entry
	// after, up to and including upTo, until fn returns false. It returns ErrTrimmed
	// unless the log had the entry after, and all that followed it was there to be read.
	ReadLog(ctx context.Context, ns string, after, upTo adapter.Offset, fn func(m *Message, at adapter.Offset) bool) error
}

// Vault is implemented by a Bus that can store sessions where every node finds
// them. Its methods are safe for concurrent use and may block until ctx is done.
type Vault interface {
	// WriteSessions stores and deletes sessions, in order. After an error some may
	// have been written; all will be again.
	WriteSessions(ctx context.Context, batch []SessionWrite) error
	// TakeSession removes the session of pid and returns it: of several callers
	// only one gets it, the others an error that matches adapter.ErrNoSession.
	TakeSession(ctx context.Context, pid string) (*StoredSession, error)
}

// ErrTrimmed is returned for a part of a log that is not there, or no longer.
var ErrTrimmed = errors.New("socketio: part of the log is missing")

// SessionWrite is one change of the stored sessions.
type SessionWrite struct {
	PID     string
	Session *StoredSession // nil: delete
	TTL     time.Duration
}

// StoredSession is a session and what its node knew of the client's place in the
// log, in offsets. Namespace is empty in the sessions of servers that store
// nothing but the Session: with those the client's word counts.
type StoredSession struct {
	adapter.Session
	Namespace string
	Base      adapter.Offset // the last event of the client when it connected; empty: none
	From      adapter.Offset // a client that still presents Base resumes behind this entry
	Last      adapter.Offset // the newest event sent to it since; empty: none
	Left      adapter.Offset // Last, when it last left a room, or got an event without offset
	Pos       adapter.Offset // all entries up to here have been sent to it if they were for it
	Lost      bool           // it was sent an event that has no offset
	TTL       time.Duration  // what remains of it; set by TakeSession
}

// start says behind which entry a client that presents offset resumes. It is not
// ok where it cannot be told what the client missed.
func (s *StoredSession) start(log Log, offset adapter.Offset) (from adapter.Offset, ok bool) {
	newest := s.Last
	if newest == "" {
		newest = s.Base
	}
	switch {
	case s.Namespace == "":
		return offset, offset != ""
	case s.Lost || log.Before(offset, s.Left):
		return "", false
	case offset == newest:
		return s.Pos, true // however long ago that was
	case log.Before(newest, offset): // sent after the session was stored
		return offset, log.Before(s.Pos, offset)
	case offset == s.Base:
		return s.From, true
	}
	return offset, true
}
