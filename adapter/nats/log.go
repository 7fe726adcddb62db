package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

// logBus is a bus with a journal: its stream is what sessions are recovered from.
type logBus struct{ *bus }

var (
	_ cluster.Log            = logBus{}
	_ cluster.Layout         = logBus{}
	_ cluster.HealthReporter = logBus{}
)

// Lane implements cluster.Layout: what lies in the stream is numbered, so that a node
// that reads a part of it again drops that.
func (b logBus) Lane(m *cluster.Message) (cluster.Lane, bool) {
	return cluster.Lane{Log: true, Rooms: true}, kept(m) && m.Kind < cluster.Takeover
}

// ValidOffset implements cluster.Log.
func (b logBus) ValidOffset(at adapter.Offset) bool {
	_, ok := parsePlace(at)
	return ok
}

// Before implements cluster.Log.
func (b logBus) Before(x, y adapter.Offset) bool {
	if x == "" || y == "" {
		return x == "" && y != ""
	}
	p, okX := parsePlace(x)
	q, okY := parsePlace(y)
	return okX && okY && p.less(q)
}

// Append implements cluster.Log. The server does not tell all of an entry's place: it
// is known when the entry is read.
func (b logBus) Append(ctx context.Context, m *cluster.Message) (adapter.Offset, error) {
	at, err := b.journal.add(ctx, m)
	if err != nil {
		return "", fmt.Errorf("socketio: nats: add to stream %s: %w", b.journal.cfg.Stream, err)
	}
	return at.offset(), nil
}

func (j *journal) add(ctx context.Context, m *cluster.Message) (place, error) {
	reader := j.bus.member(token(m.Namespace))
	if reader == nil {
		return place{}, adapter.ErrClosed
	}
	m.Token = j.tokens.Add(1)
	frame, err := appendEntry(nil, m)
	if err != nil {
		return place{}, err
	}
	done := reader.recent.expect(m.From, m.Token)
	defer reader.recent.unexpect(m.Token)
	if _, err := j.js.PublishMsg(ctx, &natsgo.Msg{Subject: j.bus.subjectLog(m.Namespace), Data: frame}); err != nil {
		return place{}, err
	}
	return await(ctx, done)
}

// ReadLog implements cluster.Log. What this node has read lately it knows itself. Of
// what it asks the server for, it finds out afterwards whether all was there.
func (b logBus) ReadLog(ctx context.Context, ns string, after, upTo adapter.Offset, fn func(*cluster.Message, adapter.Offset) bool) error {
	from, ok := parsePlace(after)
	to, ok2 := parsePlace(upTo)
	if !ok || !ok2 || from.made != to.made || to.less(from) {
		return fmt.Errorf("%w: there is nothing from %s to %s", cluster.ErrTrimmed, after, upTo)
	}
	known, err := b.recall(ns, from, to, fn)
	if errors.Is(err, errUnknown) {
		err = b.journal.read(ctx, ns, from, to, fn)
	}
	if err == nil && !known {
		err = b.journal.prove(ctx, from, to)
	}
	if err != nil {
		return fmt.Errorf("socketio: nats: read stream %s: %w", b.journal.cfg.Stream, err)
	}
	return nil
}

var errUnknown = errors.New("not read lately")

// recall is read for what a member remembers. known is as in recent.
func (b *bus) recall(ns string, from, to place, fn func(*cluster.Message, adapter.Offset) bool) (known bool, err error) {
	m := b.member(token(ns))
	if m == nil {
		return false, errUnknown
	}
	list, known, ok := m.recent.between(from, to)
	if !ok {
		return false, errUnknown
	}
	for _, e := range list {
		if e.m != nil && !fn(e.m, e.at.offset()) {
			break
		}
	}
	return known, nil
}

const (
	// logPage is how many entries are asked for at once.
	logPage = 500
	// readerIdle is when the server drops a reader that was not dropped by its node.
	readerIdle = 10 * time.Second
)

