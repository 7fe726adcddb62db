package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

// journal is the JetStream stream of a deployment, and this node's reader of it.
type journal struct {
	// Immutable after openJournal.
	bus *bus
	js  jetstream.JetStream
	cfg JetStream

	starting chan struct{} // capacity 1: holds a token while started is changed
	started  bool

	// Owned by the goroutine that publishes.
	ids  map[*cluster.Message]string // of those that may have to be published again
	next uint64

	inspected uint64 // position at the last inspection; owned by the goroutine of run

	tokens atomic.Uint64 // of marks
	doubt  chan struct{} // capacity 1: the consumer may read another stream

	// order makes moving the position and handing on what that means one step. It is
	// taken before all other locks of the package.
	order sync.Mutex

	mu      sync.Mutex // guards the following; leaf lock
	created time.Time  // of the stream that is read
	last    uint64     // sequence of the last entry read, or found missing
	stamp   uint64     // of that entry; 0: it was not read
	told    uint64     // the last position members were told
	toldAt  time.Time
	trusted string        // the consumer that reads this stream
	lastAt  time.Time     // when the stream was last read to its end
	ahead   time.Duration // of the server's clock, by the entry that was read then
	idle    int           // how often in a row the reader stood still before the end
}

// kept reports whether m goes into the journal: an answer that comes after the
// request has ended is not worth it.
func kept(m *cluster.Message) bool {
	switch m.Kind {
	case cluster.Broadcast:
		return m.RequestID == ""
	case cluster.SocketsJoin, cluster.SocketsLeave, cluster.DisconnectSockets, cluster.Hole:
		return true
	}
	return false
}

func (b *bus) inJournal() bool { return b.journal != nil }

// openJournal finds or makes the stream.
func openJournal(ctx context.Context, b *bus) (*journal, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	js, err := jetstream.New(b.conn, jetstream.WithPublishAsyncMaxPending(maxPosted))
	if err != nil {
		return nil, fmt.Errorf("socketio: nats: %w", err)
	}
	j := &journal{bus: b, js: js, cfg: *b.opts.JetStream, starting: make(chan struct{}, 1), doubt: make(chan struct{}, 1)}
	_, err = j.open(ctx)
	if errors.Is(err, natsgo.ErrNoResponders) {
		return nil, fmt.Errorf("socketio: nats: JetStream is not enabled on the server: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("socketio: nats: stream %s: %w", j.cfg.Stream, err)
	}
	return j, nil
}

// start begins to read at the end of the stream, unless that was done before: a
// process that only emits does not read. A nil journal has nothing to read.
func (j *journal) start(ctx context.Context) error {
	if j == nil {
		return nil
	}
	select {
	case j.starting <- struct{}{}:
		defer func() { <-j.starting }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if j.started {
		return nil
	}
	began := time.Now()
	s, err := j.open(ctx)
	if err != nil {
		return fmt.Errorf("stream %s: %w", j.cfg.Stream, err)
	}
	info := s.CachedInfo()
	j.mu.Lock()
	j.created, j.last, j.lastAt = info.Created, info.State.LastSeq, began
	j.mu.Unlock()
	j.started = true
	j.bus.spawn(j.run)
	return nil
}

// open returns the stream. One that exists keeps its configuration.
func (j *journal) open(ctx context.Context) (jetstream.Stream, error) {
	s, err := j.js.Stream(ctx, j.cfg.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return j.js.CreateStream(ctx, j.cfg.config(j.bus.opts.Prefix))
	}
	return s, err
}

// maxPosted is at least as many as are in one batch.
const maxPosted = 1024

// posting is the part of a batch that goes into the journal.
type posting struct {
	j       *journal
	batch   []*cluster.Message
	futures []jetstream.PubAckFuture // by index; nil: not in the journal
}

// begin prepares a batch. Messages that were in the last one and come again keep
// their ids, by which the server knows those it has.
func (j *journal) begin(batch []*cluster.Message) *posting {
	ids := make(map[*cluster.Message]string)
	for _, m := range batch {
		if !kept(m) {
			continue
		}
		if id, ok := j.ids[m]; ok {
			ids[m] = id
			continue
		}
		j.next++
		ids[m] = m.From + "-" + strconv.FormatUint(j.next, 36)
	}
	j.ids = ids
	return &posting{j: j, batch: batch, futures: make([]jetstream.PubAckFuture, len(batch))}
}

func (p *posting) post(i int, m *cluster.Message) error {
	frame, err := appendEntry(nil, m)
	if err != nil {
		return fmt.Errorf("%w: %w", errEncode, err)
	}
	msg := &natsgo.Msg{Subject: p.j.bus.subjectLog(m.Namespace), Data: frame}
	p.futures[i], err = p.j.js.PublishMsgAsync(msg, jetstream.WithMsgID(p.j.ids[m]), jetstream.WithRetryAttempts(0))
	return p.j.bus.explain(err, len(frame))
}

// wait waits until the stream has the first n messages of the batch. Its result is
// about the first it does not have.
func (p *posting) wait(ctx context.Context, n int) *cluster.PublishError {
	if p == nil {
		return nil
	}
	for i, f := range p.futures[:n] {
		if f == nil {
			continue
		}
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return p.failed(i, err)
		case <-ctx.Done():
			return p.failed(i, ctx.Err())
		}
	}
	return nil
}

func (p *posting) failed(i int, err error) *cluster.PublishError {
	var api *jetstream.APIError
	permanent := errors.As(err, &api) && api.ErrorCode == codeTooLarge
	return &cluster.PublishError{Sent: i, Permanent: permanent, Err: fmt.Errorf("socketio: nats: journal: %w", err)}
}

// codeTooLarge is what JetStream says of a message larger than max_msg_size.
const codeTooLarge = 10054

// run reads the stream until ctx is done.
func (j *journal) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := j.session(ctx); err != nil && ctx.Err() == nil {
			j.bus.opts.Logger.Debug("socketio: nats: reading the stream failed", "error", err)
			j.bus.watch.note(err)
		}
		t := time.NewTimer(j.bus.opts.HeartbeatInterval / 4)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// session reads with one consumer, until the stream turns out to be another one or
// the consumer fails.
func (j *journal) session(ctx context.Context) error {
	s, err := j.locate(ctx)
	if err != nil {
		return err
	}
	ask, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	cons, err := s.OrderedConsumer(ask, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: j.position() + 1,
	})
	if err != nil {
		return err
	}
	cc, err := cons.Consume(func(m jetstream.Msg) { j.receive(ctx, m) },
		jetstream.PullMaxMessages(pullMessages), jetstream.PullExpiry(pullExpiry),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			j.bus.watch.note(err)
		}))
	if err != nil {
		return err
	}
	defer func() {
		cc.Stop()
		<-cc.Closed()
	}()
	tick := time.NewTicker(j.bus.opts.HeartbeatInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-j.doubt:
			return errors.New("the consumer is not trusted")
		case <-cc.Closed():
			return errors.New("the consumer ended")
		case <-ctx.Done():
			return nil
		}
		j.tell(ctx)
		if stuck, err := j.inspect(ctx); err != nil || stuck {
			return err
		}
	}
}

