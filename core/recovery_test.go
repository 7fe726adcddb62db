package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/memory"
	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// ticket is what a client needs to resume its session.
type ticket struct {
	SID    string `json:"sid"`
	PID    string `json:"pid"`
	offset string
}

func (k ticket) connect(nsp string) string {
	auth := map[string]string{"pid": k.PID}
	if k.offset != "" {
		auth["offset"] = k.offset
	}
	text, _ := json.Marshal(auth)
	return "0" + nsp + string(text)
}

func readTicket(t testing.TB, e *testutil.Engine, nsp string) (k ticket) {
	t.Helper()
	text := read(t, e)
	body, ok := strings.CutPrefix(text, "0"+nsp)
	if !ok || json.Unmarshal([]byte(body), &k) != nil || len(k.PID) != 20 || k.PID == k.SID {
		t.Fatalf("CONNECT answered with %s", text)
	}
	return k
}

// arrive joins "/" by hand, as a new client.
func (r *rig) arrive(t testing.TB) (*testutil.Engine, ticket) {
	t.Helper()
	e := r.bare(t)
	send(t, e, "0")
	return e, readTicket(t, e, "")
}

// comeBack presents a ticket on a new connection.
func (r *rig) comeBack(t testing.TB, k ticket) *testutil.Engine {
	t.Helper()
	e := r.bare(t)
	send(t, e, k.connect(""))
	return e
}

// lose cuts the connection and waits until the server has noticed.
func (r *rig) lose(t testing.TB, e *testutil.Engine, id string) {
	t.Helper()
	e.Abort()
	eventually(t, "the socket has gone", func() bool { _, ok := r.Of("/").Socket(id); return !ok })
}

// readEvent reads an event and returns its arguments without the offset, which it
// notes in k.
func readEvent(t testing.TB, e *testutil.Engine, k *ticket) string {
	t.Helper()
	text := read(t, e)
	var args []any
	if !strings.HasPrefix(text, "2[") || json.Unmarshal([]byte(text[1:]), &args) != nil {
		t.Fatalf("got %s, want an event", text)
	}
	offset, ok := args[len(args)-1].(string)
	if !ok {
		t.Fatalf("%s has no offset", text)
	}
	k.offset = offset
	return strings.TrimSpace(fmt.Sprintln(args[:len(args)-1]...))
}

func emit(t testing.TB, r *rig, event string, args ...any) {
	t.Helper()
	if err := r.Emit(event, args...); err != nil {
		t.Fatal(err)
	}
}

func TestMissedEventsPrecedeTheReply(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{Recovery: &core.RecoveryOptions{}})
	recovered := make(chan bool, 2)
	r.OnConnect(func(_ context.Context, s *core.Socket) error { recovered <- s.Recovered(); return nil })
	e, k := r.arrive(t)
	equal(t, "recovered at first", recv(t, "OnConnect", recovered), false)
	emit(t, r, "one")
	equal(t, "event", readEvent(t, e, &k), "one")
	r.lose(t, e, k.SID)
	emit(t, r, "two", 2)
	emit(t, r, "three")

	e = r.comeBack(t, k)
	before := k
	equal(t, "event", readEvent(t, e, &k), "two 2")
	equal(t, "event", readEvent(t, e, &k), "three")
	back := readTicket(t, e, "")
	equal(t, "ticket", [2]string{back.SID, back.PID}, [2]string{before.SID, before.PID})
	equal(t, "recovered", recv(t, "OnConnect", recovered), true)
	emit(t, r, "four")
	equal(t, "event", readEvent(t, e, &k), "four")
	equal(t, "recoveries", r.Stats().Recoveries, 1)
}

func TestClientThatNeverReceivedAnEventIsRecovered(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{Recovery: &core.RecoveryOptions{}})
	emit(t, r, "before it came")
	e, k := r.arrive(t)
	if err := r.To("elsewhere").Emit("not for it"); err != nil {
		t.Fatal(err)
	}
	r.lose(t, e, k.SID)
	emit(t, r, "missed")
	e = r.comeBack(t, k)
	var seen ticket
	equal(t, "event", readEvent(t, e, &seen), "missed")
	equal(t, "id", readTicket(t, e, "").SID, k.SID)
}

