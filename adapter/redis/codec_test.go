package redis

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

const hole = `{"_placeholder":true,"num":0}`

func packetOf(data string, binary ...string) *adapter.Packet {
	p := &adapter.Packet{Data: []byte(data)}
	from := 0
	for _, b := range binary {
		at := from + strings.Index(data[from:], `{"_placeholder"`)
		p.Attachments = append(p.Attachments, adapter.Attachment{At: at, Data: []byte(b)})
		from = at + 1
	}
	return p
}

// toWire returns the bytes a vector stands for: JSON as it stands, or the hex of
// MessagePack.
func toWire(t testing.TB, vector string) []byte {
	t.Helper()
	if strings.HasPrefix(vector, "{") {
		return []byte(vector)
	}
	b, err := hex.DecodeString(vector)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func fromWire(b []byte) string {
	if bytes.HasPrefix(b, []byte("{")) {
		return string(b)
	}
	return hex.EncodeToString(b)
}

// published holds what @socket.io/redis-adapter 8.3 publishes from uid AbCdEf in
// namespace "/", with its channel.
var published = []struct {
	name, channel string
	m             cluster.Message
	wire          string
}{
	{"broadcast to a room", "k#/#room1#",
		cluster.Message{Kind: cluster.Broadcast, Packet: packetOf(`["foo","bar"]`), Target: adapter.Target{Rooms: []string{"room1"}}},
		"93a641624364456683a47479706502a46461746192a3666f6fa3626172a36e7370a12f83a5726f6f6d7391a5726f6f6d31a665786365707490a5666c61677380"},
	{"volatile, uncompressed broadcast to all but one", "k#/#",
		cluster.Message{Kind: cluster.Broadcast, Packet: packetOf(`["foo"]`),
			Target: adapter.Target{Except: []string{"s1"}, Flags: adapter.Volatile | adapter.NoCompress}},
		"93a641624364456683a47479706502a46461746191a3666f6fa36e7370a12f83a5726f6f6d7390a665786365707491a27331a5666c61677382a8766f6c6174696c65c3a8636f6d7072657373c2"},
	{"broadcast to two rooms", "k#/#",
		cluster.Message{Kind: cluster.Broadcast, Packet: packetOf(`["foo"]`), Target: adapter.Target{Rooms: []string{"a", "b"}}},
		"93a641624364456683a47479706502a46461746191a3666f6fa36e7370a12f83a5726f6f6d7392a161a162a665786365707490a5666c61677380"},
	{"binary broadcast", "k#/#",
		cluster.Message{Kind: cluster.Broadcast, Packet: packetOf(`["foo",`+hole+`]`, "\x01\x02")},
		"93a641624364456683a47479706502a46461746192a3666f6fc4020102a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380"},
	{"broadcast with ack", "k-request#/#",
		cluster.Message{Kind: cluster.Broadcast, RequestID: "GhIjKl", Packet: packetOf(`["foo"]`), Timeout: time.Second},
		"85a3756964a6416243644566a9726571756573744964a64768496a4b6ca47479706507a67061636b657483a47479706502a46461746191a3666f6fa36e7370a12fa46f70747383a5726f6f6d7390a665786365707490a5666c61677381a774696d656f7574cd03e8"},
	{"sockets", "k-request#/#",
		cluster.Message{Kind: cluster.Sockets, RequestID: "GhIjKl", Rooms: []string{"a"}},
		`{"uid":"AbCdEf","requestId":"GhIjKl","type":0,"rooms":["a"]}`},
	{"all rooms", "k-request#/#",
		cluster.Message{Kind: cluster.AllRooms, RequestID: "GhIjKl"},
		`{"uid":"AbCdEf","requestId":"GhIjKl","type":1}`},
	{"join", "k-request#/#",
		cluster.Message{Kind: cluster.SocketsJoin, Target: adapter.Target{Rooms: []string{"a"}, Except: []string{"b"}}, Rooms: []string{"c"}},
		`{"uid":"AbCdEf","type":2,"opts":{"rooms":["a"],"except":["b"]},"rooms":["c"]}`},
	{"leave", "k-request#/#",
		cluster.Message{Kind: cluster.SocketsLeave, Rooms: []string{"c", "é\""}},
		`{"uid":"AbCdEf","type":3,"opts":{"rooms":[],"except":[]},"rooms":["c","é\""]}`},
	{"disconnect", "k-request#/#",
		cluster.Message{Kind: cluster.DisconnectSockets, Close: true},
		`{"uid":"AbCdEf","type":4,"opts":{"rooms":[],"except":[]},"close":true}`},
	{"fetch", "k-request#/#",
		cluster.Message{Kind: cluster.FetchSockets, RequestID: "GhIjKl", Target: adapter.Target{Rooms: []string{"a"}}},
		`{"uid":"AbCdEf","requestId":"GhIjKl","type":5,"opts":{"rooms":["a"],"except":[]}}`},
	{"server-side emit", "k-request#/#",
		cluster.Message{Kind: cluster.ServerSideEmit, Packet: packetOf(`["foo",1]`)},
		`{"uid":"AbCdEf","type":6,"data":["foo",1]}`},
	{"server-side emit with ack", "k-request#/#",
		cluster.Message{Kind: cluster.ServerSideEmit, RequestID: "GhIjKl", Packet: packetOf(`["foo"]`)},
		`{"uid":"AbCdEf","requestId":"GhIjKl","type":6,"data":["foo"]}`},
	{"binary server-side emit", "k-request#/#",
		cluster.Message{Kind: cluster.ServerSideEmit, Packet: packetOf(`["foo",`+hole+`]`, "\xff")},
		"83a3756964a6416243644566a47479706506a46461746192a3666f6fc401ff"},
}

func TestPublishedMessagesAreTheReferences(t *testing.T) {
	t.Parallel()
	for _, tt := range published {
		t.Run(tt.name, func(t *testing.T) {
			m := tt.m
			m.From, m.Namespace = "AbCdEf", "/"
			b, err := encode(&m)
			if err != nil || fromWire(b) != tt.wire {
				t.Fatalf("publishes %s, %v\nwant      %s", fromWire(b), err, tt.wire)
			}
			if got := channelsOf("k", "/").target(&m); got != tt.channel {
				t.Errorf("channel %s, want %s", got, tt.channel)
			}
			if got := senderOf(string(b)); got != "AbCdEf" {
				t.Errorf("sender %q", got)
			}
			var back *cluster.Message
			if strings.Contains(tt.channel, "request") {
				back, _, err = decodeRequest("/", b)
			} else {
				back, err = decodeBroadcast("/", b)
			}
			if err != nil || !reflect.DeepEqual(back, &m) {
				t.Errorf("came back as %+v, %v\nwant %+v", back, err, &m)
			}
		})
	}
}

var answered = []struct {
	name string
	m    cluster.Message
	wire string
}{
	{"sockets", cluster.Message{Kind: cluster.SocketsResponse, Sockets: []adapter.Remote{{ID: "a"}, {ID: "b"}}},
		`{"requestId":"GhIjKl","sockets":["a","b"]}`},
	{"all rooms", cluster.Message{Kind: cluster.AllRoomsResponse, Rooms: []string{"a"}},
		`{"requestId":"GhIjKl","rooms":["a"]}`},
	{"fetch", cluster.Message{Kind: cluster.FetchSocketsResponse, Sockets: []adapter.Remote{
		{ID: "a", Handshake: json.RawMessage(`{"url":"/"}`), Rooms: []string{"a"}, Data: json.RawMessage(`{}`)}}},
		`{"requestId":"GhIjKl","sockets":[{"id":"a","handshake":{"url":"/"},"rooms":["a"],"data":{}}]}`},
	{"no sockets", cluster.Message{Kind: cluster.FetchSocketsResponse, Sockets: []adapter.Remote{}},
		`{"requestId":"GhIjKl","sockets":[]}`},
	{"server-side emit", cluster.Message{Kind: cluster.ServerSideEmitResponse, Packet: packetOf(`[{"a":1}]`)},
		`{"type":6,"requestId":"GhIjKl","data":{"a":1}}`},
	{"client count", cluster.Message{Kind: cluster.BroadcastClientCount, Count: 2},
		`{"type":8,"requestId":"GhIjKl","clientCount":2}`},
	{"no clients", cluster.Message{Kind: cluster.BroadcastClientCount},
		`{"type":8,"requestId":"GhIjKl","clientCount":0}`},
	{"ack", cluster.Message{Kind: cluster.BroadcastAck, Packet: packetOf(`["ok"]`)},
		"83a47479706509a9726571756573744964a64768496a4b6ca67061636b6574a26f6b"},
	{"ack without a value", cluster.Message{Kind: cluster.BroadcastAck, Packet: packetOf(`[]`)},
		"82a47479706509a9726571756573744964a64768496a4b6c"},
}

func TestAnswersAreTheReferences(t *testing.T) {
	t.Parallel()
	for _, tt := range answered {
		t.Run(tt.name, func(t *testing.T) {
			m := tt.m
			m.RequestID, m.Namespace = "GhIjKl", "/"
			b, err := encodeAnswer(&m)
			if err != nil || fromWire(b) != tt.wire {
				t.Fatalf("answers %s, %v\nwant    %s", fromWire(b), err, tt.wire)
			}
			back, err := decodeResponse("/", b)
			if err != nil || !reflect.DeepEqual(back, &m) {
				t.Errorf("came back as %+v, %v", back, err)
			}
		})
	}
}

func TestOldAndForeignFormsAreTaken(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, wire string
		want       cluster.Message
		old        legacy
	}{
		{"join of one socket", `{"requestId":"r","type":2,"sid":"s","room":"a"}`,
			cluster.Message{Kind: cluster.SocketsJoin, RequestID: "r", Target: adapter.Target{Rooms: []string{"s"}}, Rooms: []string{"a"}}, legacy{"s", "a"}},
		{"leave of one socket", `{"requestId":"r","type":3,"sid":"s","room":"a"}`,
			cluster.Message{Kind: cluster.SocketsLeave, RequestID: "r", Target: adapter.Target{Rooms: []string{"s"}}, Rooms: []string{"a"}}, legacy{"s", "a"}},
		{"disconnect of one socket", `{"requestId":"r","type":4,"sid":"s","close":true}`,
			cluster.Message{Kind: cluster.DisconnectSockets, RequestID: "r", Target: adapter.Target{Rooms: []string{"s"}}, Close: true}, legacy{sid: "s"}},
		{"sockets without uid", `{"requestId":"r","type":0,"rooms":[]}`, cluster.Message{Kind: cluster.Sockets, RequestID: "r"}, legacy{}},
		{"redis-emitter's join", `{"type":2,"opts":{"rooms":["a"],"except":[]},"rooms":["b"]}`,
			cluster.Message{Kind: cluster.SocketsJoin, Target: adapter.Target{Rooms: []string{"a"}}, Rooms: []string{"b"}}, legacy{}},
		{"redis-emitter's server-side emit", `{"uid":"emitter","type":6,"data":["a"]}`,
			cluster.Message{Kind: cluster.ServerSideEmit, From: cluster.EmitterID, Packet: packetOf(`["a"]`)}, legacy{}},
	}
	for _, tt := range tests {
		tt.want.Namespace = "/"
		got, old, err := decodeRequest("/", []byte(tt.wire))
		if err != nil || !reflect.DeepEqual(got, &tt.want) || old != tt.old {
			t.Errorf("%s: %+v, %+v, %v", tt.name, got, old, err)
		}
	}
	emitted := toWire(t, "93a7656d697474657283a47479706502a46461746191a3666f6fa36e7370a12f83a5726f6f6d7390a5666c61677380a665786365707490")
	got, err := decodeBroadcast("/", emitted)
	if err != nil || got.From != cluster.EmitterID || string(got.Packet.Data) != `["foo"]` {
		t.Errorf("redis-emitter's emit: %+v, %v", got, err)
	}
	noNsp := toWire(t, "93a16182a47479706502a46461746191a3666f6f81a5726f6f6d7390")
	if _, err := decodeBroadcast("/", noNsp); err != nil {
		t.Errorf("packet without nsp: %v", err)
	}
	if _, err := decodeBroadcast("/other", noNsp); err == nil {
		t.Error("packet without nsp was taken for another namespace")
	}
}