const (
	pullMessages = 256
	pullExpiry   = 5 * time.Second

	// maxIdle inspections in a row without progress replace a consumer.
	maxIdle = 3
)

func (j *journal) position() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// locate returns the stream, made anew if it is gone, and corrects the position
// where the stream does not have it.
func (j *journal) locate(ctx context.Context) (jetstream.Stream, error) {
	ask, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	before := j.here()
	s, err := j.open(ask)
	if err != nil {
		return nil, err
	}
	_, err = j.check(ctx, ask, s, before)
	return s, err
}

// inspect finds out whether the reader has to begin anew: because the stream is
// another one, or because entries are there that the consumer does not bring.
func (j *journal) inspect(ctx context.Context) (again bool, err error) {
	inspected, before := j.inspected, j.here()
	ask, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	s, err := j.js.Stream(ask, j.cfg.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return true, nil
	}
	if err != nil {
		return false, nil // away; the consumer goes on by itself
	}
	again = j.compare(ctx, s.CachedInfo(), before) || j.lags(inspected, s.CachedInfo().State.LastSeq)
	j.inspected = j.position()
	return again, nil
}

// trusts reports whether a consumer reads the stream that was read before. The
// client library replaces consumers, and asks for them by the name of the stream
// only: one of a stream made anew would go on at the old position.
func (j *journal) trusts(ctx context.Context, consumer string) bool {
	j.mu.Lock()
	known := j.trusted == consumer
	j.mu.Unlock()
	if known {
		return true
	}
	ask, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	before := j.here()
	s, err := j.js.Stream(ask, j.cfg.Stream)
	if err != nil {
		return false
	}
	if changed, err := j.check(ctx, ask, s, before); changed || err != nil {
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.trusted = consumer
	return true
}

// check is compare, and looks whether the stream still has the last entry read. ask
// bounds the asking.
func (j *journal) check(ctx, ask context.Context, s jetstream.Stream, before place) (changed bool, err error) {
	info := s.CachedInfo()
	if j.compare(ctx, info, before) {
		return true, nil
	}
	if before.stamp == 0 || before.seq < info.State.FirstSeq {
		return false, nil
	}
	msg, err := s.GetMsg(ask, before.seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && stampOf(msg.Time) == before.stamp {
		return false, nil // or deleted
	}
	if err != nil {
		return false, err
	}
	j.correct(ctx, func() Gap {
		j.last, j.stamp = info.State.LastSeq, 0
		return Gap{Kind: GapRewound, Reason: "the stream has another entry in the place of the last one read"}
	})
	return true, nil
}

// lags reports whether the reader has stood still before the end for a while.
func (j *journal) lags(before, end uint64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if before != j.last || j.last >= end {
		j.idle = 0
	} else {
		j.idle++
	}
	if j.last >= end {
		j.lastAt = time.Now()
	}
	return j.idle >= maxIdle
}

// compare corrects the position after a look at the stream, and reports whether
// it had to. before is where the reader was before the look.
func (j *journal) compare(ctx context.Context, info *jetstream.StreamInfo, before place) bool {
	now := info.State
	return j.correct(ctx, func() (gap Gap) {
		switch {
		case !info.Created.Equal(j.created):
			gap.Kind, gap.Reason = GapRewound, "the stream was made anew"
			j.created, j.last, j.stamp = info.Created, max(now.FirstSeq, 1)-1, 0
		case now.LastSeq < before.seq:
			gap.Kind, gap.Reason = GapRewound, "the stream lost its end"
			j.last, j.stamp = now.LastSeq, 0
		case now.FirstSeq > j.last+1:
			gap.Kind, gap.Reason, gap.Dropped = GapTrimmed, "this node was away for too long", now.FirstSeq-1-j.last
			j.last, j.stamp = now.FirstSeq-1, 0
		}
		return gap
	})
}

// correct calls fn, which may move the position and tells why, with j.mu held.
func (j *journal) correct(ctx context.Context, fn func() Gap) bool {
	j.order.Lock()
	j.mu.Lock()
	from := j.lastAt
	gap := fn()
	j.mu.Unlock()
	if gap.Kind != "" {
		j.markLocked(ctx, cluster.Hole, "")
	}
	j.order.Unlock()
	if gap.Kind == "" {
		return false
	}
	gap.From, gap.To = from, time.Now()
	j.bus.gap(gap)
	return true
}

// markLocked tells members that recover sessions what is no entry, in its turn. The
// caller holds j.order.
func (j *journal) markLocked(ctx context.Context, kind cluster.Kind, at adapter.Offset) {
	for _, m := range j.bus.all() {
		if m.Log {
			_ = m.in.pushWait(ctx, parcel{mark: kind, at: time.Now(), offset: at}) // fails at the end only
		}
	}
}

// here returns the place of the last entry read. Its stamp is 0 when no entry was
// read at the position.
func (j *journal) here() place {
	j.mu.Lock()
	defer j.mu.Unlock()
	return place{j.created.UnixMilli(), j.last, j.stamp}
}

// serverTime returns about what the server's clock says.
func (j *journal) serverTime() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return time.Now().Add(j.ahead)
}

// tellEvery is how often members are told how far the stream has been read.
const tellEvery = time.Second

// tell tells members how far the stream has been read, also past entries that
// concern nobody here.
func (j *journal) tell(ctx context.Context) {
	j.order.Lock()
	defer j.order.Unlock()
	j.tellLocked(ctx)
}

// tellLocked is tell for a caller that holds j.order.
func (j *journal) tellLocked(ctx context.Context) {
	now := time.Now()
	j.mu.Lock()
	at := place{j.created.UnixMilli(), j.last, j.stamp}
	due := j.stamp != 0 && j.told != j.last && now.Sub(j.toldAt) >= tellEvery
	if due {
		j.told, j.toldAt = j.last, now
	}
	j.mu.Unlock()
	if due {
		j.markLocked(ctx, cluster.Position, at.offset())
	}
}

// receive takes an entry. It waits while the member is busy, so that the stream
// keeps what comes.
func (j *journal) receive(ctx context.Context, msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		j.bus.reject("", err)
		return
	}
	if !j.trusts(ctx, meta.Consumer) {
		signal(j.doubt)
		return
	}
	if gap := j.take(ctx, msg, meta); gap.Kind != "" {
		j.bus.gap(gap)
	}
}

