package emitter

import (
	"encoding/hex"
	"maps"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/internal/testutil"
)

// What @socket.io/redis-emitter 5.1 publishes, with the members in the order of the
// adapter, and the sender in requests.
func TestMessagesOfTheClassicEmitter(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		channel, wire string
		do            func(e *Emitter) error
	}{
		"emit to all": {"#/#", "93a7656d697474657283a47479706502a46461746191a3666f6fa36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380",
			func(e *Emitter) error { return e.Emit("foo") }},
		"emit to a room, volatile and uncompressed": {"#/a#r#",
			"93a7656d697474657283a47479706502a46461746191a3666f6fa36e7370a22f6183a5726f6f6d7391a172a665786365707491a178a5666c61677382a8766f6c6174696c65c3a8636f6d7072657373c2",
			func(e *Emitter) error { return e.Of("a").To("r").Except("x").Volatile().Compress(false).Emit("foo") }},
		"join": {"-request#/#", `{"uid":"emitter","type":2,"opts":{"rooms":["a"],"except":[]},"rooms":["b"]}`,
			func(e *Emitter) error { return e.To("a").SocketsJoin(t.Context(), "b") }},
		"leave": {"-request#/#", `{"uid":"emitter","type":3,"opts":{"rooms":[],"except":["a"]},"rooms":["b"]}`,
			func(e *Emitter) error { return e.Except("a").SocketsLeave(t.Context(), "b") }},
		"disconnect": {"-request#/#", `{"uid":"emitter","type":4,"opts":{"rooms":[],"except":[]},"close":true}`,
			func(e *Emitter) error { return e.DisconnectSockets(t.Context(), true) }},
		"server-side emit": {"-request#/#", `{"uid":"emitter","type":6,"data":["foo",1]}`,
			func(e *Emitter) error { return e.To("not said").ServerSideEmit("foo", 1) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, key := testutil.SharedRedis(t).Addr(), testutil.Prefix(t)
			c := goredis.NewClient(&goredis.Options{Addr: addr})
			t.Cleanup(func() { c.Close() })
			ps := c.Subscribe(t.Context(), key+tt.channel)
			defer ps.Close()
			if _, err := ps.Receive(t.Context()); err != nil {
				t.Fatal(err)
			}
			must(t, tt.do(start(t, "redis://"+addr+"?key="+key, nil)))
			m, err := ps.ReceiveMessage(within(t, patience))
			must(t, err)
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

// What redis-streams-emitter 0.1 adds, without the namespace the entry has anyway.
func TestEntriesOfTheStreamsEmitter(t *testing.T) {
	t.Parallel()
	addr, key, ctx := testutil.SharedRedis(t).Addr(), testutil.Prefix(t), t.Context()
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	t.Cleanup(func() { c.Close() })
	e := start(t, "redis+streams://"+addr+"?stream="+key, nil)
	for _, err := range []error{
		e.To("r").Emit("foo", "bar"),
		e.SocketsJoin(ctx, "b"),
		e.DisconnectSockets(ctx, false),
		e.Of("/a").ServerSideEmit("foo"),
		e.Flush(within(t, patience)),
	} {
		must(t, err)
	}
	entry := func(nsp, typ, data string) map[string]any {
		return map[string]any{"uid": "emitter", "nsp": nsp, "type": typ, "data": data}
	}
	want := []map[string]any{
		entry("/", "3", `{"packet":{"type":2,"data":["foo","bar"]},"opts":{"rooms":["r"],"except":[],"flags":{}}}`),
		entry("/", "4", `{"opts":{"rooms":[],"except":[],"flags":{}},"rooms":["b"]}`),
		entry("/", "6", `{"opts":{"rooms":[],"except":[],"flags":{}},"close":false}`),
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
