package nats

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestTokensHoldNothingThatMeansSomethingToNATS(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, name := range []string{
		"", "/", "/chat", "room", "_room", "~room", "a.b", "a.*", ">", "*", "a b", "a\tb", "a\r\nPUB x 0\r\n", "\x00", "ü",
		"log", "_log", strings.Repeat("a", maxPlain), strings.Repeat("a", maxPlain+1), strings.Repeat(".", 1<<16),
	} {
		got := token(name)
		if got == "" || got == "log" || len(got) > maxPlain+1 || strings.ContainsAny(got, ".*> \t\r\n\x00") {
			t.Errorf("token(%.20q) = %q", name, got)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%.20q and %.20q are both %q", name, other, got)
		}
		seen[got] = name
	}
	if got := token("Room-1_x"); got != "_Room-1_x" {
		t.Errorf("a plain name became %q", got)
	}
}

func TestNamesOfRoomsCannotBreakTheConnection(t *testing.T) {
	t.Parallel()
	s := testutil.NATS(t)
	a, b := pair(t, []string{s.URL}, []string{s.URL}, nil)
	rooms := []adapter.Room{"", "*", ">", "a.>", "a b", "x\r\nPUB y 0\r\n\r\n", strings.Repeat("long", 1<<14)}
	for i, r := range rooms {
		b.member.RoomCreated(r)
		wait(t, "the room is subscribed", func() bool {
			a.publish(t.Context(), numbered("a", i, r), i)
			got := b.seen()
			return len(got) > 0 && got[len(got)-1] == i
		})
	}
	c := newNode(t, a.b.opts.Prefix, "c", []string{s.URL}, nil)
	c.member.RoomCreated("*")
	a.publish(t.Context(), numbered("a", 99, "other"), 99)
	a.publish(t.Context(), numbered("a", 100), 100)
	wait(t, "the message for all arrives", func() bool { got := c.seen(); return len(got) > 0 && got[len(got)-1] == 100 })
	if got := c.seen(); len(got) != 1 {
		t.Errorf("a room named * heard %v", got)
	}
	if a.b.Health().Reconnects+b.b.Health().Reconnects > 0 && a.b.Health().LastError != "" {
		t.Errorf("the connection was lost: %+v", a.b.Health())
	}
}

func TestARoomThatIsDeletedIsHeardNoMore(t *testing.T) {
	t.Parallel()
	s := testutil.NATS(t)
	a, b := pair(t, []string{s.URL}, []string{s.URL}, nil)
	b.member.RoomCreated("room")
	i := 0
	wait(t, "the room is subscribed", func() bool {
		i++
		a.publish(t.Context(), numbered("a", i, "room"), i)
		return len(b.seen()) > 0
	})
	b.member.RoomDeleted("room")
	wait(t, "the room is left", func() bool {
		i++
		a.publish(t.Context(), numbered("a", i, "room"), i)
		a.publish(t.Context(), numbered("a", -i), -i)
		var got []int
		wait(t, "the message for all arrives", func() bool {
			got = b.seen()
			return got[len(got)-1] == -i
		})
		return got[len(got)-2] != i
	})
}

func TestPeersNoticeWhatIsMissing(t *testing.T) {
	t.Parallel()
	const beat, msg = cluster.Heartbeat, cluster.ServerSideEmit
	type step struct {
		kind cluster.Kind
		at   position
		gap  bool
		drop uint64
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"nothing", []step{{beat, position{1, 0}, false, 0}, {msg, position{2, 0}, false, 0}, {beat, position{2, 0}, false, 0}, {msg, position{3, 0}, false, 0}}},
		{"a message before another", []step{{beat, position{1, 0}, false, 0}, {msg, position{4, 0}, true, 2}, {msg, position{5, 0}, false, 0}}},
		{"a message before a heartbeat", []step{{beat, position{1, 0}, false, 0}, {beat, position{2, 0}, true, 1}, {beat, position{2, 0}, false, 0}}},
		{"a replaced connection", []step{{beat, position{1, 0}, false, 0}, {beat, position{1, 1}, true, 0}, {beat, position{1, 1}, false, 0}}},
		{"a late heartbeat", []step{{beat, position{1, 0}, false, 0}, {msg, position{2, 0}, false, 0}, {beat, position{1, 0}, false, 0}, {msg, position{3, 0}, false, 0}}},
		{"messages without a number", []step{{msg, position{}, false, 0}, {msg, position{7, 3}, false, 0}, {msg, position{}, false, 0}, {msg, position{8, 3}, false, 0}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, now := newPeers(), time.Now()
			for i, s := range tt.steps {
				now = now.Add(time.Second)
				gap, ok := p.heard(&cluster.Message{Kind: s.kind, From: "x"}, s.at, now)
				if !ok || (gap.Kind != "") != s.gap || gap.Dropped != s.drop {
					t.Errorf("step %d: %+v, %v", i, gap, ok)
				}
			}
		})
	}
}

