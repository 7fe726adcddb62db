package nats

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

// vault keeps sessions in a stream of their own, one subject each, of which only the
// last message is kept: none, or an empty one, is no session. It is made when a namespace that
// recovers sessions is opened.
type vault struct {
	// Immutable.
	bus *bus
	js  jetstream.JetStream // with a limit of messages on their way of its own
	cfg JetStream

	mu     sync.Mutex // guards the following; leaf lock
	stream jetstream.Stream
	keeps  time.Duration // how long the stream keeps messages; 0: not known
}

// minKeep is the least the stream of sessions keeps: more than sessions need with the
// default settings of the core.
const minKeep = 5 * time.Minute

func openVault(b *bus) (*vault, error) {
	js, err := jetstream.New(b.conn, jetstream.WithPublishAsyncMaxPending(maxPosted))
	if err != nil {
		return nil, fmt.Errorf("socketio: nats: %w", err)
	}
	return &vault{bus: b, js: js, cfg: *b.opts.JetStream}, nil
}

// subject returns the subject of a session. The secret a client resumes with is on
// no subject and in no message.
func (v *vault) subject(pid string) string {
	sum := sha256.Sum256([]byte(pid))
	return sessionPrefix(v.bus.opts.Prefix) + base64.RawURLEncoding.EncodeToString(sum[:24])
}

func (v *vault) name() string { return v.cfg.Stream + "_sessions" }

// config is that of a stream that keeps sessions for ttl.
func (v *vault) config(ttl time.Duration) jetstream.StreamConfig {
	c := v.cfg.config(v.bus.opts.Prefix)
	c.Name, c.Subjects = v.name(), []string{sessionPrefix(v.bus.opts.Prefix) + "*"}
	c.Description = "the sessions of a Socketfleet deployment's clients"
	c.MaxAge, c.MaxMsgs, c.MaxMsgsPerSubject = ttl, -1, 1
	c.Duplicates = min(maxDuplicates, c.MaxAge)
	return c
}

// known returns the stream if it is known to keep messages for ttl.
func (v *vault) known(ttl time.Duration) jetstream.Stream {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.keeps < ttl {
		return nil
	}
	return v.stream
}

func (v *vault) learn(s jetstream.Stream, keeps time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stream, v.keeps = s, keeps
}

// open returns the stream, which keeps messages for at least ttl.
func (v *vault) open(ctx context.Context, ttl time.Duration) (jetstream.Stream, error) {
	if s := v.known(ttl); s != nil {
		return s, nil
	}
	s, err := v.js.Stream(ctx, v.name())
	if errors.Is(err, jetstream.ErrStreamNotFound) && ttl > 0 {
		s, err = v.js.CreateStream(ctx, v.config(max(2*ttl, minKeep)))
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was faster
			s, err = v.js.Stream(ctx, v.name())
		}
	}
	if err != nil {
		return nil, err
	}
	c := s.CachedInfo().Config
	if c.MaxAge > 0 && c.MaxAge < ttl {
		c.MaxAge = 2 * ttl
		if s, err = v.js.UpdateStream(ctx, c); err != nil {
			return nil, err
		}
	}
	if c.MaxAge == 0 {
		c.MaxAge = 1<<63 - 1
	}
	v.learn(s, c.MaxAge)
	return s, nil
}

// write stores and deletes sessions. A session that is too large for the server is
// deleted: the one before it is not what the client has any more.
func (v *vault) write(ctx context.Context, batch []cluster.SessionWrite) error {
	longest := time.Duration(1)
	for _, w := range batch {
		longest = max(longest, w.TTL)
	}
	if _, err := v.open(ctx, longest); err != nil {
		return err
	}
	err := v.post(ctx, batch)
	if err != nil {
		v.learn(nil, 0) // it may be gone
	}
	return err
}