// read calls fn for the entries of a namespace between two, and for the second one.
func (j *journal) read(ctx context.Context, ns string, from, to place, fn func(*cluster.Message, adapter.Offset) bool) error {
	if from == to {
		return nil
	}
	cons, err := j.js.CreateConsumer(ctx, j.cfg.Stream, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from.seq + 1,
		AckPolicy: jetstream.AckNonePolicy, FilterSubject: j.bus.subjectLog(ns),
		InactiveThreshold: readerIdle, MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		return err
	}
	info := cons.CachedInfo()
	defer j.drop(info.Name)
	count := uint64(0)
	for left := info.NumPending; left > 0; {
		batch, err := cons.Fetch(int(min(left, logPage)), jetstream.FetchContext(ctx))
		if err != nil {
			return err
		}
		before := count
		for msg := range batch.Messages() {
			count++
			meta, err := msg.Metadata()
			if err != nil {
				return err
			}
			if meta.Sequence.Consumer != count {
				return errors.New("entries were lost on their way")
			}
			seq := meta.Sequence.Stream
			if seq > to.seq || !passOn(msg, place{from.made, seq, stampOf(meta.Timestamp)}, ns, fn) || seq == to.seq {
				return nil
			}
		}
		if count == before {
			return errors.Join(errors.New("entries did not come"), batch.Error())
		}
		left -= count - before
	}
	return fmt.Errorf("%w: entry %d", cluster.ErrTrimmed, to.seq)
}

// passOn calls fn for an entry that matters to a session. An event nobody could read
// is one nobody got.
func passOn(msg jetstream.Msg, at place, ns string, fn func(*cluster.Message, adapter.Offset) bool) bool {
	m, err := decodeEntry(msg.Data())
	if err != nil || m.Namespace != ns || m.Kind != cluster.Broadcast && m.Kind != cluster.Hole {
		return true
	}
	return fn(m, at.offset())
}

// drop ends a reader, without waiting.
func (j *journal) drop(name string) {
	j.bus.spawn(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, startTimeout)
		defer cancel()
		_ = j.js.DeleteConsumer(ctx, j.cfg.Stream, name) // else the server does after a while
	})
}

// prove returns nil when the stream has everything from one entry to another, or all
// but the first one. That there was something else before does not matter.
func (j *journal) prove(ctx context.Context, from, to place) error {
	s, err := j.js.Stream(ctx, j.cfg.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w: there is no stream", cluster.ErrTrimmed)
	}
	if err != nil {
		return err
	}
	info := s.CachedInfo()
	state := info.State
	if info.Created.UnixMilli() != from.made {
		return fmt.Errorf("%w: the stream was made anew", cluster.ErrTrimmed)
	}
	if state.FirstSeq > from.seq+1 || state.LastSeq < to.seq {
		return fmt.Errorf("%w: it has the entries %d to %d", cluster.ErrTrimmed, state.FirstSeq, state.LastSeq)
	}
	if state.NumDeleted > 0 {
		if err := undeleted(ctx, s, from, to); err != nil {
			return err
		}
	}
	if state.FirstSeq > from.seq {
		return nil
	}
	return same(ctx, s, from)
}

// undeleted returns nil unless somebody deleted entries from the middle.
func undeleted(ctx context.Context, s jetstream.Stream, from, to place) error {
	info, err := s.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return err
	}
	for _, seq := range info.State.Deleted {
		if seq >= from.seq && seq <= to.seq {
			return fmt.Errorf("%w: somebody deleted entry %d", cluster.ErrTrimmed, seq)
		}
	}
	return nil
}

// same returns nil when the stream has this very entry.
func same(ctx context.Context, s jetstream.Stream, at place) error {
	msg, err := s.GetMsg(ctx, at.seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("%w: entry %d", cluster.ErrTrimmed, at.seq)
	}
	if err != nil {
		return err
	}
	if stampOf(msg.Time) != at.stamp {
		return fmt.Errorf("%w: entry %d is another one", cluster.ErrTrimmed, at.seq)
	}
	return nil
}

// WriteSessions implements cluster.Log.
func (b logBus) WriteSessions(ctx context.Context, batch []cluster.SessionWrite) error {
	if err := b.vault.write(ctx, batch); err != nil {
		return fmt.Errorf("socketio: nats: store sessions: %w", err)
	}
	return nil
}

// TakeSession implements cluster.Log.
func (b logBus) TakeSession(ctx context.Context, pid string) (*cluster.StoredSession, error) {
	s, err := b.vault.take(ctx, pid)
	if err != nil && !errors.Is(err, adapter.ErrNoSession) {
		return nil, fmt.Errorf("socketio: nats: take session: %w", err)
	}
	return s, err
}
