package redis

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

const uid = "0123456789abcdef"

// startWireBus returns a bus with "/" attached; what it receives fails the test.
func startWireBus(t *testing.T, scheme string, params ...string) (*wireBus, cluster.Attachment, *goredis.Client) {
	t.Helper()
	u, err := url.Parse(testutil.SharedRedis(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	q := url.Values{}
	for i := 0; i < len(params); i += 2 {
		q.Set(params[i], params[i+1])
	}
	u.Scheme, u.RawQuery = scheme, q.Encode()
	var b *wireBus
	if scheme == "redis+streams" {
		b = newStreamsBusAt(t, u)
	} else {
		b = newShardedBusAt(t, u)
	}
	ctx := context.Background()
	t.Cleanup(func() {
		if err := b.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	att, err := b.Attach(ctx, cluster.Attach{Namespace: "/", Self: uid,
		Receive: func(m *cluster.Message, _ adapter.Offset) { t.Errorf("received %+v", m) },
		HasRoom: func(adapter.Room) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	c := goredis.NewClient(&goredis.Options{Addr: testutil.SharedRedis(t).Addr()})
	t.Cleanup(func() { c.Close() })
	return b, att, c
}

func newShardedBusAt(t *testing.T, u *url.URL) *wireBus {
	client, o, err := parseShardedURL(u)
	if err != nil {
		t.Fatal(err)
	}
	o.Options = o.Options.withDefaults()
	o.Logger = slog.New(slog.DiscardHandler)
	l, release, err := connect(t.Context(), client, true, true)
	if err != nil {
		t.Fatal(err)
	}
	own, err := o.Mode.channels()
	if err != nil {
		t.Fatal(err)
	}
	return newShardedBus(l, *o, own, release)
}

func newStreamsBusAt(t *testing.T, u *url.URL) *wireBus {
	client, o, err := parseStreamsURL(u)
	if err != nil {
		t.Fatal(err)
	}
	full, err := o.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	full.Logger = slog.New(slog.DiscardHandler)
	l, release, err := connect(t.Context(), client, true, false)
	if err != nil {
		t.Fatal(err)
	}
	return newStreamsBus(l, full, release).wireBus
}

// An emitter that waits for answers gets those alone.
func TestAnEmitterReadsNoStream(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(testutil.SharedRedis(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Scheme, u.RawQuery = "redis+streams", url.Values{"stream": {testutil.Prefix(t)}}.Encode()
	b := newStreamsBusAt(t, u)
	defer b.Close(context.Background())
	for want, emitter := range []bool{true, false} {
		att, err := b.Attach(t.Context(), cluster.Attach{Namespace: fmt.Sprintf("/%v", emitter), Self: uid, Emitter: emitter,
			Receive: func(*cluster.Message, adapter.Offset) {}, HasRoom: func(adapter.Room) bool { return true }})
		if err != nil {
			t.Fatal(err)
		}
		b.streams.mu.Lock()
		got := len(b.streams.readers)
		b.streams.mu.Unlock()
		if got != want {
			t.Errorf("emitter %v: %d streams are read, want %d", emitter, got, want)
		}
		if err := att.Detach(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func message(kind cluster.Kind, requestID string, p *adapter.Packet, rooms ...string) *cluster.Message {
	return &cluster.Message{Kind: kind, From: uid, Namespace: "/", RequestID: requestID, Packet: p, Target: adapter.Target{Rooms: rooms}}
}

const (
	foo       = `{"packet":{"type":2,"data":["foo"]},"opts":{"rooms":[%s],"except":[],"flags":{}}}`
	fooBinary = "84a47479706503a46461746182a67061636b657482a47479706502a46461746192a3666f6fc40101a46f70747383a5726f6f6d7390a665786365707490a5666c61677380a3756964b030313233343536373839616263646566a36e7370a12f"
)

func TestShardedMessagesOnTheirChannels(t *testing.T) {
	t.Parallel()
	twenty := strings.Repeat("é", 20)
	envelope := func(rooms string) string {
		return `{"type":3,"data":` + fmt.Sprintf(foo, rooms) + `,"uid":"` + uid + `","nsp":"/"}`
	}
	tests := []struct {
		mode, channel, wire string
		m                   *cluster.Message
	}{
		{"dynamic", "k#/#", envelope(""), message(cluster.Broadcast, "", packetOf(`["foo"]`))},
		{"dynamic", "k#/#", fooBinary, message(cluster.Broadcast, "", packetOf(`["foo",{"_placeholder":true,"num":0}]`, "\x01"))},
		{"dynamic", "k#/#r1#", envelope(`"r1"`), message(cluster.Broadcast, "", packetOf(`["foo"]`), "r1")},
		{"dynamic", "k#/#", envelope(`"` + twenty + `"`), message(cluster.Broadcast, "", packetOf(`["foo"]`), twenty)},
		{"dynamic", "k#/#", envelope(`"a","b"`), message(cluster.Broadcast, "", packetOf(`["foo"]`), "a", "b")},
		{"dynamic-private", "k#/#" + twenty + "#", envelope(`"` + twenty + `"`), message(cluster.Broadcast, "", packetOf(`["foo"]`), twenty)},
		{"static", "k#/#", envelope(`"r1"`), message(cluster.Broadcast, "", packetOf(`["foo"]`), "r1")},
		{"dynamic-private", "k#/#", `{"type":3,"data":{"packet":{"type":2,"data":["foo"]},"requestId":"q","opts":{"rooms":["r1"],"except":[],"flags":{}}},"uid":"` + uid + `","nsp":"/"}`,
			message(cluster.Broadcast, "q", packetOf(`["foo"]`), "r1")},
		{"dynamic", "k#/#", `{"type":7,"data":{"opts":{"rooms":["r1"],"except":[],"flags":{}},"requestId":"q"},"uid":"` + uid + `","nsp":"/"}`,
			message(cluster.FetchSockets, "q", nil, "r1")},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprintf("%d %s", i, tt.mode), func(t *testing.T) {
			t.Parallel()
			key := testutil.Prefix(t)
			b, _, c := startWireBus(t, "redis+sharded", "key", key, "mode", tt.mode, "probe_interval", "-1s")
			channel := key + strings.TrimPrefix(tt.channel, "k")
			ps := c.SSubscribe(t.Context(), channel)
			defer ps.Close()
			if _, err := ps.Receive(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Publish(t.Context(), []*cluster.Message{message(cluster.AllRooms, "q", nil), tt.m}); err != nil {
				t.Fatal(err)
			}
			if m, err := ps.ReceiveMessage(t.Context()); err != nil || fromWire([]byte(m.Payload)) != tt.wire {
				t.Errorf("got %v, %v\nwant %s", m, err, tt.wire)
			}
		})
	}
}

func TestShardedSubscriptionsFollowRooms(t *testing.T) {
	t.Parallel()
	socket := strings.Repeat("s", 20)
	for mode, rooms := range map[string][]string{"dynamic": {"r#"}, "dynamic-private": {socket + "#", "r#"}, "static": {}} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			key := testutil.Prefix(t)
			b, att, c := startWireBus(t, "redis+sharded", "key", key, "mode", mode)
			att.RoomCreated("r")
			att.RoomCreated(socket)
			att.RoomCreated(uid)
			att.RoomDeleted(uid)
			subscribed := func(rooms ...string) bool {
				want := []string{key + "#/#", key + "#/#" + uid + "#"}
				for _, r := range rooms {
					want = append(want, key+"#/#"+r)
				}
				got, err := c.PubSubShardChannels(t.Context(), key+"#/*").Result()
				slices.Sort(got)
				slices.Sort(want)
				return err == nil && slices.Equal(got, want)
			}
			poll(t, "the rooms are subscribed to", func() bool { return subscribed(rooms...) })
			att.RoomDeleted("r")
			att.RoomDeleted(socket)
			poll(t, "the rooms are left", func() bool { return subscribed() })
			att.RoomCreated("late")
			if err := att.Detach(t.Context()); err != nil {
				t.Fatal(err)
			}
			att.RoomCreated("too late")
			if n := len(b.set.placed()); n != 0 {
				t.Errorf("%d channels are left", n)
			}
		})
	}
}

func TestStreamEntriesAndEphemeralMessages(t *testing.T) {
	t.Parallel()
	key := testutil.Prefix(t)
	b, _, c := startWireBus(t, "redis+streams", "key", key, "stream", key, "probe_interval", "-1s")
	ctx := t.Context()
	ps := c.Subscribe(ctx, key+"#/#", key+"#/#other#")
	defer ps.Close()
	for range 2 {
		if _, err := ps.Receive(ctx); err != nil {
			t.Fatal(err)
		}
	}
	offsets, err := b.Publish(ctx, []*cluster.Message{
		message(cluster.Broadcast, "", packetOf(`["foo"]`), "r"),
		message(cluster.FetchSockets, "0011223344556677", nil),
		message(cluster.Broadcast, "", packetOf(`["foo",{"_placeholder":true,"num":0}]`, "\x01\x02\x03"), "r"),
		{Kind: cluster.SocketsJoin, From: uid, Namespace: "/", Rooms: []string{"x"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	fields := func(typ, data string) map[string]any {
		return map[string]any{"uid": uid, "nsp": "/", "type": typ, "data": data}
	}
	want := []map[string]any{
		fields("3", fmt.Sprintf(foo, `"r"`)),
		fields("3", "gqZwYWNrZXSCpHR5cGUCpGRhdGGSo2Zvb8QDAQIDpG9wdHODpXJvb21zkaFypmV4Y2VwdJClZmxhZ3OA"),
		fields("4", `{"opts":{"rooms":[],"except":[],"flags":{}},"rooms":["x"]}`),
	}
	entries, err := c.XRange(ctx, key, "-", "+").Result()
	if err != nil || len(entries) != len(want) {
		t.Fatalf("%v, %v", entries, err)
	}
	for i, e := range entries {
		if !maps.Equal(e.Values, want[i]) {
			t.Errorf("entry %v\nwant %v", e.Values, want[i])
		}
		if at := offsets[[]int{0, 2, 3}[i]]; at != e.ID {
			t.Errorf("offset %s of entry %s", at, e.ID)
		}
	}
	const fetch = "84a47479706507a46461746182a46f70747383a5726f6f6d7390a665786365707490a5666c61677380a9726571756573744964b030303131323233333434353536363737a3756964b030313233343536373839616263646566a36e7370a12f"
	if m, err := ps.ReceiveMessage(ctx); err != nil || m.Channel != key+"#/#" || fromWire([]byte(m.Payload)) != fetch {
		t.Errorf("got %v, %v", m, err)
	}
	if err := b.Reply(ctx, "other", &cluster.Message{Kind: cluster.BroadcastClientCount, From: uid, Namespace: "/", RequestID: "q", Count: 2}); err != nil {
		t.Fatal(err)
	}
	if m, err := ps.ReceiveMessage(ctx); err != nil || m.Channel != key+"#/#other#" || m.Payload[0] != 0x84 {
		t.Errorf("got %v, %v", m, err)
	}
}

func TestStreamNames(t *testing.T) {
	t.Parallel()
	o := StreamsOptions{Stream: "s", StreamCount: 4}
	for ns, want := range map[string]string{"/": "s-3", "/admin": "s-0", "/chat": "s-3", "/foo": "s-3", "/notifications": "s--3"} {
		if got := o.streamOf(ns); got != want {
			t.Errorf("%s goes to %s, want %s", ns, got, want)
		}
	}
	o.StreamCount = 1
	if got := o.streamOf("/notifications"); got != "s" {
		t.Errorf("the only stream is %s", got)
	}
}

func TestParametersOfShardedAndStreams(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"redis+sharded://h?mode=dynamik":                    "dynamik",
		"redis+sharded://h?specific_response_channel=true":  "specific_response_channel",
		"redis+sharded://h?stream=x":                        "stream",
		"redis+streams://h?stream_count=65":                 "number of streams",
		"redis+streams://h?max_len=-1":                      "max_len",
		"redis+streams://h?block=5":                         "block",
		"redis+streams://h?mode=static":                     "mode",
		"rediss+streams://h?cluster=true&master=m":          "exclude",
		"rediss+sharded://h/3?addr=b:1":                     "database",
		"redis+streams://h?read_count=x&session_key_prefix": "session_key_prefix",
	} {
		if p, err := adapter.Open(t.Context(), raw); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", raw, p, err)
		}
	}
	u, _ := url.Parse("rediss+streams://h?key=k&stream=s&stream_count=3&max_len=7&read_count=5&block=1s&sharded_pubsub=true")
	c, o, err := parseStreamsURL(u)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if o.Key != "k" || o.Stream != "s" || o.StreamCount != 3 || o.MaxLen != 7 || o.ReadCount != 5 || o.Block != time.Second || !o.ShardedPubSub {
		t.Errorf("options %+v", o)
	}
	if c.(*goredis.Client).Options().TLSConfig == nil {
		t.Error("no TLS")
	}
}

// An old server answers PING, and knows nothing of SHARDNUMSUB.
func TestShardedNeedsRedis7(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go old(c)
		}
	}()
	for _, raw := range []string{"redis+sharded://", "redis+streams://"} {
		_, err = adapter.Open(t.Context(), raw+ln.Addr().String()+"?"+map[bool]string{true: "sharded_pubsub=true"}[strings.Contains(raw, "streams")])
		if err == nil || !strings.Contains(err.Error(), "Redis 7.0 or newer is needed") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func old(c net.Conn) {
	defer c.Close()
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		switch strings.ToLower(lines.Text()) {
		case "ping":
			fmt.Fprint(c, "+PONG\r\n")
		case "hello":
			fmt.Fprint(c, "-ERR unknown command\r\n")
		case "shardnumsub":
			fmt.Fprint(c, "-ERR Unknown PUBSUB subcommand or wrong number of arguments for 'SHARDNUMSUB'\r\n")
		}
	}
}

// A node without its connection misses nothing of the stream, unless that was
// trimmed meanwhile.
func TestAStreamIsReadOnWhereItWas(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		n       int
		trimmed bool
	}{{"kept", 900, false}, {"trimmed", 3000, true}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := testutil.LocalRedis(t)
			proxy := testutil.NewProxy(t, server.Addr())
			a := startVariant(t, "streams", goredis.NewClient(&goredis.Options{Addr: server.Addr()}), "k", "/", "a")
			b := startVariant(t, "streams", goredis.NewClient(&goredis.Options{Addr: proxy.Addr()}), "k", "/", "b")
			flows(t, a, b)
			proxy.Refuse(true)
			proxy.Reset()
			poll(t, "the loss is noticed", func() bool { return !b.up() })
			had := len(b.sock.Received())
			for i := range tt.n {
				send(a, packetOf(fmt.Sprintf(`["n",%d]`, i)), adapter.Target{Rooms: []string{"all"}})
			}
			poll(t, "all is in the stream", func() bool { return a.p.Stats().QueueMessages == 0 })
			proxy.Refuse(false)
			last := fmt.Sprintf(`["n",%d]`, tt.n-1)
			poll(t, "the last has arrived", func() bool {
				got := b.sock.Received()
				return len(got) > 0 && string(got[len(got)-1].Packet.Data) == last
			})
			got := b.sock.Received()[had:]
			if tt.trimmed {
				poll(t, "the gap is reported", func() bool { return b.hasGap(GapTrimmed) })
				return
			}
			if len(got) != tt.n || b.hasGap(GapTrimmed) || b.hasGap(GapRewound) {
				t.Errorf("%d of %d arrived, gaps %+v", len(got), tt.n, b.reportedGaps())
			}
			for i, r := range got {
				if want := fmt.Sprintf(`["n",%d]`, i); string(r.Packet.Data) != want {
					t.Fatalf("%s arrived as number %d", r.Packet.Data, i)
				}
			}
		})
	}
}

func TestGarbageOnEnvelopeWiresIsIgnored(t *testing.T) {
	t.Parallel()
	addr := testutil.SharedRedis(t).Addr()
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	defer c.Close()
	for _, variant := range variants[1:] {
		key := testutil.Prefix(t)
		start := func(id string) *node {
			return startVariant(t, variant, goredis.NewClient(&goredis.Options{Addr: addr}), key, "/", id)
		}
		a, b := start("a"), start("b")
		flows(t, a, b)
		self := a.a.(*cluster.Adapter).Self()
		pipe := c.Pipeline()
		for _, payload := range garbage() {
			for _, channel := range []string{key + "#/#", key + "#/#all#", key + "#/#" + self + "#"} {
				pipe.Publish(t.Context(), channel, payload)
				pipe.SPublish(t.Context(), channel, payload)
			}
			if variant == "streams" {
				for _, typ := range []string{"3", "9", "x", "99"} {
					pipe.XAdd(t.Context(), &goredis.XAddArgs{Stream: key, Values: []any{"uid", "u", "nsp", "/", "type", typ, "data", payload}})
				}
				pipe.XAdd(t.Context(), &goredis.XAddArgs{Stream: key, Values: []any{"x", payload}})
			}
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		flows(t, a, b)
		flows(t, b, a)
		if h := a.p.Health(); !h.Up || h.Reconnects != 0 || len(a.host.ServerEvents()) != 0 {
			t.Errorf("health %+v, %d server events", h, len(a.host.ServerEvents()))
		}
	}
}
