package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
)

// streamEntry is one entry of a stream in the form of the reference.
// sid, token and ext are our own.
type streamEntry struct{ id, uid, nsp, typ, data, sid, token, ext string }

// streamReader reads one stream from its end at the start on, without a hole: it
// asks for that end by name instead of by "$", and continues after a loss of the
// connection where it was.
type streamReader struct {
	// Immutable.
	link    *link
	key     string
	count   int64
	block   time.Duration
	handle  func(ctx context.Context, e streamEntry) error           // waits while the node is busy
	reached func(ctx context.Context, key string, at streamID) error // as in streamSet
	rewound func(ctx context.Context, key string) error
	onGap   func(Gap)
	log     *slog.Logger
	started chan struct{} // closed when the first position is known

	// Owned by the goroutine of run.
	last   streamID
	known  bool  // last is known
	pos    int64 // which entry of all ever added last is
	trail  trail
	lastOK time.Time // up to when nothing of the stream is missing
	told   streamID  // what reached was last called with
	toldAt time.Time

	mu     sync.Mutex // guards the following; leaf lock
	health adapter.Health
}

func newStreamReader(l *link, key string, o *StreamsOptions, handle func(context.Context, streamEntry) error) *streamReader {
	return &streamReader{
		link: l, key: key, count: int64(o.ReadCount), block: o.Block,
		handle: handle, onGap: o.OnGap, log: o.Logger,
		started: make(chan struct{}),
		health:  adapter.Health{Since: time.Now()},
	}
}

// run reads until ctx is done. It belongs to one goroutine.
func (r *streamReader) run(ctx context.Context) {
	wait := minBackOff
	for {
		began := time.Now()
		err := r.session(ctx)
		if ctx.Err() != nil {
			return
		}
		r.link.failed(ctx)
		r.down(err)
		if time.Since(began) > 2*maxBackOff {
			wait = minBackOff
		}
		if !sleep(ctx, wait/2+rand.N(wait/2)) {
			return
		}
		wait = min(2*wait, maxBackOff)
	}
}

// session is the life of one connection.
func (r *streamReader) session(ctx context.Context) error {
	c, err := r.dial(ctx)
	if err != nil {
		return err
	}
	var once sync.Once
	hangUp := func() { once.Do(func() { _ = c.Close() }) } // a blocked read does not heed ctx
	defer hangUp()
	defer context.AfterFunc(ctx, hangUp)()
	if err := r.begin(ctx, c); err != nil {
		return err
	}
	r.up()
	for {
		entries, err := r.read(ctx, c)
		if err != nil {
			return err
		}
		if n := len(entries); n == 0 || n == int(r.count) { // idle, or behind
			at := r.last
			if err := r.locate(ctx, c, entries); err != nil {
				return err
			}
			if r.last != at { // these are not the next ones
				continue
			}
		}
		for _, e := range entries {
			if err := r.pass(ctx, e); err != nil {
				return err
			}
		}
		r.lastOK = time.Now()
		if len(entries) == int(r.count) { // there may be more, of any age
			r.lastOK = r.lastEntry()
		}
		if err := r.tell(ctx); err != nil {
			return err
		}
	}
}

// tell says how far the stream has been read, also past entries that concern
// nobody here.
func (r *streamReader) tell(ctx context.Context) error {
	if r.reached == nil || r.told == r.last || time.Since(r.toldAt) < time.Second {
		return nil
	}
	r.told, r.toldAt = r.last, time.Now()
	return r.reached(ctx, r.key, r.last)
}

// lastEntry returns when the last entry was added, by the clock of Redis.
func (r *streamReader) lastEntry() time.Time {
	if at := time.UnixMilli(int64(r.last.ms)); at.Before(r.lastOK) {
		return at
	}
	return r.lastOK
}

