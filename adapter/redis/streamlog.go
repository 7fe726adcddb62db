package redis

import (
	"context"
	"fmt"
	"strconv"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/cluster/wire"
)

// logPage is how many entries of a stream one XRANGE returns.
const logPage = 500

// message returns what an entry says to the node self. Of its own broadcasts that
// is only which one it is: it still has them.
func (e *streamEntry) message(self adapter.NodeID) (*cluster.Message, error) {
	token, _ := strconv.ParseUint(e.token, 10, 64)
	kind, _ := strconv.ParseUint(e.typ, 10, 8)
	k := cluster.Kind(kind)
	m := &cluster.Message{Kind: k, From: e.uid, Namespace: e.nsp, Token: token}
	switch {
	case k == cluster.Takeover:
		m.Rooms = []adapter.Room{e.sid}
		return m, nil
	case k == cluster.Hole || k == cluster.Hello || k == cluster.Position:
		return m, nil
	case e.uid == self && k == cluster.Broadcast:
		return m, nil
	}
	m, err := wire.DecodeEntry(e.uid, e.nsp, e.typ, e.data)
	if err != nil {
		return nil, err
	}
	m.Token = token
	wire.ReadExt(m, e.ext)
	return m, nil
}

// reached tells the members of a stream how far it has been read.
func (b *wireBus) reached(ctx context.Context, key string, at streamID) error {
	return b.tellLog(ctx, key, streamEntry{id: at.String(), typ: strconv.Itoa(int(cluster.Position))})
}

// rewound tells them that the stream has lost entries they may have passed on.
func (b *wireBus) rewound(ctx context.Context, key string) error {
	return b.tellLog(ctx, key, streamEntry{typ: strconv.Itoa(int(cluster.Hole))})
}

// tellLog passes e, which no stream holds, to the members of a stream in its turn.
func (b *wireBus) tellLog(ctx context.Context, key string, e streamEntry) error {
	b.mu.Lock()
	var list []*member
	for _, m := range b.members {
		if m.Log && b.streams.opts.streamOf(m.Namespace) == key {
			list = append(list, m)
		}
	}
	b.mu.Unlock()
	for _, m := range list {
		it := e
		it.nsp = m.Namespace
		if err := b.in.pushWait(ctx, envelope{to: m, entry: &it}); err != nil {
			return err
		}
	}
	return nil
}

// ValidOffset implements cluster.Log.
func (b *streamsBus) ValidOffset(at adapter.Offset) bool {
	id, err := parseStreamID(at)
	return err == nil && id.String() == at
}

// Before implements cluster.Log.
func (b *streamsBus) Before(x, y adapter.Offset) bool {
	if x == "" || y == "" {
		return x == "" && y != ""
	}
	p, errX := parseStreamID(x)
	q, errY := parseStreamID(y)
	return errX == nil && errY == nil && p.less(q)
}

// Append implements cluster.Log.
func (b *streamsBus) Append(ctx context.Context, m *cluster.Message) (adapter.Offset, error) {
	args, err := b.opts.adding(m)
	if err != nil {
		return "", err
	}
	c, err := b.link.owner(ctx, args.Stream)
	if err == nil {
		var id string
		if id, err = c.XAdd(ctx, args).Result(); err == nil {
			return id, nil
		}
	}
	b.link.failed(ctx)
	return "", fmt.Errorf("socketio: redis: add to stream %s: %w", args.Stream, err)
}

// ReadLog implements cluster.Log. Entries are trimmed at the old end only, so a
// page is complete if the entry before it is still there. What somebody deleted
// from the middle shows in the highest id that was.
func (b *streamsBus) ReadLog(ctx context.Context, ns string, after, upTo adapter.Offset, fn func(*cluster.Message, adapter.Offset) bool) error {
	key := b.opts.streamOf(ns)
	for {
		list, err := b.page(ctx, key, after, upTo)
		if err != nil {
			b.link.failed(ctx)
			return fmt.Errorf("socketio: redis: read stream %s: %w", key, err)
		}
		if len(list) == 0 || list[0].ID != after {
			return fmt.Errorf("%w: entry %s", cluster.ErrTrimmed, after)
		}
		for _, x := range list[1:] {
			m := kept(x, ns)
			if m != nil && !fn(m, x.ID) {
				return nil
			}
		}
		if after = list[len(list)-1].ID; after == upTo {
			return nil
		}
		if len(list) <= logPage {
			return fmt.Errorf("%w: entry %s", cluster.ErrTrimmed, upTo)
		}
	}
}

// page returns the entries from one, which is included, on.
func (b *streamsBus) page(ctx context.Context, key string, from, upTo adapter.Offset) ([]goredis.XMessage, error) {
	c, err := b.link.owner(ctx, key)
	if err != nil {
		return nil, err
	}
	pipe := c.Pipeline()
	list := pipe.XRangeN(ctx, key, from, upTo, logPage+1)
	info := pipe.XInfoStream(ctx, key)
	if _, err := pipe.Exec(ctx); err != nil && !isNoKey(err) {
		return nil, err
	}
	if deleted := info.Val().MaxDeletedEntryID; b.Before(from, deleted) {
		return nil, fmt.Errorf("%w: somebody deleted entry %s", cluster.ErrTrimmed, deleted)
	}
	return list.Val(), nil
}

// kept returns the message of an entry that matters to a session of a namespace,
// else nil. An event nobody could read is one nobody got.
func kept(x goredis.XMessage, ns string) *cluster.Message {
	e := entryOf(x)
	if e.nsp != ns {
		return nil
	}
	switch kind, _ := strconv.Atoi(e.typ); cluster.Kind(kind) {
	case cluster.Broadcast, cluster.Hole:
		if m, err := e.message(""); err == nil {
			return m
		}
	}
	return nil
}