// garbage is what somebody could publish on our channels.
func garbage() [][]byte {
	return [][]byte{
		{}, {0xc0}, {0xc1}, {0x90}, {0x93}, {0x93, 0xc0, 0xc0, 0xc0}, {0x93, 0xa1, 'x', 0x80, 0x80},
		{0xdd, 0x7f, 0xff, 0xff, 0xff}, bytes.Repeat([]byte{0x91}, 1<<20), bytes.Repeat([]byte{'{'}, 1<<16), []byte("{"), []byte("{}"), []byte(`{"type":2}`),
		[]byte(`{"type":4,"close":true}`), []byte(`{"type":4,"opts":null}`), []byte(`{"type":4,"opts":{"rooms":5}}`), []byte(`{"type":5,"requestId":"r"}`),
		[]byte(`{"type":7,"requestId":"r","packet":null,"opts":{}}`), []byte(`{"type":6}`), []byte(`{"type":1}`), []byte(`{"type":8,"requestId":"r"}`),
		[]byte(`{"type":-1}`), []byte(`{"type":1e300}`), []byte(`{"requestId":"r"}`), []byte(`{"requestId":"r","sockets":[1]}`), []byte("hello"), []byte("{\"type\":\xff}"),
	}
}

func TestGarbageIsRejected(t *testing.T) {
	t.Parallel()
	for _, b := range garbage() {
		senderOf(string(b))
		if m, err := decodeBroadcast("/", b); err == nil {
			t.Errorf("broadcast %.20q gave %+v", b, m)
		}
		if m, _, err := decodeRequest("/", b); err == nil {
			t.Errorf("request %.20q gave %+v", b, m)
		}
		if m, err := decodeResponse("/", b); err == nil {
			t.Errorf("response %.20q gave %+v", b, m)
		}
	}
}

