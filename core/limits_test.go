package core_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// Each limit has room for what it says, stops what is more, and counts it.
func TestEveryLimitHasACounter(t *testing.T) {
	t.Parallel()
	const placeholders = `{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}`
	twoOf := func(size int) []testutil.EnginePacket {
		bin := testutil.EnginePacket{Binary: true, Data: make([]byte, size)}
		return []testutil.EnginePacket{testutil.Message(`52-["e",` + placeholders + `]`), bin, bin}
	}
	wire := func(at, above []testutil.EnginePacket) func(*testing.T, *rig, func()) {
		return func(t *testing.T, r *rig, noHit func()) {
			e := r.engine(t)
			sendPackets(t, e, at)
			core.OnAck(r, "sync", func(context.Context, *core.Socket, none) (bool, error) { return true, nil })
			send(t, e, `21["sync"]`)
			equal(t, "answer", read(t, e), `31[true]`)
			noHit()
			sendPackets(t, e, above)
			ended(t, e)
		}
	}
	texts := func(list ...string) (out []testutil.EnginePacket) {
		for _, s := range list {
			out = append(out, testutil.Message(s))
		}
		return out
	}
	for name, tc := range map[string]struct {
		opts core.Options
		run  func(t *testing.T, r *rig, noHit func())
	}{
		"attachments":   {core.Options{MaxAttachments: 2}, wire(twoOf(1), texts(`53-["e"]`))},
		"packet_tokens": {core.Options{MaxTokens: 4}, wire(texts(`2["e",1,2]`), texts(`2["e",1,2,3]`))},
		"packet_depth":  {core.Options{MaxDepth: 2}, wire(texts(`2["e",[1]]`), texts(`2["e",[[1]]]`))},
		"packet_bytes":  {core.Options{MaxPayload: 2000}, wire(twoOf(900), twoOf(1500))},
		"unknown_acks":  {core.Options{MaxUnknownAcks: 2}, wire(texts(`31[]`, `32[]`), texts(`33[]`))},
		"connect_timeout": {core.Options{ConnectTimeout: 20 * time.Millisecond}, func(t *testing.T, r *rig, _ func()) {
			ended(t, r.bare(t))
		}},
		"connection_age": {core.Options{MaxConnectionAge: 50 * time.Millisecond}, func(t *testing.T, r *rig, _ func()) {
			ended(t, r.engine(t))
		}},
		"room_name": {core.Options{}, func(t *testing.T, r *rig, noHit func()) {
			s := r.socket(t, r.dial(t))
			equal(t, "Join", s.Join(strings.Repeat("x", 256)), nil)
			noHit()
			if err := s.Join(strings.Repeat("x", 257)); !errors.Is(err, core.ErrRoomName) {
				t.Error(err)
			}
		}},
		"rooms_per_socket": {core.Options{MaxRoomsPerSocket: 2}, func(t *testing.T, r *rig, noHit func()) {
			s := r.socket(t, r.dial(t))
			eventually(t, "it is in its own room", func() bool { return len(s.Rooms()) == 1 })
			equal(t, "Join", s.Join("a"), nil)
			noHit()
			equal(t, "Join", s.Join("b"), core.ErrTooManyRooms)
		}},
		"pending_acks": {core.Options{MaxPendingAcks: 1}, func(t *testing.T, r *rig, noHit func()) {
			s := r.socket(t, r.dial(t))
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); _, _ = core.EmitWithAck[any](ctx, s, "ask") }()
			eventually(t, "one is pending", func() bool { return r.Stats().PendingAcks == 1 })
			noHit()
			if _, err := core.EmitWithAck[any](t.Context(), s, "ask"); !errors.Is(err, core.ErrTooManyAcks) {
				t.Error(err)
			}
			cancel()
			<-done
		}},
		"queue_packets": {core.Options{MaxQueuePackets: 3}, fill(3, 1, core.ErrQueuePackets)},
		"queue_bytes":   {core.Options{MaxQueueBytes: 3 * 1024}, fill(3, 1000, core.ErrQueueFull)},
		"connections":   {core.Options{MaxConnections: 2}, handshakes(2, 503)},
		"connections_per_address": {
			core.Options{MaxConnectionsPerAddress: 2}, handshakes(2, 429)},
		"handshake_rate": {core.Options{HandshakeRate: 1, HandshakeBurst: 3}, handshakes(3, 503)},
		"handshake_rate_per_address": {
			core.Options{AddressHandshakeRate: 1, AddressHandshakeBurst: 3}, handshakes(3, 429)},
		"unknown_session_rate": {core.Options{UnknownSessionRate: 1}, func(t *testing.T, r *rig, noHit func()) {
			query := pollingQuery + "&sid=AAAAAAAAAAAAAAAAAAAA"
			for range 5 {
				equal(t, "status", r.request(t, "GET", query, "").status, 400)
			}
			noHit()
			equal(t, "status", r.request(t, "GET", query, "").status, 429)
		}},
		"session_request_rate": {core.Options{SessionRequestRate: 1}, func(t *testing.T, r *rig, noHit func()) {
			query := r.openPolling(t)
			equal(t, "status", r.request(t, "POST", query, "40").status, 200)
			equal(t, "status", r.request(t, "GET", query, "").status, 200)
			noHit()
			equal(t, "status", r.request(t, "GET", query, "").status, 429)
		}},
		"payload_packets": {core.Options{MaxPacketsPerPayload: 2}, func(t *testing.T, r *rig, noHit func()) {
			query := r.openPolling(t)
			equal(t, "status", r.request(t, "POST", query, "40\x1e42[\"e\"]").status, 200)
			noHit()
			equal(t, "status", r.request(t, "POST", query, "40\x1e40\x1e40").status, 400)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, &tc.opts)
			hits := func() uint64 { return r.Stats().LimitsHit[name] }
			tc.run(t, r, func() { equal(t, "hits at the limit", hits(), 0) })
			eventually(t, "it counts", func() bool { return hits() >= 1 })
			equal(t, "hits", hits(), 1)
			equal(t, "names", len(r.Stats().LimitsHit), 1)
		})
	}
}