func TestPeersExpireOnceAndComeBack(t *testing.T) {
	t.Parallel()
	p, now := newPeers(), time.Now()
	hear := func(id adapter.NodeID, k cluster.Kind, seq uint64) (Gap, bool) {
		return p.heard(&cluster.Message{Kind: k, From: id}, position{seq: seq}, now)
	}
	hear("x", cluster.Heartbeat, 5)
	hear(cluster.EmitterID, cluster.Broadcast, 0)
	if p.count() != 1 {
		t.Errorf("%d peers", p.count())
	}
	now = now.Add(time.Minute)
	if dead := p.expire(now.Add(-time.Second), now); len(dead) != 1 || p.count() != 0 {
		t.Errorf("dead %v", dead)
	}
	if dead := p.expire(now.Add(-time.Second), now); len(dead) != 0 {
		t.Errorf("dead again: %v", dead)
	}
	if gap, _ := hear("x", cluster.Heartbeat, 8); gap.Dropped != 3 || p.count() != 1 {
		t.Errorf("a node that comes back: %+v, %d peers", gap, p.count())
	}
	hear("x", cluster.AdapterClose, 9)
	if _, ok := hear("x", cluster.Heartbeat, 9); ok || p.count() != 0 {
		t.Error("a node that has left came back")
	}
	now = now.Add(keepGone + time.Second)
	if p.expire(time.Time{}, now); len(p.list) != 0 {
		t.Error("it is remembered for ever")
	}
}

func FuzzDecodeFrame(f *testing.F) {
	for _, at := range []position{{}, {1, 0}, {1 << 60, 1 << 40}} {
		frame, err := appendFrame(nil, at, &cluster.Message{Kind: cluster.Heartbeat, From: "a", Namespace: "/"})
		if err != nil {
			f.Fatal(err)
		}
		if got, m, err := decodeFrame(frame); err != nil || got != at || m.From != "a" {
			f.Fatalf("%v became %v, %v, %v", at, got, m, err)
		}
		f.Add(frame)
	}
	f.Add([]byte{})
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, in []byte) {
		at, m, err := decodeFrame(in)
		if err != nil {
			return
		}
		frame, err := appendFrame(nil, at, m)
		if err != nil {
			t.Fatal(err)
		}
		if again, _, err := decodeFrame(frame); err != nil || again != at {
			t.Fatalf("%v became %v, %v", at, again, err)
		}
	})
}

func TestURLs(t *testing.T) {
	t.Parallel()
	parse := func(raw string) (natsgo.Options, Options, error) {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		user, o, err := parseURL(u)
		if err != nil {
			return user, Options{}, err
		}
		full, err := o.withDefaults()
		return user, full, err
	}
	user, o, err := parse("nats://me:secret@one,two:5000?addr=[::1]:6000&prefix=a.b&mode=static&heartbeat_interval=3s&requests_timeout=4s")
	if err != nil || user.User != "me" || user.Password != "secret" ||
		strings.Join(user.Servers, " ") != "nats://one:4222 nats://two:5000 nats://[::1]:6000" ||
		o.Prefix != "a.b" || o.Mode != Static || o.HeartbeatInterval != 3*time.Second ||
		o.Cluster.RequestsTimeout != 4*time.Second || o.JetStream != nil {
		t.Errorf("%+v, %+v, %v", user.Servers, o, err)
	}
	for _, raw := range []string{"nats+jetstream://host?max_age=1m", "nats://host?jetstream=true&max_age=1m"} {
		user, o, err = parse(raw + "&prefix=a.b")
		if err != nil || o.JetStream == nil || o.JetStream.MaxAge != time.Minute || o.JetStream.Stream != "a_b" ||
			o.JetStream.MaxMsgs != defaultMaxMsgs || o.JetStream.Replicas != 1 || user.Servers[0] != "nats://host:4222" {
			t.Errorf("%s: %+v, %v", raw, o.JetStream, err)
		}
	}
	if user, _, err = parse("tls://host?token=t"); err != nil || !user.Secure || user.TLSConfig == nil || user.Token != "t" {
		t.Errorf("tls: %v", err)
	}
	for _, raw := range []string{
		"nats://host?prefx=a", "nats://host?prefix=a..b", "nats://host?prefix=a.*", "nats://host?mode=all", "nats://host/path",
		"nats://host?heartbeat_interval=1ms", "nats://host?max_age=1m", "nats+jetstream://host?max_age=1ms",
		"nats+jetstream://host?stream=a.b", "nats+jetstream://host?replicas=-1", "nats://host?prefix=" + strings.Repeat("a", maxPrefix+1),
	} {
		if _, _, err := parse(raw); err == nil {
			t.Errorf("%s was taken", raw)
		}
	}
}

