package core_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/socketfleet/socketfleet/adapter/redis"
	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// streamsURL returns the adapter URL of a deployment no other test shares.
func streamsURL(t testing.TB) string {
	t.Helper()
	key := testutil.Prefix(t)
	return fleetURL(t, "redis+streams", url.Values{"key": {key}, "stream": {key}, "session_key_prefix": {key + ":"}})
}

func pubSubURL(t testing.TB, scheme string) string {
	t.Helper()
	q := url.Values{"recovery": {"true"}, "key": {testutil.Prefix(t)}}
	if scheme == "redis+sharded" {
		q.Set("mode", "static")
	}
	return fleetURL(t, scheme, q)
}

func fleetURL(t testing.TB, scheme string, q url.Values) string {
	t.Helper()
	u, err := url.Parse(testutil.SharedRedis(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Scheme, u.RawQuery = scheme, q.Encode()
	return u.String()
}

// eachFleet runs a test with n servers whose clients are recovered on any of them.
func eachFleet(t *testing.T, n int, fn func(t *testing.T, nodes []*rig)) {
	t.Helper()
	for name, adapterURL := range map[string]string{
		"streams": streamsURL(t), "pubsub": pubSubURL(t, "redis"), "sharded pubsub": pubSubURL(t, "redis+sharded"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fn(t, startFleet(t, n, adapterURL))
		})
	}
}

func startFleet(t testing.TB, n int, adapterURL string) []*rig {
	t.Helper()
	nodes := make([]*rig, n)
	for i := range nodes {
		nodes[i] = start(t, &core.Options{
			AdapterURL: adapterURL, NodeID: fmt.Sprint("node-", i),
			Recovery: &core.RecoveryOptions{MaxDisconnection: time.Minute},
		})
		nodes[i].OnConnect(func(_ context.Context, s *core.Socket) error {
			if s.Recovered() {
				return nil
			}
			if err := s.SetData(map[string]string{"name": "é"}); err != nil {
				return err
			}
			return s.Join("red")
		})
	}
	return nodes
}

// joined waits until a client is in its room.
func (r *rig) joined(t testing.TB, id string) *core.Socket {
	t.Helper()
	var s *core.Socket
	eventually(t, "the socket is in its room", func() bool {
		var ok bool
		s, ok = r.Of("/").Socket(id)
		return ok && slices.Contains(s.Rooms(), "red")
	})
	return s
}

// returned presents a ticket to a node, which must recover the client, and returns
// the missed events.
func (r *rig) returned(t testing.TB, k *ticket) (*testutil.Engine, []string) {
	t.Helper()
	e := r.comeBack(t, *k)
	var events []string
	for {
		text := read(t, e)
		if rest, ok := strings.CutPrefix(text, "0"); ok {
			var back ticket
			if json.Unmarshal([]byte(rest), &back) != nil || back.SID != k.SID || back.PID != k.PID {
				t.Fatalf("not recovered: %s after %q", text, events)
			}
			return e, events
		}
		events = append(events, k.note(t, text))
	}
}

// note returns an event without its offset, and keeps that.
func (k *ticket) note(t testing.TB, text string) string {
	t.Helper()
	var args []any
	if !strings.HasPrefix(text, "2[") || json.Unmarshal([]byte(text[1:]), &args) != nil {
		t.Fatalf("got %s, want an event", text)
	}
	offset, ok := args[len(args)-1].(string)
	if !ok || len(offset) <= 8 {
		t.Fatalf("%s has no offset", text)
	}
	k.offset = offset
	return strings.TrimSpace(fmt.Sprintln(args[:len(args)-1]...))
}

func TestClientIsRecoveredOnAnotherNode(t *testing.T) {
	t.Parallel()
	eachFleet(t, 3, func(t *testing.T, nodes []*rig) {
		e, k := nodes[0].arrive(t)
		nodes[0].joined(t, k.SID)
		emit(t, nodes[1], "seen")
		equal(t, "event", k.note(t, read(t, e)), "seen")

		for i := range 3 { // to node 1, node 2 and back
			nodes[i].lose(t, e, k.SID)
			emitTo(t, nodes[1], "red", "to its room")
			emitTo(t, nodes[2], "blue", "to another room")
			emitTo(t, nodes[1], k.SID, "to itself")
			emit(t, nodes[1], "to all")
			var events []string
			e, events = nodes[(i+1)%3].returned(t, &k)
			for len(events) < 3 { // those whose place came later
				events = append(events, k.note(t, read(t, e)))
			}
			equal(t, "missed events", fmt.Sprint(events), "[to its room to itself to all]")
			s := nodes[(i+1)%3].joined(t, k.SID)
			data, _ := core.Data[map[string]string](s)
			equal(t, "recovered and data", fmt.Sprint(s.Recovered(), data), "true map[name:é]")
			emitTo(t, nodes[0], "red", "live")
			equal(t, "event", k.note(t, read(t, e)), "live")
		}
	})
}

func emitTo(t testing.TB, r *rig, room, event string) {
	t.Helper()
	if err := r.To(room).Emit(event); err != nil {
		t.Fatal(err)
	}
}

func TestClientOfANodeThatShutsDownIsRecovered(t *testing.T) {
	t.Parallel()
	eachFleet(t, 2, func(t *testing.T, nodes []*rig) {
		_, k := nodes[0].arrive(t)
		nodes[0].joined(t, k.SID)
		nodes[0].stop(t)
		emitTo(t, nodes[1], "red", "missed")
		e, events := nodes[1].returned(t, &k)
		if len(events) == 0 {
			events = append(events, k.note(t, read(t, e)))
		}
		equal(t, "missed events", fmt.Sprint(events), "[missed]")
	})
}

// A client whose connection nobody has noticed to be dead is served once.
func TestClientThatIsStillConnectedElsewhereMoves(t *testing.T) {
	t.Parallel()
	eachFleet(t, 2, func(t *testing.T, nodes []*rig) {
		e, k := nodes[0].arrive(t)
		nodes[0].joined(t, k.SID)
		emit(t, nodes[0], "seen")
		equal(t, "event", k.note(t, read(t, e)), "seen")
		second, events := nodes[1].returned(t, &k)
		equal(t, "missed events", len(events), 0)
		eventually(t, "the old socket has gone", func() bool { _, ok := nodes[0].Of("/").Socket(k.SID); return !ok })
		equal(t, "the old connection got", read(t, e), "1")
		emitTo(t, nodes[0], "red", "live")
		equal(t, "event", k.note(t, read(t, second)), "live")
		equal(t, "sockets", len(all(t, nodes[0])), 1)
		nodes[1].lose(t, second, k.SID)
		emit(t, nodes[1], "missed")
		third, events := nodes[0].returned(t, &k)
		if len(events) == 0 {
			events = append(events, k.note(t, read(t, third)))
		}
		equal(t, "missed events", fmt.Sprint(events), "[missed]")
	})
}

func all(t testing.TB, r *rig) []core.RemoteSocket {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	list, err := r.Of("/").FetchSockets(ctx)
	if err != nil {
		t.Error(err)
	}
	return list
}

// What a program sent before it disconnects a client precedes the goodbye, though
// the log has not told its place.
func TestFarewellPrecedesTheDisconnection(t *testing.T) {
	t.Parallel()
	eachFleet(t, 2, func(t *testing.T, nodes []*rig) {
		for range 20 {
			e, k := nodes[0].arrive(t)
			s := nodes[0].joined(t, k.SID)
			if err := s.Emit("bye"); err != nil {
				t.Fatal(err)
			}
			s.Disconnect(false)
			if text := read(t, e); !strings.HasPrefix(text, `2["bye"`) {
				t.Fatalf("got %s, want the event", text)
			}
			equal(t, "then", read(t, e), "1")
			e = nodes[0].comeBack(t, k) // where it cannot be quicker than the news
			if back := readTicket(t, e, ""); back.SID == k.SID {
				t.Fatal("recovered")
			}
		}
	})
}

// Everything a client is sent keeps the order of the emits, also what needs no
// place in the log.
func TestSendsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	eachFleet(t, 2, func(t *testing.T, nodes []*rig) {
		e, k := nodes[0].arrive(t)
		s := nodes[0].joined(t, k.SID)
		for range 20 {
			emitTo(t, nodes[0], "red", "1")
			if err := s.TryEmit("2"); err != nil {
				t.Fatal(err)
			}
			if err := s.Emit("3"); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = core.EmitWithAck[none](t.Context(), s, "4") }()
			for i := 1; i <= 3; i++ {
				text := read(t, e)
				for strings.Contains(text, `["4"`) { // at any time
					text = read(t, e)
				}
				if !strings.HasPrefix(text, fmt.Sprintf(`2["%d"`, i)) {
					t.Fatalf("got %s, want event %d", text, i)
				}
			}
		}
	})
}
