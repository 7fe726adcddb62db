package core

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/hist"
	"github.com/socketfleet/socketfleet/internal/sid"
)

// RecoveryOptions configure connection state recovery: a client that lost its
// connection resumes its session, with its id, rooms, data and the events it
// missed, when it returns within MaxDisconnection (socket.io lib/socket.ts,
// socket.io-adapter SessionAwareAdapter). The zero value of a field means its
// default; a negative limit is none.
//
// Events are kept unless they are volatile or want an acknowledgement. An Emit to
// a socket that has just disconnected returns ErrDisconnected, and its event is
// kept all the same. Whatever cannot be proved to be complete is not recovered:
// the client then gets a new session, and Socket.Recovered is false.
//
// The adapter keeps the sessions: memory:// for clients that come back to this
// process, redis+streams:// for those that come back to any node, also after this
// process was killed; redis:// and redis+sharded:// do the same with recovery=true,
// in a fleet of such servers only (package adapter/redis tells what it needs).
// Without that, and with an adapter that keeps no sessions, every recovery fails.
type RecoveryOptions struct {
	// MaxDisconnection is how long a client may be away. Default 2 minutes.
	MaxDisconnection time.Duration
	// RunMiddleware runs the namespace's middlewares for recovered sockets too. By
	// default they are skipped, as in the reference: a client that has been banned
	// meanwhile comes back.
	RunMiddleware bool
	// MaxPackets and MaxBytes bound the events kept per namespace. Defaults 10,000
	// and 64 MiB.
	MaxPackets int
	MaxBytes   int64
	// MaxSessions bounds the sessions kept per namespace. Default 100,000.
	MaxSessions int
	// MaxReplayPackets and MaxReplayBytes bound what one client may have missed.
	// Defaults 1,000 and 4 MiB, but at most half of Options.MaxQueueBytes, because
	// it is queued at once.
	MaxReplayPackets int
	MaxReplayBytes   int64
	// MaxRestores bounds the recoveries per second of this server. Default 1,000.
	MaxRestores int
	// OnSessionExpired, when not nil, is called for every session that can no
	// longer be recovered: its client is gone for good.
	OnSessionExpired func(SessionInfo)
}

// SessionInfo describes a session that has expired.
type SessionInfo struct {
	Namespace      string
	SocketID       string
	Rooms          []string
	Data           json.RawMessage // the socket's data attribute; nil when it was not set
	DisconnectedAt time.Time
}

func (o *RecoveryOptions) withDefaults() *RecoveryOptions {
	out := *o
	setDefault(&out.MaxDisconnection, 2*time.Minute)
	setDefault(&out.MaxPackets, 10_000)
	setDefault(&out.MaxBytes, 64<<20)
	setDefault(&out.MaxSessions, 100_000)
	setDefault(&out.MaxReplayPackets, 1000)
	setDefault(&out.MaxReplayBytes, 4<<20)
	setDefault(&out.MaxRestores, 1000)
	return &out
}

// defaultQueueBytes is what Options.MaxQueueBytes is when it is not set.
const defaultQueueBytes = 1 << 20

// Recovery implements adapter.RecoveryHost.
func (h *host) Recovery() *adapter.Recovery {
	srv := h.n.srv
	o := srv.opts.Recovery
	if o == nil || o.MaxDisconnection < 0 {
		return nil
	}
	queue := srv.opts.MaxQueueBytes
	setDefault(&queue, defaultQueueBytes)
	replay := o.MaxReplayBytes
	if half := int64(queue) / 2; half > 0 && (replay < 0 || replay > half) {
		replay = half
	}
	interval, timeout := srv.opts.PingInterval, srv.opts.PingTimeout
	setDefault(&interval, 25*time.Second)
	setDefault(&timeout, 20*time.Second)
	return &adapter.Recovery{
		Window:           o.MaxDisconnection,
		Grace:            max(interval, 0) + max(timeout, 0),
		MaxPackets:       o.MaxPackets,
		MaxBytes:         o.MaxBytes,
		MaxSessions:      o.MaxSessions,
		MaxReplayPackets: o.MaxReplayPackets,
		MaxReplayBytes:   replay,
		Expired:          h.n.sessionsExpired,
	}
}

