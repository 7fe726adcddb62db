package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// haven is a namespace of one node that recovers clients, on a Redis of its own.
type haven struct {
	testing.TB
	redis  *testutil.RedisServer
	client *goredis.Client
	p      *cluster.Provider
	a      adapter.SessionKeeper
	all    adapter.Adapter
	n      int
}

const havenKey = "haven"

func newHaven(t testing.TB) *haven {
	t.Helper()
	h := &haven{TB: t, redis: testutil.LocalRedis(t)}
	h.client = goredis.NewClient(&goredis.Options{Addr: h.redis.Addr()})
	t.Cleanup(func() { _ = h.client.Close() })
	p, err := openStreams(t.Context(), goredis.NewClient(&goredis.Options{Addr: h.redis.Addr()}), &StreamsOptions{
		Stream: havenKey, Block: 100 * time.Millisecond,
		Options: Options{
			Key: havenKey, Logger: slog.New(slog.DiscardHandler), ProbeInterval: -1,
			Cluster: cluster.Options{MaxOutboundAge: 300 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)},
		},
	}, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNode(t, p) })
	host := &adaptertest.RecoveryHost{Host: adaptertest.NewHost("/", "node"), Options: adapter.Recovery{Window: time.Minute}}
	a, err := p.Open(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	h.p, h.a, h.all = p, a.(adapter.SessionKeeper), a
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
	if err := h.all.Broadcast(packetOf(`["`+event+`"]`), adapter.Target{Rooms: []string{"all"}}); err != nil {
		h.Logf("emit %s: %v", event, err) // an outage may refuse it
	}
}

