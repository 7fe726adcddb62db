package core_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// Namespaces a client names cost nothing unless the program wants them, and then
// only so many.
func TestT20_NamespacesAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{MaxDynamicNamespaces: 5, CleanupEmptyNamespaces: true})
	e := r.bare(t)
	for i := range 5000 {
		send(t, e, fmt.Sprintf("0/random-%d,", i))
		if got := read(t, e); !strings.HasSuffix(got, `,{"message":"Invalid namespace"}`) {
			t.Fatalf("got %s", got)
		}
	}
	equal(t, "namespaces", r.Stats().Namespaces, 1)

	r.OfPattern(namePattern(`(?s)^/room-.*$`))
	for _, name := range []string{"/room-\n", "/room-\x00", "/room-\x7f"} {
		send(t, e, "0"+name+",")
		if got := read(t, e); !strings.Contains(got, "Invalid namespace") {
			t.Errorf("%q: %s", name, got)
		}
	}
	send(t, e, "0/room-"+strings.Repeat("n", 251)+",")
	ended(t, e)
	var joined []*testutil.Client
	for i := range 5 {
		joined = append(joined, r.join(t, fmt.Sprintf("/room-%d", i)))
	}
	equal(t, "refusal", r.refused(t, "/room-5").Message, "too many namespaces")
	equal(t, "namespaces", r.Stats().Namespaces, 6)
	for _, c := range joined {
		c.Close()
	}
	eventually(t, "empty namespaces are gone", func() bool { return r.Stats().Namespaces == 1 })

	many := r.dial(t)
	for i := range 10 {
		nsp := fmt.Sprintf("/fixed-%d", i)
		r.Of(nsp)
		_, err := many.Of(t.Context(), nsp, nil)
		if refused := err != nil; refused != (i >= 7) {
			t.Errorf("namespace %d of one client: %v", i+2, err)
		}
	}
	r.healthy(t)
}

// A namespace that refuses a client is not left behind for it: names made up by
// clients that may not enter would use up the bound on namespaces for those who may.
func TestT20_RefusedClientsLeaveNoNamespaces(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{MaxDynamicNamespaces: 5})
	r.OfPattern(namePattern(`^/room-`)).Use(func(_ context.Context, s *core.Socket) error {
		if string(s.Handshake().Auth()) == "{}" {
			return errors.New("no")
		}
		return nil
	})
	e := r.bare(t)
	for i := range 50 {
		send(t, e, fmt.Sprintf("0/room-%d,", i))
		equal(t, "answer", read(t, e), fmt.Sprintf(`4/room-%d,{"message":"no"}`, i))
		eventually(t, "the namespace is gone", func() bool { return r.Stats().Namespaces == 1 })
	}
	send(t, e, `0/room-x,{"token":1}`)
	if got := read(t, e); !strings.HasPrefix(got, `0/room-x,{"sid"`) {
		t.Errorf("CONNECT answered with %s", got)
	}
	send(t, e, `1/room-x`)
	eventually(t, "it is empty", func() bool { return r.Stats().Sockets == 0 })
	equal(t, "namespaces that clients have been in", r.Stats().Namespaces, 2)
}

// A program that joins whatever room a client names is bounded all the same.
func TestT21_RoomsAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	core.OnAck(r, "join", func(_ context.Context, s *core.Socket, room string) (bool, error) {
		err := s.Join(room)
		if err != nil && !errors.Is(err, core.ErrTooManyRooms) && !errors.Is(err, core.ErrRoomName) {
			t.Error(err)
		}
		return err == nil, nil
	})
	c := r.dial(t)
	equal(t, "longest name", ack(t, c.Socket, "join", strings.Repeat("r", 256)), any(true))
	equal(t, "longer name", ack(t, c.Socket, "join", strings.Repeat("r", 257)), any(false))
	for i := range 1200 {
		if err := c.Emit("join", fmt.Sprint("r", i)); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "one more", ack(t, c.Socket, "join", "more"), any(false))
	s := r.socket(t, c)
	equal(t, "rooms", len(s.Rooms()), 1000)
	equal(t, "connected", s.Connected(), true)
	c.Close()
	eventually(t, "all rooms are gone", func() bool { rooms, _ := r.AllRooms(t.Context()); return len(rooms) == 0 })
}

