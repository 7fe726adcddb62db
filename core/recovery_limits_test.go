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
