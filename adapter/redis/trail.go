package redis

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"

	goredis "github.com/redis/go-redis/v9"
)

// trailLen is how many entries back a reader can find the place where a stream
// parted from the one it read: more than 4 s at 1000 entries a second, and three of
// masterEvery.
const trailLen = 4096

var trailSeed = maphash.MakeSeed()

// mark is an entry that was read.
type mark struct {
	id  streamID
	sum uint64 // of its content: two servers may give one id to two entries
	pos int64  // which entry of all ever added it is
}

// trail is the entries that were read last, oldest first.
type trail struct{ marks []mark }

func (t *trail) add(m mark) {
	if len(t.marks) == 2*trailLen {
		t.marks = append(t.marks[:0], t.marks[trailLen:]...)
	}
	t.marks = append(t.marks, m)
}

// cut drops the marks from the one with an index on.
func (t *trail) cut(from int) { t.marks = t.marks[:from] }

func (e *streamEntry) sum() uint64 {
	var h maphash.Hash
	h.SetSeed(trailSeed)
	for _, s := range []string{e.uid, e.nsp, e.typ, e.data, e.sid, e.token, e.ext} {
		_, _ = h.WriteString(s) // never fails
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

// same reports whether the stream still holds the last entry that was read, and so
// everything before it: servers pass a stream on in its order.
func (r *streamReader) same(ctx context.Context, c *goredis.Client, now extent) (bool, error) {
	n := len(r.trail.marks)
	if n == 0 || r.last.less(now.first) || !now.deleted.less(r.last) { // trimmed, or deleted by somebody
		return true, nil
	}
	return r.holds(ctx, c, r.trail.marks[n-1])
}

func (r *streamReader) holds(ctx context.Context, c *goredis.Client, m mark) (bool, error) {
	got, err := c.XRead(ctx, &goredis.XReadArgs{Streams: []string{r.key, m.id.before().String()}, Count: 1, Block: -1}).Result()
	if errors.Is(err, goredis.Nil) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at stream %s: %w", r.key, err)
	}
	if len(got) == 0 || len(got[0].Messages) == 0 {
		return false, nil
	}
	e := entryOf(got[0].Messages[0])
	return e.id == m.id.String() && e.sum() == m.sum, nil
}

// part goes back to the last entry that was read from this stream, and not from
// another that lost its place to it: what follows that one has not been read.
func (r *streamReader) part(ctx context.Context, c *goredis.Client, now extent) error {
	marks := r.trail.marks
	first, _ := slices.BinarySearchFunc(marks, now.first, func(m mark, id streamID) int {
		if m.id.less(id) {
			return -1
		}
		return 1
	})
	low, high := first, len(marks) // marks before low are held or trimmed, those from high on are not held
	for low < high {
		mid := (low + high) / 2
		ok, err := r.holds(ctx, c, marks[mid])
		if err != nil {
			return err
		}
		if ok {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low > first {
		r.last, r.pos = marks[low-1].id, marks[low-1].pos
		r.trail.cut(low)
		return nil
	}
	r.last, r.pos = now.end, now.added
	if len(marks) > 0 && marks[0].id.less(now.end) {
		r.last, r.pos = marks[0].id, now.added-now.length
	}
	r.trail.cut(0)
	return nil
}

// before returns the greatest id that is less.
func (a streamID) before() streamID {
	switch {
	case a.seq > 0:
		return streamID{a.ms, a.seq - 1}
	case a.ms > 0:
		return streamID{a.ms - 1, math.MaxUint64}
	}
	return a
}
