package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"reflect"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// startBus returns a bus with the namespace "/" attached as AbCdEf, and what Redis
// sees on all channels of its key.
func startBus(t *testing.T, addr string, o Options) (*wireBus, cluster.Attachment, *goredis.PubSub) {
	t.Helper()
	return startBusOver(t, goredis.NewClient(&goredis.Options{Addr: addr}), o)
}

func startBusOver(t *testing.T, client *goredis.Client, o Options) (*wireBus, cluster.Attachment, *goredis.PubSub) {
	t.Helper()
	ctx := context.Background()
	t.Cleanup(func() { client.Close() })
	o.Key, o.Logger = testutil.Prefix(t), slog.New(slog.DiscardHandler)
	l, err := newLink(client)
	if err != nil {
		t.Fatal(err)
	}
	b := newClassicBus(l, o.withDefaults(), func() error { return nil })
	t.Cleanup(func() {
		if err := b.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	att, err := b.Attach(ctx, cluster.Attach{Namespace: "/", Self: "AbCdEf",
		Receive: func(m *cluster.Message, _ adapter.Offset) { t.Errorf("received %+v", m) }, HasRoom: func(adapter.Room) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	ps := client.PSubscribe(ctx, o.Key+"*")
	t.Cleanup(func() { ps.Close() })
	if _, err := ps.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	return b, att, ps
}

func nextPublished(t *testing.T, ps *goredis.PubSub, key string) (channel, wire string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := ps.ReceiveMessage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return "k" + m.Channel[len(key):], fromWire([]byte(m.Payload))
}

// The bus's own messages come back to it and must not be delivered: Receive fails
// the test.
func TestEveryMessageOnItsChannel(t *testing.T) {
	t.Parallel()
	b, _, ps := startBus(t, testutil.SharedRedis(t).Addr(), Options{ProbeInterval: -1})
	batch := []*cluster.Message{{Kind: cluster.Heartbeat, From: "AbCdEf", Namespace: "/"}}
	for _, tt := range published {
		m := tt.m
		m.From, m.Namespace = "AbCdEf", "/"
		batch = append(batch, &m)
	}
	batch = append(batch, &cluster.Message{Kind: cluster.AdapterClose, From: "AbCdEf", Namespace: "/"})
	if _, err := b.Publish(context.Background(), batch); err != nil {
		t.Fatal(err)
	}
	for _, tt := range published {
		if channel, wire := nextPublished(t, ps, b.opts.Key); channel != tt.channel || wire != tt.wire {
			t.Errorf("%s: %s on %s\nwant %s on %s", tt.name, wire, channel, tt.wire, tt.channel)
		}
	}
}

func TestAnswersOnTheirChannels(t *testing.T) {
	t.Parallel()
	count := &cluster.Message{Kind: cluster.BroadcastClientCount, Namespace: "/", RequestID: "r", Count: 1}
	emitted := &cluster.Message{Kind: cluster.ServerSideEmitResponse, Namespace: "/", RequestID: "r", Packet: packetOf(`[1]`)}
	tests := []struct {
		name     string
		specific bool
		to       adapter.NodeID
		m        *cluster.Message
		channel  string
	}{
		{"shared", false, "Zz", count, "k-response#/#"},
		{"own", true, "Zz", count, "k-response#/#Zz#"},
		{"to nobody by name", true, "", count, "k-response#/#"},
		{"to an emitter", true, cluster.EmitterID, count, "k-response#/#"},
		{"server-side emits are always shared", true, "Zz", emitted, "k-response#/#"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, att, ps := startBus(t, testutil.SharedRedis(t).Addr(), Options{SpecificResponseChannel: tt.specific, ProbeInterval: -1})
			self := att.(*member)
			b.set.remove(self, b.dialect.topics(self)...) // its own answer would come back
			if err := b.Reply(context.Background(), tt.to, tt.m); err != nil {
				t.Fatal(err)
			}
			if channel, _ := nextPublished(t, ps, b.opts.Key); channel != tt.channel {
				t.Errorf("channel %s, want %s", channel, tt.channel)
			}
		})
	}
}

func TestPublishTellsWhereTheUnsentTailBegins(t *testing.T) {
	t.Parallel()
	server := testutil.LocalRedis(t)
	b, att, ps := startBus(t, server.Addr(), Options{ProbeInterval: -1})
	good := func(text string) *cluster.Message {
		return &cluster.Message{Kind: cluster.Broadcast, From: "AbCdEf", Namespace: "/", Packet: packetOf(`["` + text + `"]`)}
	}
	bad := &cluster.Message{Kind: cluster.Broadcast, From: "AbCdEf", Namespace: "/", Packet: packetOf(`["open`)}
	ctx := context.Background()
	_, err := b.Publish(ctx, []*cluster.Message{{Kind: cluster.Heartbeat}, good("a"), bad, good("b")})
	var pe *cluster.PublishError
	if !errors.As(err, &pe) || pe.Sent != 2 || !pe.Permanent {
		t.Errorf("a message that cannot be encoded: %v", err)
	}
	if channel, _ := nextPublished(t, ps, b.opts.Key); channel != "k#/#" {
		t.Errorf("channel %s", channel)
	}
	if n, err := att.Peers(ctx); n != 1 || err != nil {
		t.Errorf("%d peers, %v", n, err)
	}
	server.Kill(t)
	if _, err = b.Publish(ctx, []*cluster.Message{good("a"), good("b")}); !errors.As(err, &pe) || pe.Sent == 1 {
		t.Errorf("without Redis: %v", err) // lost on a connection that was open, or not sent
	}
	if _, err = b.Publish(ctx, []*cluster.Message{good("a"), good("b")}); !errors.As(err, &pe) || pe.Sent != 0 {
		t.Errorf("without Redis and connections: %v", err)
	}
	if _, err := att.Peers(ctx); err == nil {
		t.Error("peers were counted without Redis")
	}
}

type refusal string

func (r refusal) Error() string { return string(r) }
func (refusal) RedisError()     {}

func TestWhatMayBePublishedAgain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err           error
		pubsub, entry bool // again?
	}{
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, true, true},
		{goredis.ErrPoolTimeout, true, true},
		{fmt.Errorf("wrapped: %w", &net.OpError{Op: "read", Err: errors.New("reset")}), false, true},
		{io.EOF, false, true},
		{context.DeadlineExceeded, false, true},
		{refusal("LOADING Redis is loading the dataset in memory"), true, true},
		{refusal("MOVED 1 127.0.0.1:1"), true, true},
		{refusal("ASK 1 127.0.0.1:1"), true, true},
		{refusal("CLUSTERDOWN The cluster is down"), true, true},
		{refusal("READONLY You can't write against a read only replica."), true, true},
		{refusal("NOPERM this user has no permissions"), false, false},
		{refusal("WRONGTYPE Operation against a key"), false, false},
	}
	for _, tt := range tests {
		if got := again(tt.err, false); got != tt.pubsub {
			t.Errorf("%v: a message again %v", tt.err, got)
		}
		if got := again(tt.err, true); got != tt.entry {
			t.Errorf("%v: an entry again %v", tt.err, got)
		}
	}
}