// took waits for an event and returns its offset, empty for none.
func (c *client) took(event string) string {
	c.h.Helper()
	var args []string
	poll(c.h, c.s.ID()+" gets "+event, func() bool {
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

func (c *client) recover() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	claim, err := c.h.a.Claim(ctx, c.pid, c.offset)
	if err == nil {
		claim.Confirm()
	}
	return err
}

func (c *client) recovered() {
	c.h.Helper()
	if err := c.recover(); err != nil {
		c.h.Errorf("not recovered: %v", err)
	}
}

func (c *client) notRecovered() {
	c.h.Helper()
	if err := c.recover(); !errors.Is(err, adapter.ErrNoSession) {
		c.h.Errorf("recovered, or %v", err)
	}
}

func (h *haven) cli(args ...any) {
	h.Helper()
	if err := h.client.Do(h.Context(), args...).Err(); err != nil {
		h.Fatalf("%v: %v", args, err)
	}
}

// seen is a client that has received one event, and others that it missed.
func (h *haven) seen() *client {
	h.Helper()
	c := h.arrive()
	h.emit("seen")
	c.took("seen")
	other := h.arrive()
	h.emit("more")
	other.took("more")
	c.lose()
	h.emit("missed")
	other.took("missed")
	return c
}

func TestWhatIsMissingInTheStreamIsNotRecovered(t *testing.T) {
	t.Parallel()
	ids := func(h *haven, c *client) (list []string) {
		entries, err := h.client.XRange(h.Context(), havenKey, c.offset, "+").Result()
		if err != nil || len(entries) < 3 {
			h.Fatalf("%d entries, %v", len(entries), err)
		}
		for _, e := range entries {
			list = append(list, e.ID)
		}
		return list
	}
	for name, spoil := range map[string]func(h *haven, c *client){
		"trimmed to nothing":  func(h *haven, _ *client) { h.cli("XTRIM", havenKey, "MAXLEN", 0) },
		"trimmed behind it":   func(h *haven, c *client) { h.cli("XTRIM", havenKey, "MINID", ids(h, c)[1]) },
		"an entry deleted":    func(h *haven, c *client) { h.cli("XDEL", havenKey, ids(h, c)[1]) },
		"stream deleted":      func(h *haven, _ *client) { h.cli("DEL", havenKey) },
		"hole reported":       func(h *haven, _ *client) { h.cli("XADD", havenKey, "*", "uid", "x", "nsp", "/", "type", 49) },
		"another type of key": func(h *haven, _ *client) { h.cli("SET", havenKey, "x") },
		"session unreadable":  func(h *haven, c *client) { h.cli("SET", "sio:session:"+c.pid, "x", "PX", 60_000) },
		"session of another pid": func(h *haven, c *client) {
			h.cli("COPY", "sio:session:"+h.arrive().saved().pid, "sio:session:"+c.pid, "REPLACE")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHaven(t)
			h.seen().recovered() // so that it fails for this reason only
			c := h.seen()
			c.saved()
			spoil(h, c)
			c.notRecovered()
		})
	}
}

// saved waits until the session is in Redis.
func (c *client) saved() *client {
	c.h.Helper()
	poll(c.h, "the session is stored", func() bool {
		n, err := c.h.client.Exists(c.h.Context(), "sio:session:"+c.pid).Result()
		return err == nil && n == 1
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, _ = c.h.a.Claim(ctx, "nobody", "") // and what was written after it
	return c
}

func TestRedisThatLostItsDataRecoversNobody(t *testing.T) {
	t.Parallel()
	h := newHaven(t)
	c := h.seen()
	c.saved()
	h.redis.Restart(t)
	poll(t, "the node stores sessions again", func() bool { return h.client.Exists(t.Context(), "sio:session:"+h.arrive().pid).Err() == nil })
	c.notRecovered()
	next := h.arrive()
	poll(t, "events have offsets again", func() bool { h.emit("again"); return next.took("again") != "" })
}

// A replica that became the master without the newest entries: nobody can tell a
// client what they were. The node that had read them says so in the stream.
func TestEntriesLostInAFailoverAreNotSkipped(t *testing.T) {
	t.Parallel()
	h := newHaven(t)
	c := h.arrive()
	h.emit("seen")
	c.took("seen")
	c.lose()
	before, err := h.client.XRange(t.Context(), havenKey, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	h.emit("lost") // nobody is there; the next client is behind it
	other := h.arrive()
	h.emit("lost too")
	other.took("lost too")
	c.saved()
	_, err = h.client.TxPipelined(t.Context(), func(p goredis.Pipeliner) error {
		p.Del(t.Context(), havenKey)
		for _, e := range before {
			p.XAdd(t.Context(), &goredis.XAddArgs{Stream: havenKey, ID: e.ID, Values: e.Values})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	poll(t, "the hole is marked", func() bool {
		list, err := h.client.XRange(t.Context(), havenKey, "-", "+").Result()
		if err != nil {
			return false
		}
		for _, e := range list {
			if e.Values["type"] == "49" {
				return true
			}
		}
		return false
	})
	c.notRecovered()
}

// Without Redis events are delivered after a while, without offset. Their
// recipients cannot be recovered until they have got an event with one; nor those
// who were away.
func TestEventsWithoutOffsetAreNotRecovered(t *testing.T) {
	t.Parallel()
	h := newHaven(t)
	away, lost, back := h.seen(), h.arrive(), h.arrive()
	away.saved()
	h.redis.Pause(t)
	h.emit("blind")
	for _, c := range []*client{lost, back} {
		if at := c.took("blind"); at != "" {
			t.Errorf("the event has offset %s", at)
		}
	}
	lost.lose()
	h.redis.Resume(t)
	poll(t, "events have offsets again", func() bool { h.emit("again"); c := h.arrive(); h.emit(c.pid); return c.took(c.pid) != "" })
	lost.notRecovered()
	away.notRecovered()
	h.emit("last")
	back.took("last")
	back.lose()
	back.recovered()
}

// An entry that was added again, because nobody knew whether it had been, is
// replayed once.
func TestEntryAddedTwiceIsReplayedOnce(t *testing.T) {
	t.Parallel()
	h := newHaven(t)
	c := h.seen()
	c.saved()
	list, err := h.client.XRevRangeN(t.Context(), havenKey, "+", "-", 1).Result()
	if err != nil || len(list) != 1 || list[0].Values["token"] == nil {
		t.Fatalf("the last entry is %v, %v", list, err)
	}
	if err := h.client.XAdd(t.Context(), &goredis.XAddArgs{Stream: havenKey, Values: list[0].Values}).Err(); err != nil {
		t.Fatal(err)
	}
	claim, err := h.a.Claim(t.Context(), c.pid, c.offset)
	if err != nil {
		t.Fatal(err)
	}
	s := adaptertest.NewSocket(c.s.ID())
	if err := claim.Resume(s, func() {}); err != nil {
		t.Fatal(err)
	}
	if got := s.Received(); len(got) != 2 { // more and missed
		t.Errorf("%d events replayed, want 2", len(got))
	}
}
