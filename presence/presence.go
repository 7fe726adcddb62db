package presence

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/socketfleet/socketfleet/core"
)

// Errors of Track.
var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("socketio: presence is closed")
	// ErrTooMany is returned beyond Options.MaxSockets.
	ErrTooMany = errors.New("socketio: presence: too many sockets are tracked")
	// ErrTooLong is returned for a key over 256 bytes and meta over Options.MaxMeta.
	ErrTooLong = errors.New("socketio: presence: too long")
)

// maxKey is the longest key, in bytes.
const maxKey = 256

// Options configure a Presence. The zero value of every field means its default.
// Lease must be the same on all nodes, and Grace should be.
type Options struct {
	// Lease is how long the members of a node stay when nothing is heard of it. A
	// third of it is the interval at which a node shows that it is alive. At least
	// 100 ms; default 15 s.
	Lease time.Duration
	// Grace is how long a member whose last socket has gone stays, in case that it
	// comes back. Default 0: it leaves at once.
	Grace time.Duration
	// Event, when not empty, is the name of an event that the clients in a room get
	// with every Event of the room as its argument, from their own node. Default:
	// none.
	Event string

	// MaxMeta bounds the JSON text of the meta of one socket, in bytes. Default
	// 1024.
	MaxMeta int
	// MaxSockets bounds what this node tracks: pairs of a socket and a room. Default
	// 100,000.
	MaxSockets int
	// MaxTotal bounds what this node keeps of all nodes, its own included. What other
	// nodes have on top is not listed here until there is room. Default 1,000,000.
	MaxTotal int

	// Logger receives what an operator should know. Default slog.Default().
	Logger *slog.Logger
}

func (o *Options) setDefaults() error {
	o.Lease = cmp.Or(o.Lease, 15*time.Second)
	o.MaxMeta = cmp.Or(o.MaxMeta, 1024)
	o.MaxSockets = cmp.Or(o.MaxSockets, 100_000)
	o.MaxTotal = cmp.Or(o.MaxTotal, 1_000_000)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Lease < 100*time.Millisecond || o.Grace < 0 || o.MaxMeta < 0 || o.MaxSockets < 0 || o.MaxTotal < 0 {
		return errors.New("socketio: presence: options: a bound is negative, or Lease below 100 ms")
	}
	return nil
}

// member is what is tracked: a *core.Socket.
type member interface{ ID() string }

// bus reaches the other nodes. It never blocks.
type bus interface {
	emit(payload []byte) error
	// count returns how many nodes there are, this one included.
	count(ctx context.Context) (int, error)
	// tell hands an event to the clients in its room on this node.
	tell(name string, e Event) error
}

// Presence tells who is in the rooms of one namespace. Make one per namespace and
// node with New.
type Presence struct {
	// Immutable after New.
	opts Options
	bus  bus
	log  *slog.Logger
	node string // the name of this process

	wake    chan struct{} // there is something to send
	news    chan struct{} // there is something to announce
	stop    chan struct{} // closed by Close
	ready   chan struct{} // closed when the other nodes have been heard, or for long enough
	workers sync.WaitGroup

	mu     sync.Mutex // guards the following; leaf lock
	closed bool
	table
	self   *peer
	local  map[member][]*entry
	peers  map[string]*peer // the other nodes
	expect int              // nodes to be heard before ready; negative: not known
	outbox outbox
	hooks  hooks
	stats  Stats
}

// New returns the presence of a namespace. It fails when an option is wrong. Close it
// before the server is shut down.
func New(ns *core.Namespace, opts Options) (*Presence, error) {
	p, err := newPresence(&link{ns: ns, event: opts.Event}, ns.NodeID(), opts)
	if err != nil {
		return nil, err
	}
	ns.OnServerEvent(wireEvent, func(_ context.Context, e *core.ServerEvent) error {
		p.receive(e.Args.Raw(0))
		return nil
	})
	ns.OnRoom(func(e core.RoomEvent) {
		if e.Change == core.RoomLeft && p.tracks(e.Socket, e.Room) && !slices.Contains(e.Socket.Rooms(), e.Room) {
			p.untrack(e.Socket, e.Room)
		}
	})
	ns.OnDisconnect(func(_ context.Context, s *core.Socket, _ core.DisconnectReason) { p.untrackAll(s) })
	p.start()
	return p, nil
}

// newPresence is New without the namespace, and without starting.
func newPresence(b bus, node string, opts Options) (*Presence, error) {
	if err := opts.setDefaults(); err != nil {
		return nil, err
	}
	p := &Presence{
		opts:   opts,
		bus:    b,
		log:    opts.Logger,
		node:   node,
		wake:   make(chan struct{}, 1),
		news:   make(chan struct{}, 1),
		stop:   make(chan struct{}),
		ready:  make(chan struct{}),
		table:  newTable(opts.Grace),
		self:   newPeer(rand.Text(), node),
		local:  make(map[member][]*entry),
		peers:  make(map[string]*peer),
		expect: -1,
	}
	return p, nil
}