var _ adapter.RecoveryHost = (*host)(nil)

// store returns nil for an adapter that keeps no sessions.
func (n *Namespace) store() adapter.SessionStore {
	store, _ := n.adapter.(adapter.SessionStore)
	return store
}

// savedSessions returns how many sessions of the namespace may still be resumed
// on this node.
func (n *Namespace) savedSessions() int {
	if store := n.store(); store != nil && n.srv.opts.Recovery != nil {
		return store.Saved()
	}
	return 0
}

// sessionsExpired tells the program, and removes the namespace if it was kept for
// these sessions only.
func (n *Namespace) sessionsExpired(list []adapter.Session) {
	srv := n.srv
	srv.work.Add(1)
	go func() {
		defer srv.work.Done()
		if fn := srv.opts.Recovery.OnSessionExpired; fn != nil {
			for _, s := range list {
				info := SessionInfo{n.name, s.ID, s.Rooms, s.Data, s.At}
				srv.failed("OnSessionExpired", n, guard(func() error { fn(info); return nil }))
			}
		}
		srv.mu.Lock()
		defer srv.mu.Unlock()
		n.collectLocked()
	}()
}

// lease is a socket's claim to be recovered. A nil one does nothing.
type lease struct {
	// Immutable after take.
	pid   string
	claim adapter.Claim // nil for a new session

	member      bool        // in its rooms; guarded by Socket.members
	unconfirmed atomic.Bool // the client has not shown that it is back
}

func (l *lease) joined() {
	if l != nil {
		l.member = true
	}
}

func (l *lease) release() {
	if l != nil && l.claim != nil {
		l.claim.Release()
	}
}

// resumption is the part of a CONNECT's payload that asks for recovery.
type resumption struct{ pid, offset string }

// parseResumption reports whether auth asks for a recovery that can be tried. The
// keys are those of the JavaScript client (socket.io-client lib/socket.ts); a
// client that never received an event presents no offset.
func parseResumption(auth json.RawMessage) (r resumption, ok bool) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(auth, &fields) != nil {
		return r, false
	}
	if raw, found := fields["offset"]; found && (!isString(raw) || json.Unmarshal(raw, &r.offset) != nil || r.offset == "") {
		return r, false
	}
	raw := fields["pid"]
	if !isString(raw) || json.Unmarshal(raw, &r.pid) != nil {
		return r, false
	}
	return r, len(r.pid) == sid.Len && sid.Valid(r.pid)
}

func isString(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '"' }

// admit is enter for a namespace at hand. Claiming a session may take I/O, which
// must not hold up the reader.
func (c *client) admit(n *Namespace, h Handshake) {
	if c.srv.opts.Recovery == nil || c.v2() {
		c.enter(n, h, nil)
		return
	}
	if _, ok := parseResumption(h.auth); !ok {
		c.enter(n, h, newLease())
		return
	}
	c.srv.work.Add(1)
	go func() {
		defer c.srv.work.Done()
		c.enter(n, h, c.claim(n, h.auth))
	}()
}

func newLease() *lease { return &lease{pid: sid.New()} }

// claim returns the session a client asks for, or else a new one; nil without
// Options.Recovery and for clients of Socket.IO 2.x, which know no recovery.
func (c *client) claim(n *Namespace, auth json.RawMessage) *lease {
	if c.srv.opts.Recovery == nil || c.v2() {
		return nil
	}
	r, ok := parseResumption(auth)
	if !ok {
		return newLease()
	}
	claim, err := n.claim(c, r)
	if err != nil {
		c.srv.restores.fail(err)
		c.srv.log.Debug("socketio: session not recovered", "event", "session.lost", "namespace", n.name, "error", err)
		return newLease()
	}
	return &lease{pid: r.pid, claim: claim}
}

func (n *Namespace) claim(c *client, r resumption) (adapter.Claim, error) {
	store := n.store()
	if store == nil {
		return nil, adapter.ErrNoSession
	}
	if !n.srv.restores.allow(n.srv.opts.Recovery.MaxRestores) {
		n.srv.stats.limit("restores")
		return nil, errRestores
	}
	return store.Claim(c.sess.Context(), r.pid, r.offset)
}

