package redis

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/cluster/wire"
	"github.com/socketfleet/socketfleet/internal/msgpack"
)

// storedValue is the value of a session's key as persistSession of the reference
// makes it, in MessagePack and base64, with one member more, which it ignores.
type storedValue struct {
	SID   string          `json:"sid"`
	PID   string          `json:"pid"`
	Rooms []string        `json:"rooms"`
	Data  json.RawMessage `json:"data"`
	Place *place          `json:"place,omitempty"`
}

// place is what our nodes know of a client's place in the stream. The fields are
// those of cluster.StoredSession.
type place struct {
	Namespace string `json:"nsp"`
	Base      string `json:"base,omitempty"`
	From      string `json:"from,omitempty"`
	Last      string `json:"last,omitempty"`
	Left      string `json:"left,omitempty"`
	Pos       string `json:"pos"`
	Lost      bool   `json:"lost,omitempty"`
	At        int64  `json:"at,omitempty"` // of the disconnection, in milliseconds
}

// noData is the data attribute of a socket that has none.
const noData = "{}"

func encodeSession(s *cluster.StoredSession) (string, error) {
	v := storedValue{SID: s.ID, PID: s.PID, Rooms: s.Rooms, Data: s.Data}
	if v.Data == nil {
		v.Data = json.RawMessage(noData)
	}
	if s.Namespace != "" {
		v.Place = &place{
			Namespace: s.Namespace, Base: s.Base, From: s.From, Last: s.Last, Left: s.Left, Pos: s.Pos, Lost: s.Lost,
		}
		if !s.At.IsZero() {
			v.Place.At = s.At.UnixMilli()
		}
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	packed, err := msgpack.AppendJSON(nil, text, nil)
	return base64.StdEncoding.EncodeToString(packed), err
}

var errBadSession = fmt.Errorf("%w: it cannot be read", adapter.ErrNoSession)

func decodeSession(value, pid string) (*cluster.StoredSession, error) {
	packed, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return nil, errBadSession
	}
	v, err := msgpack.Parse(packed)
	if err != nil {
		return nil, errBadSession
	}
	s := new(cluster.StoredSession)
	for key, f := range v.Fields() {
		switch string(key) {
		case "sid":
			s.ID, _ = f.Text()
		case "pid":
			s.PID, _ = f.Text()
		case "rooms":
			s.Rooms, err = wire.ReadRooms(f)
		case "data":
			s.Data, err = f.AppendPlainJSON(nil)
		case "place":
			err = readPlace(f, s)
		}
		if err != nil {
			return nil, errBadSession
		}
	}
	if s.ID == "" || s.PID != pid {
		return nil, errBadSession
	}
	if text := string(s.Data); text == noData || text == "null" {
		s.Data = nil
	}
	return s, nil
}

func readPlace(v msgpack.Value, s *cluster.StoredSession) error {
	text, err := v.AppendPlainJSON(nil)
	if err != nil {
		return err
	}
	var p place
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	s.Namespace, s.Base, s.From, s.Last, s.Left, s.Pos, s.Lost = p.Namespace, p.Base, p.From, p.Last, p.Left, p.Pos, p.Lost
	if p.At > 0 {
		s.At = time.UnixMilli(p.At)
	}
	return nil
}

// sessions returns the client that finds the server of every key.
func (l *link) sessions() goredis.UniversalClient {
	if l.cluster != nil {
		return l.cluster
	}
	return l.single
}

// WriteSessions implements cluster.Log. A session that cannot be encoded is left
// out: its data is not what the core makes.
func (b *streamsBus) WriteSessions(ctx context.Context, batch []cluster.SessionWrite) error {
	return b.writeSessions(ctx, b.opts.SessionKeyPrefix, batch)
}

// WriteSessions implements cluster.Vault, where there is no stream.
func (b *wireBus) WriteSessions(ctx context.Context, batch []cluster.SessionWrite) error {
	return b.writeSessions(ctx, b.opts.Key+vaultSuffix, batch)
}

// vaultSuffix, behind the key, begins the keys of sessions where there is no stream.
const vaultSuffix = ":session:"

func (b *wireBus) writeSessions(ctx context.Context, prefix string, batch []cluster.SessionWrite) error {
	_, err := b.link.sessions().Pipelined(ctx, func(p goredis.Pipeliner) error {
		for _, w := range batch {
			key := prefix + w.PID
			if w.Session == nil {
				p.Del(ctx, key)
				continue
			}
			value, err := encodeSession(w.Session)
			if err != nil {
				b.opts.Logger.Debug("socketio: redis: session not stored", "namespace", w.Session.Namespace, "error", err)
				continue
			}
			p.Set(ctx, key, value, max(w.TTL, time.Millisecond).Round(time.Millisecond))
		}
		return nil
	})
	if err != nil {
		b.link.failed(ctx)
		return fmt.Errorf("socketio: redis: store sessions: %w", err)
	}
	return nil
}

// TakeSession implements cluster.Log. As in the reference, GET and DEL in one
// transaction make it one connection's: Redis has had GETDEL only since 6.2.
func (b *streamsBus) TakeSession(ctx context.Context, pid string) (*cluster.StoredSession, error) {
	return b.takeSession(ctx, b.opts.SessionKeyPrefix+pid, pid)
}

// TakeSession implements cluster.Vault, where there is no stream.
func (b *wireBus) TakeSession(ctx context.Context, pid string) (*cluster.StoredSession, error) {
	return b.takeSession(ctx, b.opts.Key+vaultSuffix+pid, pid)
}

func (b *wireBus) takeSession(ctx context.Context, key, pid string) (*cluster.StoredSession, error) {
	var value *goredis.StringCmd
	var ttl *goredis.DurationCmd
	_, err := b.link.sessions().TxPipelined(ctx, func(p goredis.Pipeliner) error {
		value, ttl = p.Get(ctx, key), p.PTTL(ctx, key)
		p.Del(ctx, key)
		return nil
	})
	if errors.Is(err, goredis.Nil) {
		return nil, adapter.ErrNoSession
	}
	if err != nil {
		b.link.failed(ctx)
		return nil, fmt.Errorf("socketio: redis: take session: %w", err)
	}
	s, err := decodeSession(value.Val(), pid)
	if err != nil {
		return nil, err
	}
	s.TTL = ttl.Val()
	return s, nil
}