func (p *Presence) start() {
	p.workers.Go(p.run)
	p.workers.Go(p.announce)
	p.workers.Go(p.awaitPeers)
}

// Close says goodbye to the other nodes, where the members of this one leave, and
// stops. Listeners that run are waited for as long as ctx allows; the error is then
// ctx's. Later calls do nothing. A listener must not call it.
func (p *Presence) Close(ctx context.Context) error {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	p.mu.Unlock()
	if !first {
		return nil
	}
	close(p.stop)
	done := make(chan struct{})
	go func() { p.workers.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("socketio: close presence: listeners still running: %w", ctx.Err())
	}
}

// Track lets s join room, if it has not, and counts it for the member of that key
// there, until Untrack, until it leaves the room or disconnects. meta is what
// encoding/json makes of it; a second call for the same socket and room replaces it,
// and the key. A recovered socket has to be tracked again, best in OnConnect; in a
// namespace middleware a socket cannot be tracked. Track waits for nothing; it fails
// with ctx's error when ctx is done, and with ErrTooMany, ErrTooLong, ErrClosed, or
// what Socket.Join or encoding/json returns.
func (p *Presence) Track(ctx context.Context, s *core.Socket, room, key string, meta any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !s.Connected() {
		return core.ErrDisconnected
	}
	if err := s.Join(room); err != nil {
		return err
	}
	if err := p.track(s, room, key, meta); err != nil {
		return err
	}
	// Whoever listens to sockets that go may have been called before.
	if !s.Connected() {
		p.untrackAll(s)
		return core.ErrDisconnected
	}
	if !slices.Contains(s.Rooms(), room) {
		p.untrack(s, room)
	}
	return nil
}

func (p *Presence) track(s member, room, key string, meta any) error {
	text, err := json.Marshal(meta)
	if err != nil {
		return fmt.Errorf("socketio: presence: encode meta: %w", err)
	}
	if !utf8.ValidString(room) || !utf8.ValidString(key) {
		return errors.New("socketio: presence: room or key is not UTF-8")
	}
	if len(key) > maxKey || len(text) > p.opts.MaxMeta {
		return fmt.Errorf("%w: key of %d bytes, meta of %d", ErrTooLong, len(key), len(text))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	old := p.localLocked(s, room)
	if old == nil && (len(p.self.entries) >= p.opts.MaxSockets || p.count >= p.opts.MaxTotal) {
		return ErrTooMany
	}
	now := time.Now().UnixMilli()
	e := &entry{owner: p.self, socket: s.ID(), meta: string(text), at: now, since: now}
	switch {
	case old != nil && old.user.key == key:
		if old.meta == e.meta {
			return nil
		}
		e.ref, e.user, e.since, e.at = old.ref, old.user, old.since, max(now, old.at+1)
		i := slices.Index(p.local[s], old)
		p.local[s][i] = e
	default:
		if old != nil {
			p.dropLocalLocked(s, old)
		}
		p.outbox.lastRef++
		e.ref, e.user = p.outbox.lastRef, p.user(room, key)
		p.local[s] = append(p.local[s], e)
	}
	p.put(e)
	p.outbox.add = append(p.outbox.add, e)
	p.signalLocked()
	return nil
}

// Untrack stops counting s in room. It stays in the room.
func (p *Presence) Untrack(s *core.Socket, room string) { p.untrack(s, room) }

func (p *Presence) untrack(s member, room string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.localLocked(s, room); e != nil {
		p.dropLocalLocked(s, e)
		p.signalLocked()
	}
}

func (p *Presence) untrackAll(s member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range slices.Clone(p.local[s]) {
		p.dropLocalLocked(s, e)
	}
	p.signalLocked()
}

func (p *Presence) tracks(s member, room string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.localLocked(s, room) != nil
}

func (p *Presence) localLocked(s member, room string) *entry {
	for _, e := range p.local[s] {
		if e.user.room.name == room {
			return e
		}
	}
	return nil
}

func (p *Presence) dropLocalLocked(s member, e *entry) {
	rest := slices.DeleteFunc(p.local[s], func(x *entry) bool { return x == e })
	if len(rest) == 0 {
		delete(p.local, s)
	} else {
		p.local[s] = rest
	}
	p.drop(e)
	p.outbox.del = append(p.outbox.del, e.ref)
}

// signalLocked wakes the goroutines that have to look.
func (p *Presence) signalLocked() {
	if p.outbox.waiting() {
		signal(p.wake)
	}
	if len(p.dirty) > 0 {
		signal(p.news)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