// dial returns a client of the server that has the stream, with one connection.
func (r *streamReader) dial(ctx context.Context) (*goredis.Client, error) {
	owner, err := r.link.owner(ctx, r.key)
	if err != nil {
		return nil, err
	}
	o := *owner.Options()
	tune(&o)
	o.PoolSize = 1
	return goredis.NewClient(&o), nil
}

// read returns the next entries, none when block has passed without any.
func (r *streamReader) read(ctx context.Context, c *goredis.Client) ([]goredis.XMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, r.block+ioTimeout)
	defer cancel()
	got, err := c.XRead(ctx, &goredis.XReadArgs{Streams: []string{r.key, r.last.String()}, Count: r.count, Block: r.block}).Result()
	switch {
	case errors.Is(err, goredis.Nil):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read stream %s: %w", r.key, err)
	case len(got) == 0:
		return nil, nil
	}
	return got[0].Messages, nil
}

// pass hands an entry on. What has no namespace is not ours.
func (r *streamReader) pass(ctx context.Context, m goredis.XMessage) error {
	id, err := parseStreamID(m.ID)
	if err != nil {
		return err
	}
	e := entryOf(m)
	if e.nsp != "" {
		if err := r.handle(ctx, e); err != nil {
			return err
		}
	}
	r.last = id
	r.pos++
	r.trail.add(mark{id, e.sum(), r.pos})
	return nil
}

func entryOf(m goredis.XMessage) streamEntry {
	return streamEntry{
		id: m.ID, uid: text(m, "uid"), nsp: text(m, "nsp"), typ: text(m, "type"), data: text(m, "data"),
		sid: text(m, "sid"), token: text(m, "token"), ext: text(m, "ext"),
	}
}

func text(m goredis.XMessage, field string) string {
	s, _ := m.Values[field].(string)
	return s
}

// begin finds the end of the stream at the start. Later, when the server may be
// another one, it finds out whether the stream is the same.
func (r *streamReader) begin(ctx context.Context, c *goredis.Client) error {
	now, err := r.look(ctx, c)
	if err != nil {
		return err
	}
	if !r.known {
		r.last, r.pos, r.known, r.lastOK = now.end, now.added, true, time.Now()
		close(r.started)
		return nil
	}
	ok, err := r.same(ctx, c, now)
	if err != nil {
		return err
	}
	if !ok {
		return r.lostEnd(ctx, c, now, "has lost the last entry read")
	}
	return r.compare(ctx, c, now, streamID{})
}

// locate finds out whether the stream still has, or had when unread was read,
// everything after the last entry.
func (r *streamReader) locate(ctx context.Context, c *goredis.Client, unread []goredis.XMessage) error {
	now, err := r.look(ctx, c)
	if err != nil {
		return err
	}
	var next streamID
	if len(unread) > 0 {
		if next, err = parseStreamID(unread[0].ID); err != nil {
			return err
		}
	}
	return r.compare(ctx, c, now, next)
}

// compare compares the stream with what has been read of it.
func (r *streamReader) compare(ctx context.Context, c *goredis.Client, now extent, next streamID) error {
	switch {
	case now.end.less(r.last):
		return r.lostEnd(ctx, c, now, "ends before the last entry read")
	case now.counted() && (now.added < r.pos || r.last.less(now.first) && now.added-now.length < r.pos):
		r.gap(GapRewound, fmt.Sprintf("stream %s was made anew", r.key))
		r.pos = now.added - now.length
		r.trail.cut(0)
		return r.tellRewound(ctx)
	case r.trimmed(now, next):
		r.gap(GapTrimmed, fmt.Sprintf("stream %s was trimmed before it was read", r.key))
		r.pos = now.added - now.length
		if now.end == r.last {
			r.pos = now.added
		}
	}
	return nil
}

// lostEnd goes on with what the stream has instead of entries that were read.
func (r *streamReader) lostEnd(ctx context.Context, c *goredis.Client, now extent, what string) error {
	r.gap(GapRewound, fmt.Sprintf("stream %s %s", r.key, what))
	if err := r.part(ctx, c, now); err != nil {
		return err
	}
	return r.tellRewound(ctx)
}

