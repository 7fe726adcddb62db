package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

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

// Whoever has been told that it is connected gets everything from then on, and
// nothing before.
func TestNothingComesBeforeTheReplyAndNothingIsLostBehindIt(t *testing.T) {
	t.Parallel()
	for _, o := range []*core.RecoveryOptions{nil, {}} {
		// The sender does not wait for anybody: no client is to be cut for that.
		r := start(t, &core.Options{Recovery: o, MaxQueueBytes: -1, MaxQueuePackets: -1, MaxTotalQueueBytes: -1})
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					emit(t, r, "tick", n)
				}
			}
		})
		for range 50 {
			e := r.bare(t)
			send(t, e, "0")
			if got := read(t, e); !strings.HasPrefix(got, `0{"sid":`) {
				t.Errorf("first packet %.80s", got)
			}
			_ = e.Close()
		}
		close(stop)
		wg.Wait()
		for range 200 {
			e := r.engine(t)
			emit(t, r, "now")
			for got := read(t, e); !strings.HasPrefix(got, `2["now"`); got = read(t, e) {
				if !strings.HasPrefix(got, `2["tick"`) {
					t.Fatalf("got %s", got)
				}
			}
			_ = e.Close()
		}
	}
}
