package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// haven is a namespace of one node that recovers clients, on a server of its own.
type haven struct {
	testing.TB
	server *testutil.NATSServer
	files  string // of the server
	conn   *natsgo.Conn
	js     jetstream.JetStream
	a      adapter.SessionKeeper
	all    adapter.Adapter
	b      *bus
	n      int
}

// newHaven opens one. params are pairs of a name and a value.
func newHaven(t testing.TB, params ...string) *haven {
	t.Helper()
	h := &haven{TB: t, files: filepath.Join(t.TempDir(), "js")}
	h.server = testutil.NATS(t, "-js", "-sd", h.files)
	var err error
	if h.conn, err = natsgo.Connect(h.server.URL, natsgo.MaxReconnects(-1), natsgo.ReconnectWait(20*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.conn.Close)
	if h.js, err = jetstream.New(h.conn); err != nil {
		t.Fatal(err)
	}
	q := url.Values{"prefix": {"haven"}, "heartbeat_interval": {testInterval.String()}}
	for i := 0; i < len(params); i += 2 {
		q.Set(params[i], params[i+1])
	}
	u := url.URL{Scheme: "nats+jetstream", Host: h.server.Addr(), RawQuery: q.Encode()}
	user, opts, err := parseURL(&u)
	if err != nil {
		t.Fatal(err)
	}
	opts.Logger = slog.New(slog.DiscardHandler)
	opts.Cluster = cluster.Options{MaxOutboundAge: 300 * time.Millisecond, Logger: opts.Logger}
	full, err := opts.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if h.b, err = openBus(t.Context(), user, full, channelSize); err != nil {
		t.Fatal(err)
	}
	p := cluster.NewProvider(logBus{h.b}, full.Cluster)
	t.Cleanup(func() { closeNode(t, p) })
	host := &adaptertest.RecoveryHost{Host: adaptertest.NewHost("/", "node"), Options: adapter.Recovery{Window: time.Minute}}
	a, err := p.Open(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	h.a, h.all = a.(adapter.SessionKeeper), a
	return h
}

// client is one that the haven serves.
type client struct {
	h      *haven
	s      *adaptertest.Socket
	pid    string
	offset string
}

func (h *haven) arrive() *client {
	h.Helper()
	h.n++
	c := &client{h: h, s: adaptertest.NewSocket(fmt.Sprintf("socket-%013d", h.n)), pid: fmt.Sprintf("%020d", h.n)}
	h.all.Join(c.s, c.s.ID(), "all")
	h.a.Keep(c.s, c.session())
	return c
}

func (c *client) session() adapter.Session { return adapter.Session{ID: c.s.ID(), PID: c.pid} }

func (h *haven) emit(event string) {
	h.Helper()
	p := &adapter.Packet{Data: []byte(`["` + event + `"]`)}
	if err := h.all.Broadcast(p, adapter.Target{Rooms: []string{"all"}}); err != nil {
		h.Logf("emit %s: %v", event, err) // an outage may refuse it
	}
}

// took waits for an event and returns its offset, empty for none.
func (c *client) took(event string) string {
	c.h.Helper()
	var args []string
	wait(c.h, c.s.ID()+" gets "+event, func() bool {
		for _, r := range c.s.Received() {
			if strings.HasPrefix(string(r.Packet.Data), `["`+event+`"`) {
				return json.Unmarshal(r.Packet.Data, &args) == nil
			}
		}
		return false
	})
	if len(args) < 2 {
		return ""
	}
	c.offset = args[1]
	return args[1]
}

// lose ends the connection; the client may come back.
func (c *client) lose() {
	c.h.Helper()
	c.h.a.Save(c.s, c.session())
	c.h.all.LeaveAll(c.s)
}

// replay resumes the session and returns how many events the client had missed.
func (c *client) replay() (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	claim, err := c.h.a.Claim(ctx, c.pid, c.offset)
	if err != nil {
		return 0, err
	}
	s := adaptertest.NewSocket(c.s.ID())
	if err := claim.Resume(s, func() {}); err != nil {
		return 0, err
	}
	claim.Confirm()
	return len(s.Received()), nil
}

func (c *client) recovered(want int) {
	c.h.Helper()
	if got, err := c.replay(); err != nil || got != want {
		c.h.Errorf("%d events are replayed, want %d; %v", got, want, err)
	}
}

func (c *client) notRecovered() {
	c.h.Helper()
	if got, err := c.replay(); !errors.Is(err, adapter.ErrNoSession) {
		c.h.Errorf("recovered with %d events, or %v", got, err)
	}
}

// seen is a client that has received one event and missed two.
func (h *haven) seen() *client {
	h.Helper()
	c := h.arrive()
	h.emit(c.pid)
	c.took(c.pid)
	c.lose()
	other := h.arrive()
	for _, event := range []string{"more", "missed"} {
		h.emit(event + c.pid)
		other.took(event + c.pid)
	}
	other.lose()
	return c.saved()
}

// saved waits until what was told of sessions is written: a Claim is behind it.
func (c *client) saved() *client {
	c.h.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := c.h.a.Claim(ctx, "nobody", ""); !errors.Is(err, adapter.ErrNoSession) {
		c.h.Errorf("claim of nothing: %v", err)
	}
	return c
}

func (h *haven) stream() jetstream.Stream {
	h.Helper()
	s, err := h.js.Stream(h.Context(), "haven")
	if err != nil {
		h.Fatal(err)
	}
	return s
}

func (h *haven) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// forget makes the node forget what it has read, as if it had been started since.
func (h *haven) forget() { h.b.member(token("/")).recent.reset() }

// again waits until events have their place again.
func (h *haven) again() {
	h.Helper()
	wait(h, "events have offsets again", func() bool {
		c := h.arrive()
		defer c.lose()
		h.emit(c.pid)
		return c.took(c.pid) != ""
	})
}

// remade waits until the node has noticed that the stream is another one.
func (h *haven) remade(before time.Time) {
	h.Helper()
	wait(h, "the stream is there again", func() bool {
		s, err := h.js.Stream(h.Context(), "haven")
		return err == nil && s.CachedInfo().Created.After(before)
	})
	h.again()
}

func TestWhatIsMissingInTheStreamIsNotRecovered(t *testing.T) {
	t.Parallel()
	at := func(c *client) uint64 {
		p, ok := parsePlace(c.offset)
		if !ok {
			t.Fatalf("offset %q", c.offset)
		}
		return p.seq
	}
	for name, spoil := range map[string]func(h *haven, c *client){
		"purged": func(h *haven, _ *client) {
			h.forget()
			h.must(h.stream().Purge(h.Context()))
		},
		"purged behind it": func(h *haven, c *client) {
			h.forget()
			h.must(h.stream().Purge(h.Context(), jetstream.WithPurgeSequence(at(c)+2)))
		},
		"an entry deleted": func(h *haven, c *client) {
			h.forget()
			h.must(h.stream().DeleteMsg(h.Context(), at(c)+1))
		},
		"trimmed": func(h *haven, c *client) {
			other := h.arrive()
			for i := range 30 {
				h.emit(fmt.Sprint(i))
			}
			other.took("29")
			h.forget()
		},
		"stream deleted": func(h *haven, _ *client) {
			made := h.stream().CachedInfo().Created
			h.must(h.js.DeleteStream(h.Context(), "haven"))
			h.remade(made)
		},
		"another stream with the same numbers": func(h *haven, c *client) {
			made := h.stream().CachedInfo().Created
			h.must(h.js.DeleteStream(h.Context(), "haven"))
			h.remade(made)
			for h.stream().CachedInfo().State.LastSeq <= at(c) {
				h.again()
			}
		},
		"no stream": func(h *haven, _ *client) { h.must(h.js.DeleteStream(h.Context(), "haven")) },
		"hole reported": func(h *haven, _ *client) {
			h.forget()
			frame, err := appendEntry(nil, &cluster.Message{Kind: cluster.Hole, From: "x", Namespace: "/"})
			h.must(err)
			_, err = h.js.Publish(h.Context(), h.b.subjectLog("/"), frame)
			h.must(err)
		},
		"hole read by the node": func(h *haven, _ *client) {
			frame, err := appendEntry(nil, &cluster.Message{Kind: cluster.Hole, From: "x", Namespace: "/"})
			h.must(err)
			_, err = h.js.Publish(h.Context(), h.b.subjectLog("/"), frame)
			h.must(err)
			h.again()
		},
		"session unreadable": func(h *haven, c *client) {
			_, err := h.js.Publish(h.Context(), h.b.vault.subject(c.pid), []byte("x"))
			h.must(err)
		},
		"session expired": func(h *haven, c *client) {
			text := fmt.Sprintf(`{"sid":%q,"rooms":[%q,"all"],"nsp":"/","pos":%q,"ttl":-1}`, c.s.ID(), c.s.ID(), c.offset)
			_, err := h.js.Publish(h.Context(), h.b.vault.subject(c.pid), []byte(text))
			h.must(err)
		},
		"sessions lost": func(h *haven, _ *client) { h.must(h.js.DeleteStream(h.Context(), "haven_sessions")) },
	} {
		for _, presents := range []string{"its offset", "its pid only"} {
			t.Run(name+", the client presents "+presents, func(t *testing.T) {
				t.Parallel()
				h := newHaven(t, "max_msgs", "30")
				h.seen().recovered(2) // so that it fails for this reason only
				c := h.seen()
				if presents == "its pid only" {
					c = h.arrive()
					h.emit("lost on the way")
					c.took("lost on the way") // which the client did not get
					c.lose()
					h.emit("missed")
					c.saved()
					spoil(h, c)
					c.offset = ""
				} else {
					spoil(h, c)
				}
				c.notRecovered()
			})
		}
	}
}

// What is trimmed at the old end does not matter where nothing after it is missing:
// a client of a deployment that was idle for long is recovered.
func TestWhatWasTrimmedBeforeIsNotMissed(t *testing.T) {
	t.Parallel()
	h := newHaven(t)
	c := h.arrive()
	h.emit("seen")
	c.took("seen")
	c.lose()
	c.saved()
	h.must(h.stream().Purge(t.Context()))
	h.emit("missed")
	other := h.arrive()
	h.emit("last")
	other.took("last")
	h.forget()
	c.recovered(2)
}

// What is too old is dropped like what is too much.
func TestWhatAgedOutIsMissed(t *testing.T) {
	t.Parallel()
	h := newHaven(t, "max_age", "1s")
	c := h.seen()
	at, _ := parsePlace(c.offset)
	wait(t, "the missed events age out", func() bool { return h.stream().CachedInfo().State.FirstSeq > at.seq+2 })
	h.forget()
	c.notRecovered()
}

// A node that has read what the stream dropped since can tell the client.
func TestWhatANodeReadItNeedNotAskFor(t *testing.T) {
	t.Parallel()
	h := newHaven(t)
	c := h.seen()
	h.must(h.stream().Purge(t.Context()))
	c.recovered(2)
}

// An entry that was added again, because nobody knew whether it had been, is
// replayed once.
func TestAnEntryAddedTwiceIsReplayedOnce(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(h *haven){
		"read by the node":     (*haven).again,
		"asked for the server": (*haven).forget,
	} {
		t.Run(name, func(t *testing.T) {
			h := newHaven(t)
			c := h.seen()
			msg, err := h.stream().GetLastMsgForSubject(t.Context(), h.b.subjectLog("/"))
			h.must(err)
			m, err := decodeEntry(msg.Data)
			if err != nil || m.Kind != cluster.Broadcast || m.Token == 0 {
				t.Fatalf("the last entry is %+v, %v", m, err)
			}
			_, err = h.js.Publish(t.Context(), h.b.subjectLog("/"), msg.Data)
			h.must(err)
			prepare(h)
			got, err := c.replay()
			more := h.n - 2 // events of again, one each
			if err != nil || got != 2+more {
				t.Errorf("%d events are replayed, want %d; %v", got, 2+more, err)
			}
		})
	}
}

// A namespace remembers the newest entries, and nothing across a break.
func TestTheLastEntriesAreRemembered(t *testing.T) {
	t.Parallel()
	var r recent
	at := func(seq int) place { return place{made: 1, seq: uint64(seq), stamp: uint64(seq)} }
	event := func(n int) { r.add(at(n), &cluster.Message{Kind: cluster.Broadcast}, recentBytes/4) }
	for n := range 6 {
		event(2 * (n + 1)) // the others are of other namespaces
	}
	r.passed(at(15))
	for _, tt := range []struct {
		from, to  int
		want      int
		known, ok bool
	}{
		{2, 12, 0, false, false}, // 2 and 4 are forgotten
		{6, 12, 3, true, true},
		{7, 12, 3, false, true},
		{8, 8, 0, true, true},
		{12, 15, 0, true, true},
		{13, 15, 0, false, true},
		{12, 16, 0, false, false}, // not read yet
	} {
		list, known, ok := r.between(at(tt.from), at(tt.to))
		if len(list) != tt.want || known != tt.known || ok != tt.ok {
			t.Errorf("%d to %d: %d entries, known %v, ok %v", tt.from, tt.to, len(list), known, ok)
		}
	}
	other := at(6)
	other.stamp++
	if _, known, _ := r.between(other, at(12)); known {
		t.Error("an entry with the same number is taken for another")
	}
	r.reset()
	event(20)
	if _, _, ok := r.between(at(12), at(20)); ok {
		t.Error("what came before a break is remembered")
	}
}

// A server that lost what it had not written: it gives the numbers of what is lost to
// other entries. Nobody can tell a client what they were.
func TestAStreamThatLostItsEndRecoversNobody(t *testing.T) {
	t.Parallel()
	h := newHaven(t)
	c := h.arrive()
	h.emit("seen")
	c.took("seen")
	c.lose()
	c.saved()
	h.server.Kill(t)
	backup := filepath.Join(t.TempDir(), "js")
	h.must(os.CopyFS(backup, os.DirFS(h.files)))
	h.server.Restart(t)
	h.again()
	for i := range 50 {
		h.emit(fmt.Sprint(i)) // so that the hole, once it is noticed, lies before the next
	}
	late := h.seen() // whose offset the server is going to forget
	sessions, err := h.js.Stream(t.Context(), "haven_sessions")
	h.must(err)
	session, err := sessions.GetLastMsgForSubject(t.Context(), h.b.vault.subject(late.pid))
	h.must(err)
	end := h.stream().CachedInfo().State.LastSeq
	h.server.Kill(t)
	h.must(os.RemoveAll(h.files))
	h.must(os.CopyFS(h.files, os.DirFS(backup)))
	h.server.Restart(t)
	wait(t, "the stream has passed its old end", func() bool {
		h.emit("again")
		s, err := h.js.Stream(t.Context(), "haven")
		return err == nil && s.CachedInfo().State.LastSeq > end
	})
	h.again()
	_, err = h.js.Publish(t.Context(), session.Subject, session.Data)
	h.must(err)
	c.notRecovered()
	late.notRecovered()
}

// With no server a claim ends with a new session, in bounded time, and everything
// goes on when it is back.
func TestWithoutTheServerNobodyIsRecovered(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string][2]func(h *haven){
		"it stands still": {func(h *haven) { h.server.Pause(h) }, func(h *haven) { h.server.Resume(h) }},
		"it is killed":    {func(h *haven) { h.server.Kill(h) }, func(h *haven) { h.server.Restart(h) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHaven(t)
			c := h.seen()
			fault[0](h)
			done := make(chan struct{})
			go func() { defer close(done); c.notRecovered() }()
			select {
			case <-done:
			case <-time.After(patience):
				t.Fatal("the claim does not end")
			}
			fault[1](h)
			h.again()
			h.seen().recovered(2)
		})
	}
}

// Without the server events are delivered after a while, without offset. Their
// recipients cannot be recovered until they have got an event with one; nor those
// who were away.
func TestEventsWithoutOffsetAreNotRecovered(t *testing.T) {
	t.Parallel()
	h := newHaven(t)
	away, lost, back := h.seen(), h.arrive(), h.arrive()
	h.server.Pause(t)
	wait(t, "the loss is noticed", func() bool { return !h.b.Health().Up })
	h.emit("blind")
	for _, c := range []*client{lost, back} {
		if at := c.took("blind"); at != "" {
			t.Errorf("the event has offset %s", at)
		}
	}
	lost.lose()
	h.server.Resume(t)
	h.again()
	lost.saved().notRecovered()
	away.notRecovered()
	h.emit("last")
	back.took("last")
	back.lose()
	back.saved().recovered(0)
}

// Where events may be missing that this node had not read, its clients may not have
// got them: those that got nothing since are not recovered either.
func TestAGapInTheStreamEndsTheSessionsOfIdleClients(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(h *haven){
		"the reader lost its place": func(h *haven) {
			h.b.journal.order.Lock()
			defer h.b.journal.order.Unlock()
			h.b.journal.markLocked(h.Context(), cluster.Hole, "")
		},
		"another node says so": func(h *haven) {
			frame, err := appendEntry(nil, &cluster.Message{Kind: cluster.Hole, From: "x", Namespace: "/"})
			h.must(err)
			_, err = h.js.Publish(h.Context(), h.b.subjectLog("/"), frame)
			h.must(err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHaven(t)
			idle, busy := h.arrive(), h.arrive()
			h.emit("seen")
			idle.took("seen")
			busy.took("seen")
			fault(h)
			for _, event := range []string{"first", "second"} { // the node's own hole may come between
				p := &adapter.Packet{Data: []byte(`["` + event + `"]`)}
				h.must(h.all.Broadcast(p, adapter.Target{Rooms: []string{busy.s.ID()}}))
				busy.took(event)
			}
			for _, c := range []*client{idle, busy} {
				c.lose()
				c.saved()
			}
			idle.notRecovered()
			busy.recovered(0)
		})
	}
}

func TestOffsetsOfTheStream(t *testing.T) {
	t.Parallel()
	p := place{made: 1_700_000_000_000, seq: 42, stamp: stampOf(time.Unix(0, 1<<62+12345))}
	if got, ok := parsePlace(p.offset()); !ok || got != p {
		t.Errorf("%s is read as %+v, %v", p.offset(), got, ok)
	}
	for _, at := range []string{"", "-", "1-1", "1-1-", "0-1-1", "1-0-1", "01-1-1", "1-01-1", "1-1-01", "1-1-A", "1-1-1-1", "-1-1-1", "1-1-zzzzzzzz", "1-18446744073709551616-1"} {
		if got, ok := parsePlace(at); ok {
			t.Errorf("%q is read as %+v", at, got)
		}
	}
	newer := place{made: p.made + 1, seq: 1}
	if !p.less(newer) || newer.less(p) || p.less(p) {
		t.Error("what is in a newer stream does not lie behind an older one")
	}
}