func (v *vault) post(ctx context.Context, batch []cluster.SessionWrite) error {
	futures := make([]jetstream.PubAckFuture, 0, len(batch))
	for _, w := range batch {
		f, err := v.put(w.PID, encodeSession(&w))
		if errors.Is(err, natsgo.ErrMaxPayload) {
			v.bus.opts.Logger.Debug("socketio: nats: session not stored", "namespace", w.Session.Namespace, "error", err)
			f, err = v.put(w.PID, nil)
		}
		if err != nil {
			return err
		}
		futures = append(futures, f)
	}
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (v *vault) put(pid string, data []byte) (jetstream.PubAckFuture, error) {
	return v.js.PublishMsgAsync(&natsgo.Msg{Subject: v.subject(pid), Data: data}, jetstream.WithRetryAttempts(0))
}

// take removes a session and returns it. The server deletes a message once, and tells
// only one that it did. To replace the message on the condition that it is the last of
// its subject is not enough: with replicas, nats-server 2.9 grants that to several.
func (v *vault) take(ctx context.Context, pid string) (*cluster.StoredSession, error) {
	s, err := v.open(ctx, 0)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, adapter.ErrNoSession // nobody has stored one
	}
	if err != nil {
		return nil, err
	}
	for tried := uint64(0); ; {
		msg, err := s.GetLastMsgForSubject(ctx, v.subject(pid))
		if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && len(msg.Data) == 0 {
			return nil, adapter.ErrNoSession
		}
		if err != nil {
			return nil, err
		}
		err = s.DeleteMsg(ctx, msg.Sequence)
		if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) && msg.Sequence != tried {
			tried = msg.Sequence // it was taken, or written anew
			continue
		}
		if err != nil {
			return nil, err
		}
		return decodeSession(msg.Data, pid, v.bus.journal.serverTime().Sub(msg.Time))
	}
}

// storedValue is a session in the stream, in JSON. The fields are those of
// cluster.StoredSession; times are in milliseconds.
type storedValue struct {
	SID       string          `json:"sid"`
	Rooms     []adapter.Room  `json:"rooms"`
	Data      json.RawMessage `json:"data,omitempty"`
	Namespace string          `json:"nsp"`
	Base      adapter.Offset  `json:"base,omitempty"`
	From      adapter.Offset  `json:"from,omitempty"`
	Last      adapter.Offset  `json:"last,omitempty"`
	Left      adapter.Offset  `json:"left,omitempty"`
	Pos       adapter.Offset  `json:"pos,omitempty"`
	Lost      bool            `json:"lost,omitempty"`
	At        int64           `json:"at,omitempty"`
	TTL       int64           `json:"ttl"`
}

// encodeSession returns what is stored: nothing for a session that is to be deleted,
// and for one whose data is not what the core makes.
func encodeSession(w *cluster.SessionWrite) []byte {
	s := w.Session
	if s == nil {
		return nil
	}
	v := storedValue{
		SID: s.ID, Rooms: s.Rooms, Data: s.Data, Namespace: s.Namespace,
		Base: s.Base, From: s.From, Last: s.Last, Left: s.Left, Pos: s.Pos, Lost: s.Lost,
		TTL: max(w.TTL.Milliseconds(), 1),
	}
	if !s.At.IsZero() {
		v.At = s.At.UnixMilli()
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return text
}

// decodeSession reads a session that is as old as the server's clock says.
func decodeSession(text []byte, pid string, age time.Duration) (*cluster.StoredSession, error) {
	var v storedValue
	if err := json.Unmarshal(text, &v); err != nil || v.SID == "" || v.Namespace == "" {
		return nil, fmt.Errorf("%w: it cannot be read", adapter.ErrNoSession)
	}
	ttl := time.Duration(v.TTL)*time.Millisecond - age
	if ttl <= 0 {
		return nil, fmt.Errorf("%w: it has expired", adapter.ErrNoSession)
	}
	s := &cluster.StoredSession{
		Session:   adapter.Session{ID: v.SID, PID: pid, Data: v.Data, Rooms: v.Rooms},
		Namespace: v.Namespace, Base: v.Base, From: v.From, Last: v.Last, Left: v.Left, Pos: v.Pos, Lost: v.Lost, TTL: ttl,
	}
	if v.At > 0 {
		s.At = time.UnixMilli(v.At)
	}
	return s, nil
}