func (r *streamReader) tellRewound(ctx context.Context) error {
	if r.rewound == nil {
		return nil
	}
	return r.rewound(ctx, r.key)
}

// extent is what XINFO says of a stream; all zero when there is none.
type extent struct {
	first, end    streamID
	deleted       streamID // the highest one somebody deleted
	length, added int64    // added: ever; 0 before Redis 7
}

func (e extent) counted() bool { return e.added > 0 || e.length == 0 }

// trimmed reports whether entries between the last one and next, the first one not
// passed on yet, are gone; next is zero when the stream had no more.
func (r *streamReader) trimmed(now extent, next streamID) bool {
	if !now.counted() {
		return r.last != streamID{} && r.last.less(now.first)
	}
	if now.end == r.last {
		return now.added > r.pos
	}
	gone := now.added - now.length
	return gone > r.pos && (next == streamID{} || !next.less(now.first))
}

func (r *streamReader) look(ctx context.Context, c *goredis.Client) (e extent, err error) {
	info, err := c.XInfoStream(ctx, r.key).Result()
	if isNoKey(err) {
		return e, nil
	}
	if err != nil {
		return e, fmt.Errorf("look at stream %s: %w", r.key, err)
	}
	e.length, e.added = info.Length, info.EntriesAdded
	if info.FirstEntry.ID != "" {
		if e.first, err = parseStreamID(info.FirstEntry.ID); err != nil {
			return e, err
		}
	}
	if info.MaxDeletedEntryID != "" {
		if e.deleted, err = parseStreamID(info.MaxDeletedEntryID); err != nil {
			return e, err
		}
	}
	e.end, err = parseStreamID(info.LastGeneratedID)
	return e, err
}

func isNoKey(err error) bool {
	var answer goredis.Error
	return errors.As(err, &answer) && strings.Contains(answer.Error(), "no such key")
}

func (r *streamReader) gap(kind GapKind, reason string) {
	g := Gap{Kind: kind, From: r.lastOK, To: time.Now(), Reason: reason}
	if kind == GapRewound { // the stream that had nothing more was not this one
		g.From = r.lastEntry()
	}
	r.log.Warn("socketio: redis: messages of other nodes may be missed", "event", "adapter.gap", "reason", reason, "missing_since", g.From)
	if r.onGap != nil {
		r.onGap(g)
	}
}

func (r *streamReader) up() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.health.Reconnects > 0 {
		r.health.Resubscribes++
		r.log.Info("socketio: redis: stream is read again", "event", "adapter.up", "stream", r.key, "away", time.Since(r.health.Since))
	}
	r.health.Up, r.health.Since = true, time.Now()
}

func (r *streamReader) down(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.health.LastError = err.Error()
	if r.health.Up {
		r.health.Up, r.health.Since = false, time.Now()
		r.health.Reconnects++
		r.log.Warn("socketio: redis: stream cannot be read, messages of other nodes are late", "event", "adapter.down", "stream", r.key, "error", err)
	}
}

func (r *streamReader) snapshot() adapter.Health {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.health
}

// streamID is the id of an entry: milliseconds, and a number within one.
type streamID struct{ ms, seq uint64 }

func parseStreamID(s string) (id streamID, err error) {
	ms, seq, _ := strings.Cut(s, "-")
	if id.ms, err = strconv.ParseUint(ms, 10, 64); err == nil {
		id.seq, err = strconv.ParseUint(seq, 10, 64)
	}
	if err != nil {
		return id, fmt.Errorf("%q is not the id of an entry", s)
	}
	return id, nil
}

func (a streamID) less(b streamID) bool { return a.ms < b.ms || a.ms == b.ms && a.seq < b.seq }

func (a streamID) String() string {
	return strconv.FormatUint(a.ms, 10) + "-" + strconv.FormatUint(a.seq, 10)
}
