package adapter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Recovery is how much an adapter keeps so that clients that were away for a
// moment can resume where they stopped (connection state recovery). A limit of
// zero or less is none.
type Recovery struct {
	// Window is how long a session can be resumed after its disconnection.
	Window time.Duration
	// Grace is how long a lost connection may go unnoticed: packets are kept for
	// Window and Grace.
	Grace time.Duration
	// MaxPackets and MaxBytes bound the log of packets; the oldest go first.
	MaxPackets int
	MaxBytes   int64
	// MaxSessions bounds the sessions kept; the oldest go first.
	MaxSessions int
	// MaxReplayPackets and MaxReplayBytes bound what one session may have missed.
	MaxReplayPackets int
	MaxReplayBytes   int64
	// Expired, when not nil, is told the sessions that can no longer be resumed. It
	// is called without locks held and must not block.
	Expired func([]Session)
}

// RecoveryHost is implemented by Hosts that may want connection state recovery.
type RecoveryHost interface {
	// Recovery returns nil when recovery is off. It does not change.
	Recovery() *Recovery
}

// Session is what survives of a socket whose connection was lost.
type Session struct {
	ID   SocketID
	PID  string // the secret the client resumes with
	Data json.RawMessage
	// Rooms, the own room among them, and At, the time of the disconnection, are
	// set by the adapter.
	Rooms []Room
	At    time.Time
}

// ErrNoSession is returned for a session that does not exist, has expired, is
// being resumed by another connection, or whose missed packets are not all known.
var ErrNoSession = errors.New("socketio: session cannot be recovered")

// The following match ErrNoSession and tell why, where it is not that the session
// does not exist, has expired or is being resumed.
var (
	// ErrSessionTrimmed says that what the client missed is not all kept, or more than
	// is replayed.
	ErrSessionTrimmed = fmt.Errorf("%w: what it missed is not all there", ErrNoSession)
	// ErrSessionOffset says that the offset is not one of this log, of which there is a
	// new one when its keeper has started again.
	ErrSessionOffset = fmt.Errorf("%w: its offset is of another log", ErrNoSession)
	// ErrSessionStore says that where sessions or packets are kept does not answer.
	ErrSessionStore = fmt.Errorf("%w: its store does not answer", ErrNoSession)
)

// SessionStore is implemented by adapters that can resume sessions, where their
// host has recovery on.
//
// Such an adapter appends an Offset, as one more string argument, to every event
// that neither is volatile nor wants an answer, and keeps these events; clients
// present the last offset they saw when they return. An event to one socket is
// kept like one to the room of its id, whether or not that socket is connected.
type SessionStore interface {
	// Save keeps the session of m, which is disconnecting and still in its rooms. It
	// replaces an earlier one of the same pid and never blocks on I/O.
	Save(m Member, s Session)
	// Claim reserves the session of pid for one connection, or returns an error
	// that matches ErrNoSession. offset is whatever the client presented, empty
	// when it never received one. ctx bounds the call only.
	Claim(ctx context.Context, pid string, offset Offset) (Claim, error)
	// Saved returns how many sessions this node keeps.
	Saved() int
}

// SessionKeeper is implemented by SessionStores that other processes read: they
// keep the sessions of connected sockets too, so that these can be resumed when
// the process dies without a word. Rooms they watch themselves.
type SessionKeeper interface {
	SessionStore
	// Keep tells the session of m, which is connected, and again when its data has
	// changed. It never blocks on I/O. The session lasts until m leaves all rooms:
	// it is kept for the client's return if Save was called before, and forgotten
	// if not.
	Keep(m Member, s Session)
}

// Flusher is implemented by adapters that deliver an event to local sockets some
// time after it was sent to them.
type Flusher interface {
	// Flush queues for m, which is about to be disconnected for good, what was sent
	// to it on this node and has not reached it yet. It never blocks on I/O.
	Flush(m Member)
}

// Claim is a session that one connection is resuming. Its methods never block on
// I/O; of Release and Confirm only the first call counts.
type Claim interface {
	// Session returns what was saved. It must not be changed.
	Session() *Session
	// Resume makes m a member of the session's rooms and of rooms. First it queues
	// the missed packets for m, in order, then it calls ready, which must not call
	// the adapter; m gets every later packet after that, none twice and none left
	// out. After an error m is no member and its connection should be closed.
	Resume(m Member, ready func(), rooms ...Room) error
	// Missed returns how many packets Resume has queued.
	Missed() int
	// Confirm ends the session: the client is back, or must not come back.
	Confirm()
	// Release makes the session available again until it expires.
	Release()
}