func sendPackets(t *testing.T, e *testutil.Engine, packets []testutil.EnginePacket) {
	t.Helper()
	if err := e.Send(t.Context(), packets...); err != nil {
		t.Fatal(err)
	}
}

// fill queues n events for a client that does not ask for them, and one more.
func fill(n, size int, want error) func(*testing.T, *rig, func()) {
	return func(t *testing.T, r *rig, noHit func()) {
		p := r.pending(t)
		text := strings.Repeat("x", size)
		for range n {
			if err := p.Emit("e", text); err != nil {
				t.Fatal(err)
			}
		}
		noHit()
		if err := p.Emit("e", text); !errors.Is(err, want) {
			t.Errorf("Emit = %v, want %v", err, want)
		}
		<-p.Context().Done()
		if cause := context.Cause(p.Context()); !errors.Is(cause, want) {
			t.Errorf("cause %v", cause)
		}
	}
}

// handshakes shakes hands n times, and once more.
func handshakes(n, status int) func(*testing.T, *rig, func()) {
	return func(t *testing.T, r *rig, noHit func()) {
		for range n {
			r.bare(t)
		}
		noHit()
		res := r.request(t, "GET", pollingQuery, "")
		equal(t, "status", res.status, status)
		if _, err := strconv.Atoi(res.header.Get("Retry-After")); err != nil {
			t.Errorf("Retry-After: %v", err)
		}
	}
}

// Answers that come late are no attack, however many.
func TestLateAnswersAreNotUnknown(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{MaxUnknownAcks: 1})
	e := r.engine(t)
	var s *core.Socket
	for s = range r.Sockets() {
	}
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _, _ = core.EmitWithAck[any](ctx, s, "ask") }()
		asked := read(t, e)
		cancel()
		<-done
		eventually(t, "nobody waits any more", func() bool { return r.Stats().PendingAcks == 0 })
		send(t, e, "3"+strings.TrimSuffix(strings.TrimPrefix(asked, "2"), `["ask"]`)+"[]")
	}
	eventually(t, "they are counted", func() bool { return r.Stats().UnknownAcks == 5 })
	equal(t, "connected", s.Connected(), true)
}

// The operators' table names every limit that counts.
func TestTheLimitsAreDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"attachments", "connect_timeout", "connection_age", "dynamic_namespaces", "event_rate", "held_back",
		"inbound_bytes", "namespaces_per_client", "packet_bytes", "packet_depth", "packet_tokens", "pending_acks", "reassembly_timeout",
		"restores", "room_events", "room_name", "rooms_per_socket", "server_events", "unknown_acks"}
	for name := range start(t, nil).Stats().Engine.LimitsHit {
		names = append(names, name)
	}
	for _, name := range names {
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("%s is not there", name)
		}
	}
}