func TestTopicsSettle(t *testing.T) {
	t.Parallel()
	a, b := topic{name: "a"}, topic{kind: pattern, name: "b"}
	settled := func(ts *topics, name topic) bool {
		ch := ts.settled(name)
		if ch == nil {
			return true
		}
		select {
		case <-ch:
			return true
		default:
			return false
		}
	}
	ts := newTopics()
	ts.want(true, a, b)
	sub, unsub := ts.change(time.Now())
	if len(sub) != 2 || len(unsub) != 0 || settled(ts, a) {
		t.Fatalf("%v, %v", sub, unsub)
	}
	ts.confirm(a)
	if !settled(ts, a) || settled(ts, b) {
		t.Error("only a is confirmed")
	}
	ts.want(false, a)
	if _, unsub = ts.change(time.Now()); !reflect.DeepEqual(unsub, []topic{a}) || settled(ts, a) {
		t.Errorf("leaving %v", unsub)
	}
	ts.want(true, a)
	ts.change(time.Now())
	ts.confirm(a) // of leaving
	if settled(ts, a) {
		t.Error("the confirmation of the earlier command counts for the later one")
	}
	ts.confirm(a)
	if !settled(ts, a) {
		t.Error("subscribed again and not settled")
	}
	ts.reset()
	if settled(ts, a) || settled(ts, b) {
		t.Error("settled without a connection")
	}
	ts.want(false, a, b)
	if !ts.empty() || !settled(ts, a) {
		t.Error("not empty without a connection and wishes")
	}
}