// The client has long received its last event when that has been dropped from the
// log: nothing was sent to it since.
func TestQuietClientIsRecoveredThoughItsOffsetIsGone(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{Recovery: &core.RecoveryOptions{MaxPackets: 3}})
	e, k := r.arrive(t)
	emit(t, r, "seen")
	readEvent(t, e, &k)
	for range 10 {
		if err := r.To("others").Emit("not for it"); err != nil {
			t.Fatal(err)
		}
	}
	r.lose(t, e, k.SID)
	emit(t, r, "missed")
	for range 3 { // the client gets nothing of the first two
		e = r.comeBack(t, k)
		var seen ticket
		equal(t, "event", readEvent(t, e, &seen), "missed")
		equal(t, "id", readTicket(t, e, "").SID, k.SID)
		r.lose(t, e, k.SID)
	}
}

func TestRecoveryThatDiesHalfWayCanBeRetried(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{Recovery: &core.RecoveryOptions{}})
	e, k := r.arrive(t)
	emit(t, r, "seen")
	readEvent(t, e, &k)
	r.lose(t, e, k.SID)
	emit(t, r, "one")
	for range 3 { // the client gets nothing of these
		e = r.comeBack(t, k)
		eventually(t, "the socket is back", func() bool { _, ok := r.Of("/").Socket(k.SID); return ok })
		r.lose(t, e, k.SID)
	}
	emit(t, r, "two")
	e = r.comeBack(t, k)
	var seen ticket
	equal(t, "event", readEvent(t, e, &seen), "one")
	equal(t, "event", readEvent(t, e, &seen), "two")
	equal(t, "id", readTicket(t, e, "").SID, k.SID)
}

func TestOneOfSeveralConnectionsResumesASession(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{Recovery: &core.RecoveryOptions{}})
	e, k := r.arrive(t)
	r.lose(t, e, k.SID)
	const n = 8
	engines := make([]*testutil.Engine, n)
	for i := range engines {
		engines[i] = r.bare(t)
	}
	var wg sync.WaitGroup
	ids := make([]ticket, n)
	for i, e := range engines {
		wg.Go(func() {
			if e.Send(t.Context(), testutil.Message(k.connect(""))) == nil {
				ids[i] = readTicket(t, e, "")
			}
		})
	}
	wg.Wait()
	same := 0
	for _, id := range ids {
		if id.SID == k.SID && id.PID == k.PID {
			same++
		}
	}
	equal(t, "connections that resumed", same, 1)
}

func TestRoomsAndDataSurvive(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{Recovery: &core.RecoveryOptions{}})
	type profile struct{ Name string }
	e, k := r.arrive(t)
	s, _ := r.Of("/").Socket(k.SID)
	if err := errors.Join(s.Join("a", "b"), s.SetData(profile{"Ada"})); err != nil {
		t.Fatal(err)
	}
	s.Leave("b")
	r.lose(t, e, k.SID)
	for _, room := range []string{"a", "b", k.SID} {
		if err := r.To(room).Emit("to", room); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Emit("to the old socket"); !errors.Is(err, core.ErrDisconnected) {
		t.Errorf("Emit: %v, want ErrDisconnected", err)
	}
	e = r.comeBack(t, k)
	var seen ticket
	equal(t, "event", readEvent(t, e, &seen), "to a")
	equal(t, "event", readEvent(t, e, &seen), "to "+k.SID)
	equal(t, "event", readEvent(t, e, &seen), "to the old socket")
	readTicket(t, e, "")
	eventually(t, "the socket is back", func() bool { _, ok := r.Of("/").Socket(k.SID); return ok })
	back, _ := r.Of("/").Socket(k.SID)
	got, ok := core.Data[profile](back)
	equal(t, "data", got, profile{"Ada"})
	equal(t, "data is set", ok, true)
	equal(t, "rooms", strings.Join(back.Rooms(), " "), k.SID+" a")
	if err := s.Emit("through the old handle"); err != nil {
		t.Error(err)
	}
	equal(t, "event", readEvent(t, e, &seen), "through the old handle")
}

func TestOnlyWhatCanBeReplayedHasAnOffset(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{Recovery: &core.RecoveryOptions{}})
	e, k := r.arrive(t)
	s, _ := r.Of("/").Socket(k.SID)
	_ = s.TryEmit("volatile", 1) // a connection that has just opened is ready
	equal(t, "volatile", read(t, e), `2["volatile",1]`)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := core.EmitWithAck[any](ctx, s, "acked")
		done <- err
	}()
	equal(t, "acked", read(t, e), `20["acked"]`)
	cancel()
	if err := recv(t, "EmitWithAck", done); err == nil {
		t.Error("EmitWithAck returned an answer")
	}
	if err := s.Emit("bin", []byte{1}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, e); !strings.HasPrefix(got, `51-["bin",{"_placeholder":true,"num":0},"`) {
		t.Errorf("binary: got %s", got)
	}
}