// Answers nobody asked for cost nothing, and what a silent client owes is bounded.
func TestT22_AcksAreBounded(t *testing.T) {
	// It measures the heap, and so runs by itself.
	r := start(t, nil)
	e := r.engine(t)
	before := heap()
	for i := range 90 {
		send(t, e, fmt.Sprintf(`3%d["%s"]`, i*7919, strings.Repeat("x", 10_000)))
	}
	eventually(t, "they are counted", func() bool { return r.Stats().UnknownAcks == 90 })
	if grown := int64(heap()) - int64(before); grown > 16<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	send(t, e, "39007199254740991[]")
	r.violates(t, "an id above 2^53-1", testutil.Message(`39007199254740992[]`))
	r.violates(t, "an event's id above 2^53-1", testutil.Message(`29007199254740992["e"]`))

	var s *core.Socket
	for s = range r.Sockets() {
	}
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	var refused atomic.Int64
	for range 1100 {
		waiting.Go(func() {
			if _, err := core.EmitWithAck[any](ctx, s, "ask"); errors.Is(err, core.ErrTooManyAcks) {
				refused.Add(1)
			}
		})
	}
	eventually(t, "the rest is refused", func() bool { return refused.Load() == 100 })
	equal(t, "PendingAcks", r.Stats().PendingAcks, 1000)
	cancel()
	waiting.Wait()
	eventually(t, "all ids are free", func() bool { return r.Stats().PendingAcks == 0 })
}

// One client's flood waits in the network, not in memory, and holds up nobody else.
func TestT23_AFloodOfEventsHoldsUpOnlyItsSender(t *testing.T) {
	// It measures the heap, and so runs by itself.
	const events = 2000
	r := start(t, &core.Options{MaxInboundBytes: 64 << 10})
	gate := make(chan struct{})
	core.On(r, "n", func(context.Context, *core.Socket, int) error { <-gate; return nil })
	core.OnAck(r, "alive", func(context.Context, *core.Socket, none) (bool, error) { return true, nil })
	before := heap()
	written := flood(t, r.dial(t), events, 8<<10)
	held := stalled(t, written)
	if held == events {
		t.Error("all of it was taken")
	}
	if grown := int64(heap()) - int64(before); grown > 64<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	equal(t, "another client", ack(t, r.dial(t).Socket, "alive"), any(true))
	close(gate)
	eventually(t, "it goes on", func() bool { return written.Load() > held })
}

// What a client claims about an earlier session is not believed: only the secret of
// a session that lost its connection resumes it, once, where it was.
func TestT28_OnlyTheSecretOfALostSessionResumesIt(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{Recovery: &core.RecoveryOptions{}})
	r.Of("/other")
	victim := r.dial(t)
	_ = r.Emit("news") // gives the client an offset
	victim.Expect(t, "news")
	pid, offset, id := victim.PID(), victim.Offset(), victim.ID()
	claim := func(nsp, auth string) (sid string) {
		t.Helper()
		e := r.bare(t)
		send(t, e, "0"+nsp+auth)
		got := read(t, e)
		if !strings.HasPrefix(got, "0"+nsp+`{"sid":"`) {
			t.Fatalf("%.60s answered with %.60s", auth, got)
		}
		send(t, e, "2"+nsp+`["alive"]`) // shows that the client got the answer
		return sidOf(t, got)
	}
	session := func(pid, offset string) string { return `{"pid":"` + pid + `","offset":"` + offset + `"}` }
	if claim("", session(pid, offset)) == id {
		t.Error("resumed a session that is connected")
	}
	victim.Engine().Abort()
	eventually(t, "the victim is gone", func() bool { _, found := r.Socket(id); return !found })
	for name, auth := range map[string]string{
		"public id":     session(id, offset),
		"other types":   `{"pid":1,"offset":{}}`,
		"null":          `{"pid":null,"offset":null}`,
		"arrays":        `{"pid":["` + pid + `"],"offset":["` + offset + `"]}`,
		"long":          session(strings.Repeat("p", 100_000), "-"),
		"property name": session("__proto__", "../*"),
		"no offset":     `{"pid":"` + pid + `","offset":""}`,
		"odd offset":    session(pid, "1-1; FLUSHALL"),
		"other case":    session(strings.ToUpper(pid)+"a", offset),
	} {
		if claim("", auth) == id {
			t.Errorf("%s: resumed", name)
		}
	}
	if claim("/other,", session(pid, offset)) == id {
		t.Error("resumed in another namespace")
	}
}