// take is receive for an entry that can be trusted. It returns the gap before it.
func (j *journal) take(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata) Gap {
	j.order.Lock()
	defer j.order.Unlock()
	at, isNew, gap := j.advanceLocked(ctx, meta)
	if !isNew {
		return gap
	}
	name := msg.Subject()[len(logPrefix(j.bus.opts.Prefix)):]
	if m := j.bus.member(name); m != nil && !m.Emitter {
		_ = m.in.pushWait(ctx, parcel{data: msg.Data(), at: time.Now(), offset: at.offset()})
	}
	j.tellLocked(ctx)
	return gap
}

// advanceLocked moves the position to an entry, and reports whether it is new. It is
// one step, unless entries were trimmed: then there is a gap, which the caller reports
// when it does not hold j.order any more.
func (j *journal) advanceLocked(ctx context.Context, meta *jetstream.MsgMetadata) (at place, isNew bool, gap Gap) {
	seq, now := meta.Sequence.Stream, time.Now()
	j.mu.Lock()
	if isNew = seq > j.last; isNew {
		if missing := seq - j.last - 1; missing > 0 {
			gap = Gap{Kind: GapTrimmed, From: j.lastAt, To: now, Dropped: missing, Reason: "this node was away for too long"}
		}
		j.last, j.stamp = seq, stampOf(meta.Timestamp)
	}
	at = place{j.created.UnixMilli(), j.last, j.stamp}
	if meta.NumPending == 0 {
		j.lastAt, j.ahead = now, meta.Timestamp.Sub(now)
	}
	j.mu.Unlock()
	if gap.Kind != "" {
		j.markLocked(ctx, cluster.Hole, "")
	}
	return at, isNew, gap
}