// Threat T28: pid and offset come from the client.
func TestT28PidAndOffsetFromTheClientAreNotTrusted(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{Recovery: &core.RecoveryOptions{MaxReplayPackets: 5}})
	r.Of("/other")
	e, k := r.arrive(t)
	emit(t, r, "seen")
	readEvent(t, e, &k)
	offset := k.offset
	epoch, number, _ := strings.Cut(offset, ".")
	r.lose(t, e, k.SID)
	for name, auth := range map[string]any{
		"unknown pid":              map[string]any{"pid": "AAAAAAAAAAAAAAAAAAAA", "offset": offset},
		"the socket id as pid":     map[string]any{"pid": k.SID, "offset": offset},
		"pid in capitals key":      map[string]any{"PID": k.PID, "offset": offset},
		"number as pid":            map[string]any{"pid": 1, "offset": offset},
		"list as pid":              map[string]any{"pid": []string{k.PID}, "offset": offset},
		"longer pid":               map[string]any{"pid": k.PID + "A", "offset": offset},
		"number as offset":         map[string]any{"pid": k.PID, "offset": 1},
		"empty offset":             map[string]any{"pid": k.PID, "offset": ""},
		"null as offset":           map[string]any{"pid": k.PID, "offset": nil},
		"offset of another log":    map[string]any{"pid": k.PID, "offset": "AAAAAAAA." + number},
		"offset in the future":     map[string]any{"pid": k.PID, "offset": epoch + ".zzzz"},
		"offset zero":              map[string]any{"pid": k.PID, "offset": epoch + ".0"},
		"leading zero":             map[string]any{"pid": k.PID, "offset": epoch + ".0" + number},
		"sign":                     map[string]any{"pid": k.PID, "offset": epoch + ".+" + number},
		"capitals":                 map[string]any{"pid": k.PID, "offset": epoch + "." + "Z"},
		"text behind the offset":   map[string]any{"pid": k.PID, "offset": offset + "\n"},
		"text before the offset":   map[string]any{"pid": k.PID, "offset": " " + offset},
		"more than 64 bits":        map[string]any{"pid": k.PID, "offset": epoch + ".zzzzzzzzzzzzz"},
		"a mebibyte of digits":     map[string]any{"pid": k.PID, "offset": epoch + "." + strings.Repeat("1", 1<<19)},
		"the last string argument": map[string]any{"pid": k.PID, "offset": "hello"},
	} {
		text, err := json.Marshal(auth)
		if err != nil {
			t.Fatal(err)
		}
		e := r.bare(t)
		send(t, e, "0"+string(text))
		if got := readTicket(t, e, ""); got.SID == k.SID || got.PID == k.PID {
			t.Errorf("%s: the session was resumed", name)
		}
	}
	e = r.bare(t)
	send(t, e, k.connect("/other,"))
	if got := readTicket(t, e, "/other,"); got.SID == k.SID || got.PID == k.PID {
		t.Error("the session was resumed in another namespace")
	}
	e = r.comeBack(t, k) // none of this has used it up
	equal(t, "id", readTicket(t, e, "").SID, k.SID)
	send(t, e, `2["I am back"]`)
	if got := readTicket(t, r.comeBack(t, k), ""); got.SID == k.SID || got.PID == k.PID {
		t.Error("the session of a connected client was resumed")
	}
	r.lose(t, e, k.SID)
	for range 6 {
		emit(t, r, "too many")
	}
	if got := readTicket(t, r.comeBack(t, k), ""); got.SID == k.SID {
		t.Error("more than MaxReplayPackets were replayed")
	}
}

func TestT28RecoveriesPerSecondAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{Recovery: &core.RecoveryOptions{MaxRestores: 1}})
	var lost []ticket
	for range 8 {
		e, k := r.arrive(t)
		r.lose(t, e, k.SID)
		lost = append(lost, k)
	}
	for _, k := range lost {
		readTicket(t, r.comeBack(t, k), "")
	}
	if r.Stats().LimitsHit["restores"] == 0 {
		t.Error("eight clients came back without meeting the limit of one per second")
	}
}