func TestNewLeavesTheUsersConnectionAlone(t *testing.T) {
	t.Parallel()
	s := testutil.NATS(t)
	conn, err := natsgo.Connect(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p, err := New(conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	closeNode(t, p)
	if !conn.IsConnected() || conn.Opts.NoEcho || conn.Opts.ReconnectBufSize == -1 {
		t.Error("the user's connection was touched")
	}
	if _, err := New(nil, nil); err == nil {
		t.Error("no connection was taken")
	}
	if _, err := New(conn, &Options{Prefix: "a b"}); err == nil {
		t.Error("a bad prefix was taken")
	}
}

func TestOpenFailsWhereNobodyAnswersAndHidesThePassword(t *testing.T) {
	t.Parallel()
	p, err := adapter.Open(t.Context(), "nats://me:hunter2@127.0.0.1:1")
	if err == nil {
		closeNode(t, p)
		t.Fatal("it opened")
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the password is in %v", err)
	}
}

func TestAttachRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	s := testutil.NATS(t)
	a := newNode(t, newPrefix(), "a", []string{s.URL}, nil)
	if _, err := a.b.Attach(t.Context(), cluster.Attach{Namespace: "/", Self: "b"}); err == nil {
		t.Error("a namespace was attached twice")
	}
	if _, err := a.b.Attach(t.Context(), cluster.Attach{Namespace: "/x"}); err == nil {
		t.Error("a node without an id was attached")
	}
	a.close()
	if _, err := a.b.Attach(t.Context(), cluster.Attach{Namespace: "/y", Self: "b"}); err == nil {
		t.Error("a closed bus was joined")
	}
}

func TestASubscriptionTheServerForbidsFailsTheStart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "nats.conf")
	config := `authorization: { users: [ { user: u, password: p, permissions: {
		publish: ">", subscribe: { allow: ["ok.>", "_INBOX.>"] } } } ] }`
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s := testutil.NATS(t, "-c", file)
	for _, prefix := range []string{"ok", "forbidden"} {
		p, err := adapter.Open(t.Context(), "nats://u:p@"+s.Addr()+"?prefix="+prefix)
		if err != nil {
			t.Fatal(err)
		}
		a, err := p.Open(t.Context(), adaptertest.NewHost("/", "node"))
		if (err == nil) != (prefix == "ok") {
			t.Errorf("prefix %s: %v", prefix, err)
		}
		if err == nil {
			if err := a.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		closeNode(t, p)
	}
	if p, err := adapter.Open(t.Context(), "nats://u:wrong@"+s.Addr()); err == nil {
		closeNode(t, p)
		t.Error("a wrong password was taken")
	}
}

func TestAnAwaitedRoomIsHeard(t *testing.T) {
	t.Parallel()
	s := testutil.NATS(t)
	a, b := pair(t, []string{s.URL}, []string{s.URL}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const rooms = 50
	for i := range rooms {
		r := fmt.Sprintf("room%d", i)
		b.member.RoomCreated(r)
		if err := b.member.AwaitRooms(ctx, r); err != nil {
			t.Fatal(err)
		}
		a.publish(ctx, numbered("a", i, r), i)
	}
	wait(t, "every first message arrives", func() bool { return len(b.seen()) == rooms })
	if err := b.member.Detach(ctx); err != nil {
		t.Error(err)
	}
	b.member.RoomCreated("late")
	canceled, cut := context.WithCancel(ctx)
	cut()
	if err := b.member.AwaitRooms(canceled, "late"); err == nil {
		t.Error("a canceled wait succeeds")
	}
}