// take gives a new socket its lease, and what it recovers with it.
func (s *Socket) take(l *lease) {
	s.lease = l
	if !s.Recovered() {
		return
	}
	saved := l.claim.Session()
	s.id = saved.ID
	if saved.Data != nil {
		s.data.Store(&socketData{json: saved.Data, saved: true})
	}
}

// Recovered reports whether the socket resumed a session that had lost its
// connection; see Options.Recovery.
func (s *Socket) Recovered() bool { return s.lease != nil && s.lease.claim != nil }

// admitted runs the middlewares a socket has to pass.
func (s *Socket) admitted(ctx context.Context) error {
	if s.Recovered() && !s.nsp.srv.opts.Recovery.RunMiddleware {
		return nil
	}
	return s.runMiddleware(ctx)
}

// resume is the end of accept for a recovered socket. The missed events precede
// the reply: clients hold them back until it arrives. The caller holds s.members.
func (s *Socket) resume(rooms []Room) bool {
	l := s.lease
	err := l.claim.Resume(s, func() {
		l.unconfirmed.Store(true)
		s.reply()
	}, rooms...)
	if err != nil {
		// The client knows nothing yet: it will come back with the same pid.
		l.release()
		s.nsp.srv.work.Add(1)
		go func() {
			defer s.nsp.srv.work.Done()
			s.client.forceClose(err, false)
		}()
		return false
	}
	l.member = true
	s.keep()
	s.nsp.srv.restores.succeed(l.claim.Missed())
	return true
}

// confirm is called for every packet the client sends: it has got the reply.
func (s *Socket) confirm() {
	if l := s.lease; l != nil && l.unconfirmed.Load() && l.unconfirmed.CompareAndSwap(true, false) {
		l.claim.Confirm()
	}
}

// save keeps the session of a socket that is closing, if its client may come
// back. The caller holds s.members; the rooms have not been left yet.
func (s *Socket) save() {
	l := s.lease
	if l == nil {
		return
	}
	if !l.member {
		l.release()
		return
	}
	s.mu.Lock()
	reason := s.cause.Reason
	s.mu.Unlock()
	store := s.nsp.store()
	switch {
	case store != nil && reason.recoverable():
		store.Save(s, s.session())
	case l.claim != nil:
		l.claim.Confirm()
	}
}

// keep tells a store that outlives this process of a connected socket, and of its
// data as they are now. The caller holds s.members.
func (s *Socket) keep() {
	keeper, ok := s.nsp.adapter.(adapter.SessionKeeper)
	if l := s.lease; ok && l != nil && l.member && !s.left {
		keeper.Keep(s, s.session())
	}
}

// session returns what is kept of the socket but its rooms.
func (s *Socket) session() adapter.Session {
	saved := adapter.Session{ID: s.id, PID: s.lease.pid}
	if d := s.data.Load(); d != nil {
		saved.Data = d.json
	}
	return saved
}

// recoverable reports whether a client that was disconnected for this reason may
// resume its session (socket.io lib/socket.ts, RECOVERABLE_DISCONNECT_REASONS).
func (r DisconnectReason) recoverable() bool {
	switch r {
	case ReasonTransportClose, ReasonTransportError, ReasonPingTimeout, ReasonForcedClose, ReasonShuttingDown:
		return true
	}
	return false
}

// savedData decodes the data of a recovered session.
func savedData[T any](d *socketData) (v T, ok bool) {
	if json.Unmarshal(d.json, &v) != nil {
		var zero T
		return zero, false
	}
	return v, true
}

// restoreGate counts the recoveries and bounds them per second.
type restoreGate struct {
	results [len(recoveryResults)]atomic.Uint64
	packets *hist.Recorder // that recovered clients had missed

	mu     sync.Mutex // guards the following; leaf lock
	second time.Time
	count  int
}

func (g *restoreGate) allow(limit int) bool {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.second) >= time.Second {
		g.second, g.count = now, 0
	}
	g.count++
	return !exceeds(g.count, limit)
}