// Threat T29: a client banned while it was away comes back.
func TestT29MiddlewareOfRecoveredSockets(t *testing.T) {
	t.Parallel()
	for _, run := range []bool{false, true} {
		t.Run(fmt.Sprintf("RunMiddleware %v", run), func(t *testing.T) {
			t.Parallel()
			r := start(t, &core.Options{Recovery: &core.RecoveryOptions{RunMiddleware: run}})
			var mu sync.Mutex
			banned := false
			r.Use(func(_ context.Context, s *core.Socket) error {
				mu.Lock()
				defer mu.Unlock()
				if banned {
					return errors.New("banned")
				}
				return s.Emit("hello", s.Recovered())
			})
			e, k := r.arriveGreeted(t)
			r.lose(t, e, k.SID)
			emit(t, r, "missed")
			mu.Lock()
			banned = true
			mu.Unlock()
			e = r.comeBack(t, k)
			if !run {
				equal(t, "event", readEvent(t, e, &k), "missed")
				readTicket(t, e, "")
				return
			}
			equal(t, "answer", read(t, e), `4{"message":"banned"}`)
			mu.Lock()
			banned = false
			mu.Unlock()
			e = r.comeBack(t, k)
			seen := k
			equal(t, "event", readEvent(t, e, &seen), "missed")
			equal(t, "what the middleware emits", readEvent(t, e, &seen), "hello true")
			equal(t, "id", readTicket(t, e, "").SID, k.SID)
		})
	}
}

// arriveGreeted is arrive for a server that emits one event first.
func (r *rig) arriveGreeted(t testing.TB) (*testutil.Engine, ticket) {
	t.Helper()
	e := r.bare(t)
	send(t, e, "0")
	var k ticket
	readEvent(t, e, &k)
	offset := k.offset
	k = readTicket(t, e, "")
	k.offset = offset
	return e, k
}

func TestWhatCannotBeProvedIsNotRecovered(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		opts core.RecoveryOptions
		away func(t *testing.T, r *rig, s *core.Socket, e *testutil.Engine)
	}{
		"log trimmed by packets": {core.RecoveryOptions{MaxPackets: 2}, func(t *testing.T, r *rig, s *core.Socket, e *testutil.Engine) {
			r.lose(t, e, s.ID())
			for range 3 {
				emit(t, r, "missed")
			}
		}},
		"log trimmed by bytes": {core.RecoveryOptions{MaxBytes: 4096}, func(t *testing.T, r *rig, s *core.Socket, e *testutil.Engine) {
			r.lose(t, e, s.ID())
			emit(t, r, "missed", strings.Repeat("x", 5000))
		}},
		"too many bytes missed": {core.RecoveryOptions{MaxReplayBytes: 4096}, func(t *testing.T, r *rig, s *core.Socket, e *testutil.Engine) {
			r.lose(t, e, s.ID())
			emit(t, r, "missed", strings.Repeat("x", 5000))
		}},
		"expired": {core.RecoveryOptions{MaxDisconnection: time.Nanosecond}, func(t *testing.T, r *rig, s *core.Socket, e *testutil.Engine) {
			r.lose(t, e, s.ID())
		}},
		"pushed out by other sessions": {core.RecoveryOptions{MaxSessions: 1}, func(t *testing.T, r *rig, s *core.Socket, e *testutil.Engine) {
			r.lose(t, e, s.ID())
			e2, k := r.arrive(t)
			r.lose(t, e2, k.SID)
		}},
		"left a room whose events are in doubt": {core.RecoveryOptions{}, func(t *testing.T, r *rig, s *core.Socket, e *testutil.Engine) {
			if err := errors.Join(s.Join("room"), r.To("room").Emit("in doubt")); err != nil {
				t.Fatal(err)
			}
			s.Leave("room")
			r.lose(t, e, s.ID())
		}},
		"disconnected by the server": {core.RecoveryOptions{}, func(t *testing.T, r *rig, s *core.Socket, e *testutil.Engine) {
			s.Disconnect(false)
			vanished(t, r, s)
		}},
		"connection closed by the server": {core.RecoveryOptions{}, func(t *testing.T, r *rig, s *core.Socket, e *testutil.Engine) {
			s.Disconnect(true)
			vanished(t, r, s)
		}},
		"left by itself": {core.RecoveryOptions{}, func(t *testing.T, r *rig, s *core.Socket, e *testutil.Engine) {
			send(t, e, "1")
			vanished(t, r, s)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, &core.Options{Recovery: &c.opts})
			e, k := r.arrive(t)
			emit(t, r, "seen")
			readEvent(t, e, &k)
			s, _ := r.Of("/").Socket(k.SID)
			c.away(t, r, s, e)
			got := readTicket(t, r.comeBack(t, k), "")
			if got.SID == k.SID || got.PID == k.PID {
				t.Error("the session was recovered")
			}
			equal(t, "failures", r.Stats().RecoveryFailures, 1)
		})
	}
}

func vanished(t testing.TB, r *rig, s *core.Socket) {
	t.Helper()
	eventually(t, "the socket has gone", func() bool { _, ok := r.Of("/").Socket(s.ID()); return !ok })
}