func TestRoomOfAChannel(t *testing.T) {
	t.Parallel()
	ch := channelsOf("k", "/n")
	tests := []struct {
		channel, room string
		ok            bool
	}{
		{"k#/n#", "", true},
		{"k#/n#a#", "a", true},
		{"k#/n#a#b#", "a#b", true},
		{"k#/n##", "", true},
		{"k#/n#a", "a", false},
		{"k#/nn#a#", "", false},
	}
	for _, tt := range tests {
		if room, ok := ch.roomOf(tt.channel); room != tt.room && ok || ok != tt.ok {
			t.Errorf("%s: %q, %v", tt.channel, room, ok)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, tt := range published {
		m := tt.m
		m.From, m.Namespace = "AbCdEf", "/"
		b, _ := encode(&m)
		f.Add(b)
	}
	for _, tt := range answered {
		m := tt.m
		m.RequestID, m.Namespace = "GhIjKl", "/"
		b, _ := encodeAnswer(&m)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		senderOf(string(in))
		if m, err := decodeBroadcast("/", in); err == nil {
			reencode(t, m, encode)
		}
		if m, _, err := decodeRequest("/", in); err == nil {
			reencode(t, m, encode)
		}
		if m, err := decodeResponse("/", in); err == nil {
			reencode(t, m, encodeAnswer)
		}
	})
}

func reencode(t *testing.T, m *cluster.Message, enc func(*cluster.Message) ([]byte, error)) {
	t.Helper()
	if m.Kind == 0 {
		return // of the future
	}
	if _, err := enc(m); err != nil {
		t.Fatalf("%+v: %v", m, err)
	}
}

func BenchmarkDecodeBroadcast(b *testing.B) {
	m := &cluster.Message{Kind: cluster.Broadcast, From: "AbCdEf", Namespace: "/", Target: adapter.Target{Rooms: []string{"room"}},
		Packet: packetOf(`["message",{"id":1,"text":"` + strings.Repeat("hello ", 20) + `"}]`)}
	in, err := encode(m)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeBroadcast("/", in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDropOwnAndForeign(b *testing.B) {
	payload := string(toWire(b, published[0].wire))
	ch := channelsOf("k", "/")
	b.ReportAllocs()
	for b.Loop() {
		if senderOf(payload) == "other" {
			b.Fatal("dropped")
		}
		ch.roomOf("k#/#room1#")
	}
}

func BenchmarkEncodeBroadcast(b *testing.B) {
	m := &cluster.Message{Kind: cluster.Broadcast, From: "AbCdEf", Namespace: "/", Target: adapter.Target{Rooms: []string{"room"}},
		Packet: packetOf(`["message",{"id":1,"text":"` + strings.Repeat("hello ", 20) + `"}]`)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := encode(m); err != nil {
			b.Fatal(err)
		}
	}
}