// A session is resumed once: its secret is void for whoever overheard it.
func TestT28_ASessionIsResumedOnce(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{Recovery: &core.RecoveryOptions{}})
	core.OnAck(r, "alive", func(context.Context, *core.Socket, none) (bool, error) { return true, nil })
	c := r.dial(t)
	_ = r.Emit("news")
	c.Expect(t, "news")
	auth := `0{"pid":"` + c.PID() + `","offset":"` + c.Offset() + `"}`
	c.Engine().Abort()
	eventually(t, "the client is gone", func() bool { return r.Stats().Sockets == 0 })
	for i, resumed := range []bool{true, false} {
		e := r.bare(t)
		send(t, e, auth)
		if got := sidOf(t, read(t, e)) == c.ID(); got != resumed {
			t.Errorf("attempt %d: resumed %v", i+1, got)
		}
		send(t, e, `21["alive"]`)
		equal(t, "answer", read(t, e), "31[true]")
	}
}

// Who has been banned meanwhile does not come back by resuming a session, where the
// program asks for its middlewares to be run.
func TestT29_MiddlewaresCanJudgeReturningClients(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{Recovery: &core.RecoveryOptions{RunMiddleware: true}})
	var banned atomic.Bool
	r.Use(func(context.Context, *core.Socket) error {
		if banned.Load() {
			return errors.New("banned")
		}
		return nil
	})
	c := r.dial(t)
	_ = r.Emit("news")
	c.Expect(t, "news")
	c.Engine().Abort()
	eventually(t, "the client is gone", func() bool { return r.Stats().Sockets == 0 })
	banned.Store(true)
	for _, auth := range []string{`{}`, `{"pid":"` + c.PID() + `","offset":"` + c.Offset() + `"}`} {
		e := r.bare(t)
		send(t, e, "0"+auth)
		equal(t, auth, read(t, e), `4{"message":"banned"}`)
	}
}

// syncBuffer is a log that may be written to from any goroutine.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Split(strings.TrimSpace(b.buf.String()), "\n")
}

// Clients can neither forge log lines nor add names to what is counted.
func TestT31_LogsAndCountersCannotBeForged(t *testing.T) {
	t.Parallel()
	const forged = "x\nlevel=ERROR msg=forged\r\n\x1b[31m\u2028"
	var log syncBuffer
	r := start(t, &core.Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	r.OfPattern(namePattern(`(?s).`))
	core.On(r, "fail", func(_ context.Context, _ *core.Socket, s string) error { return errors.New("refused " + s) })
	core.On(r, "panic", func(_ context.Context, _ *core.Socket, s string) error { panic(s) })
	core.On(r, "number", func(context.Context, *core.Socket, int) error { return nil })
	c := r.dial(t)
	for _, event := range []string{"fail", "panic", "number", forged} {
		if err := c.Emit(event, forged); err != nil {
			t.Fatal(err)
		}
	}
	e := r.bare(t)
	send(t, e, "0/"+forged+",", "0/ level=ERROR msg=forged,")
	r.request(t, "GET", pollingQuery+"&x=%0Alevel=ERROR", "", "Origin", "http://evil.example level=ERROR msg=forged")
	bad := r.bare(t)
	send(t, bad, "0", "2"+forged)
	ended(t, bad)
	eventually(t, "all is handled", func() bool { return r.Stats().Events == 4 })
	for _, line := range log.lines() {
		if !strings.HasPrefix(line, "time=") || strings.Contains(line, " msg=forged") && !strings.Contains(line, `"`) || strings.ContainsRune(line, '\x1b') {
			t.Errorf("log line %q", line)
		}
	}

	before := r.Stats()
	for i := range 3000 {
		if err := c.Emit(fmt.Sprint("random-", i)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all is handled", func() bool { return r.Stats().Events == 3004 })
	after := r.Stats()
	equal(t, "reasons counted", len(after.Disconnects), len(before.Disconnects))
	equal(t, "limits counted", len(after.LimitsHit), len(before.LimitsHit))
}