func TestExpiredSessionsAreReported(t *testing.T) {
	t.Parallel()
	expired := make(chan core.SessionInfo, 4)
	r := start(t, &core.Options{Recovery: &core.RecoveryOptions{
		MaxDisconnection: 300 * time.Millisecond,
		OnSessionExpired: func(i core.SessionInfo) { expired <- i },
	}})
	stay, kept := r.arrive(t)
	r.lose(t, stay, kept.SID)
	stay = r.comeBack(t, kept)
	equal(t, "id", readTicket(t, stay, "").SID, kept.SID)

	e, k := r.arrive(t)
	s, _ := r.Of("/").Socket(k.SID)
	if err := errors.Join(s.Join("a"), s.SetData(1)); err != nil {
		t.Fatal(err)
	}
	r.lose(t, e, k.SID)
	i := recv(t, "OnSessionExpired", expired)
	equal(t, "socket", i.SocketID, k.SID)
	equal(t, "namespace", i.Namespace, "/")
	equal(t, "rooms", strings.Join(i.Rooms, " "), k.SID+" a")
	equal(t, "data", string(i.Data), "1")
	equal(t, "more", len(expired), 0)
}

func TestNamespaceOutlivesItsSessions(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{
		CleanupEmptyNamespaces: true,
		Recovery:               &core.RecoveryOptions{MaxDisconnection: 300 * time.Millisecond},
	})
	r.OfFunc(func(context.Context, string, json.RawMessage) bool { return true })
	e := r.bare(t)
	send(t, e, "0/dyn,")
	k := readTicket(t, e, "/dyn,")
	e.Abort()
	eventually(t, "the socket has gone", func() bool { return r.Stats().Sockets == 0 })
	e = r.bare(t)
	send(t, e, k.connect("/dyn,"))
	equal(t, "id", readTicket(t, e, "/dyn,").SID, k.SID)
	e.Abort()
	eventually(t, "the namespace has gone", func() bool { return r.Stats().Namespaces == 1 })
}

// plain is a provider of adapters that keep no sessions.
type plain struct{}

func (plain) Open(_ context.Context, h adapter.Host) (adapter.Adapter, error) {
	return memory.New(h, memory.Options{}), nil
}
func (plain) Close(context.Context) error { return nil }

func TestAdapterWithoutSessionsIssuesPidsInVain(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{Adapter: plain{}, Recovery: &core.RecoveryOptions{}})
	e, k := r.arrive(t)
	emit(t, r, "bare")
	equal(t, "event", read(t, e), `2["bare"]`)
	r.lose(t, e, k.SID)
	if got := readTicket(t, r.comeBack(t, k), ""); got.SID == k.SID || got.PID == k.PID {
		t.Error("the session was recovered")
	}
}

func TestWithoutRecoveryNothingChangesOnTheWire(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	e := r.bare(t)
	send(t, e, `0{"pid":"AAAAAAAAAAAAAAAAAAAA","offset":"x"}`)
	if got := read(t, e); strings.Contains(got, "pid") {
		t.Errorf("CONNECT answered with %s", got)
	}
	emit(t, r, "bare")
	equal(t, "event", read(t, e), `2["bare"]`)
}

func TestRecoveryOptionsFromTheEnvironment(t *testing.T) {
	t.Setenv("RECTEST_RECOVERY_MAX_DISCONNECTION", "30s")
	t.Setenv("RECTEST_RECOVERY_RUN_MIDDLEWARE", "true")
	opts, err := core.OptionsFromEnv("RECTEST_")
	if err != nil || opts.Recovery == nil {
		t.Fatalf("got %+v, %v", opts, err)
	}
	equal(t, "MaxDisconnection", opts.Recovery.MaxDisconnection, 30*time.Second)
	equal(t, "RunMiddleware", opts.Recovery.RunMiddleware, true)
	t.Setenv("RECTEST_RECOVERY_MAX_SESSIONS", "many")
	if _, err := core.OptionsFromEnv("RECTEST_"); err == nil || !strings.Contains(err.Error(), "RECTEST_RECOVERY_MAX_SESSIONS") {
		t.Errorf("got %v, want an error that names the variable", err)
	}
	t.Setenv("ONTEST_RECOVERY", "true")
	if opts, err := core.OptionsFromEnv("ONTEST_"); err != nil || opts.Recovery == nil {
		t.Errorf("RECOVERY=true: got %+v, %v", opts, err)
	}
	t.Setenv("OFFTEST_RECOVERY", "false")
	if opts, err := core.OptionsFromEnv("OFFTEST_"); err != nil || opts.Recovery != nil {
		t.Errorf("RECOVERY=false: got %+v, %v", opts, err)
	}
}
