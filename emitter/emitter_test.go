package emitter

import (
	"context"
	"encoding/hex"
	"maps"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func newClient(t *testing.T) *goredis.Client {
	c := goredis.NewClient(&goredis.Options{Addr: testutil.SharedRedis(t).Addr(), MaxRetries: -1})
	t.Cleanup(func() { c.Close() })
	return c
}

// What @socket.io/redis-emitter 5.1 publishes.
func TestMessagesOfTheClassicEmitter(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, channel, wire string
		do                  func(ctx context.Context, e *Emitter) error
	}{
		{"emit to all", "#/#", "93a7656d697474657283a47479706502a46461746191a3666f6fa36e7370a12f83a5726f6f6d7390a5666c61677380a665786365707490",
			func(ctx context.Context, e *Emitter) error { return e.Emit(ctx, "foo") }},
		{"emit to a room, volatile and uncompressed", "#/a#r#",
			"93a7656d697474657283a47479706502a46461746191a3666f6fa36e7370a22f6183a5726f6f6d7391a172a5666c61677382a8766f6c6174696c65c3a8636f6d7072657373c2a665786365707491a178",
			func(ctx context.Context, e *Emitter) error {
				return e.Of("a").To("r").Except("x").Volatile().Compress(false).Emit(ctx, "foo")
			}},
		{"join", "-request#/#", `{"type":2,"opts":{"rooms":["a"],"except":[]},"rooms":["b"]}`,
			func(ctx context.Context, e *Emitter) error { return e.To("a").SocketsJoin(ctx, "b") }},
		{"leave", "-request#/#", `{"type":3,"opts":{"rooms":[],"except":["a"]},"rooms":["b"]}`,
			func(ctx context.Context, e *Emitter) error { return e.Except("a").SocketsLeave(ctx, "b") }},
		{"disconnect", "-request#/#", `{"type":4,"opts":{"rooms":[],"except":[]},"close":true}`,
			func(ctx context.Context, e *Emitter) error { return e.DisconnectSockets(ctx, true) }},
		{"server-side emit", "-request#/#", `{"uid":"emitter","type":6,"data":["foo",1]}`,
			func(ctx context.Context, e *Emitter) error { return e.ServerSideEmit(ctx, "foo", 1) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, key := newClient(t), testutil.Prefix(t)
			ps := c.Subscribe(t.Context(), key+tt.channel)
			defer ps.Close()
			if _, err := ps.Receive(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := tt.do(t.Context(), New(c, &Options{Key: key})); err != nil {
				t.Fatal(err)
			}
			m, err := ps.ReceiveMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := m.Payload
			if !strings.HasPrefix(got, "{") {
				got = hex.EncodeToString([]byte(got))
			}
			if got != tt.wire {
				t.Errorf("got %s\nwant %s", got, tt.wire)
			}
		})
	}
}

func TestEntriesOfTheStreamsEmitter(t *testing.T) {
	t.Parallel()
	c, key, ctx := newClient(t), testutil.Prefix(t), t.Context()
	e := New(c, &Options{Stream: key, MaxLen: 1000})
	for _, err := range []error{
		e.To("r").Emit(ctx, "foo", "bar"),
		e.Emit(ctx, "foo", []byte{1}),
		e.SocketsJoin(ctx, "b"),
		e.DisconnectSockets(ctx, false),
		e.Of("/a").ServerSideEmit(ctx, "foo"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	entry := func(nsp, typ, data string) map[string]any {
		return map[string]any{"uid": "emitter", "nsp": nsp, "type": typ, "data": data}
	}
	want := []map[string]any{
		entry("/", "3", `{"packet":{"type":2,"data":["foo","bar"],"nsp":"/"},"opts":{"rooms":["r"],"flags":{},"except":[]}}`),
		entry("/", "3", "gqZwYWNrZXSDpHR5cGUCpGRhdGGSo2Zvb8QBAaNuc3ChL6RvcHRzg6Vyb29tc5ClZmxhZ3OApmV4Y2VwdJA="),
		entry("/", "4", `{"opts":{"rooms":[],"flags":{},"except":[]},"rooms":["b"]}`),
		entry("/", "6", `{"opts":{"rooms":[],"flags":{},"except":[]},"close":false}`),
		entry("/a", "9", `{"packet":["foo"]}`),
	}
	got, err := c.XRange(ctx, key, "-", "+").Result()
	if err != nil || len(got) != len(want) {
		t.Fatalf("%v, %v", got, err)
	}
	for i := range want {
		if !maps.Equal(got[i].Values, want[i]) {
			t.Errorf("entry %v\nwant %v", got[i].Values, want[i])
		}
	}
}

func TestNodesTakeWhatIsEmitted(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"redis", "redis+streams"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			key := testutil.Prefix(t)
			base := scheme + "://" + testutil.SharedRedis(t).Addr()
			own, nodes := "?key="+key, "?key="+key
			if scheme == "redis+streams" {
				own, nodes = "?stream="+key, nodes+"&stream="+key
			}
			p, err := adapter.Open(t.Context(), base+nodes)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.Close(context.Background()) })
			host := adaptertest.NewHost("/", "a")
			a, err := p.Open(t.Context(), host)
			if err != nil {
				t.Fatal(err)
			}
			s := adaptertest.NewSocket("sid")
			a.Join(s, "sid")
			e, err := Open(t.Context(), base+own)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			takes(t, e, a, host, s)
		})
	}
}

func takes(t *testing.T, e *Emitter, a adapter.Adapter, host *adaptertest.Host, s *adaptertest.Socket) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(e.SocketsJoin(ctx, "r", "out"))
	poll(t, "the socket has joined", func() bool { return len(a.RoomsOf(s)) == 3 })
	must(e.To("sid").SocketsLeave(ctx, "out"))
	poll(t, "the socket has left", func() bool { return len(a.RoomsOf(s)) == 2 })
	must(e.Except("r").Emit(ctx, "not"))
	must(e.To("r").Except("out").Emit(ctx, "event", map[string]any{"bin": []byte("x")}))
	poll(t, "the event has arrived", func() bool { return len(s.Received()) > 0 })
	if p := s.Received()[0].Packet; !strings.HasPrefix(string(p.Data), `["event",{"bin":`) || len(p.Attachments) != 1 {
		t.Errorf("got %s", p.Data)
	}
	must(e.ServerSideEmit(ctx, "hi", 1))
	poll(t, "the node has got the event", func() bool { return len(host.ServerEvents()) == 1 })
	must(e.DisconnectSockets(ctx, true))
	poll(t, "the socket is disconnected", func() bool { gone, _ := host.Disconnected("sid"); return gone })
	if n, err := a.ServerCount(ctx); n != 1 || err != nil {
		t.Errorf("%d nodes, %v: an emitter is none", n, err)
	}
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("gave up waiting until %s", what)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"redis+sharded://h":         "no emitter",
		"http://h":                  "no emitter",
		"redis://h?stream=x":        "stream",
		"redis+streams://h?key=x":   "key",
		"redis://:pw@127.0.0.1:1":   "does not answer",
		"redis://h?cluster=yes":     "cluster",
		"redis://h/x":               "database",
		"redis://h:%zz":             "parsed",
		"redis+streams://h?max_len": "max_len",
	} {
		e, err := Open(t.Context(), raw)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pw") {
			t.Errorf("%s: %v, %v", raw, e, err)
		}
	}
	e := New(newClient(t), nil)
	if err := e.Emit(t.Context(), "connect"); err == nil || !strings.Contains(err.Error(), "reserved") {
		t.Errorf("a reserved name: %v", err)
	}
	if err := e.Emit(t.Context(), "x", func() {}); err == nil {
		t.Error("a function was encoded")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Emit(ctx, "x"); err == nil {
		t.Error("an ended context is no error")
	}
}
