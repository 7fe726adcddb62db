package wire

import (
	"encoding/hex"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

const self = "0123456789abcdef"

func packet(data string, binary ...string) *adapter.Packet {
	p := &adapter.Packet{Data: []byte(data)}
	from := 0
	for _, b := range binary {
		at := from + strings.Index(data[from:], `{"_placeholder"`)
		p.Attachments = append(p.Attachments, adapter.Attachment{At: at, Data: []byte(b)})
		from = at + 1
	}
	return p
}

func target(rooms, except []string, flags adapter.Flags) adapter.Target {
	return adapter.Target{Rooms: rooms, Except: except, Flags: flags}
}

const hole = `{"_placeholder":true,"num":0}`

// messages are one or more of each kind with what the reference sends for it; a
// wire that starts with "{" is JSON, any other the hex of MessagePack.
var messages = []struct {
	name string
	m    cluster.Message
	wire string
}{
	{"first heartbeat", cluster.Message{Kind: cluster.InitialHeartbeat}, `{"type":1,"uid":"0123456789abcdef","nsp":"/"}`},
	{"heartbeat", cluster.Message{Kind: cluster.Heartbeat}, `{"type":2,"uid":"0123456789abcdef","nsp":"/"}`},
	{"broadcast", cluster.Message{Kind: cluster.Broadcast, Packet: packet(`["foo"]`)},
		`{"type":3,"data":{"packet":{"type":2,"data":["foo"]},"opts":{"rooms":[],"except":[],"flags":{}}},"uid":"0123456789abcdef","nsp":"/"}`},
	{"binary broadcast", cluster.Message{Kind: cluster.Broadcast, Packet: packet(`["foo",`+hole+`]`, "\x01")},
		"84a47479706503a46461746182a67061636b657482a47479706502a46461746192a3666f6fc40101a46f70747383a5726f6f6d7390a665786365707490a5666c61677380a3756964b030313233343536373839616263646566a36e7370a12f"},
	{"broadcast with ack", cluster.Message{Kind: cluster.Broadcast, RequestID: "r1", Packet: packet(`["foo"]`), Timeout: time.Second,
		Target: target([]string{"a", "é\""}, []string{"b"}, adapter.Volatile|adapter.NoCompress)},
		`{"type":3,"data":{"packet":{"type":2,"data":["foo"]},"requestId":"r1","opts":{"rooms":["a","é\""],"except":["b"],"flags":{"volatile":true,"compress":false,"timeout":1000}}},"uid":"0123456789abcdef","nsp":"/"}`},
	{"join", cluster.Message{Kind: cluster.SocketsJoin, Target: target([]string{"a"}, nil, 0), Rooms: []string{"b", "c"}},
		`{"type":4,"data":{"opts":{"rooms":["a"],"except":[],"flags":{}},"rooms":["b","c"]},"uid":"0123456789abcdef","nsp":"/"}`},
	{"leave", cluster.Message{Kind: cluster.SocketsLeave, Rooms: []string{"b"}},
		`{"type":5,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"rooms":["b"]},"uid":"0123456789abcdef","nsp":"/"}`},
	{"disconnect", cluster.Message{Kind: cluster.DisconnectSockets, Close: true},
		`{"type":6,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"close":true},"uid":"0123456789abcdef","nsp":"/"}`},
	{"fetch", cluster.Message{Kind: cluster.FetchSockets, RequestID: "r"},
		`{"type":7,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"requestId":"r"},"uid":"0123456789abcdef","nsp":"/"}`},
	{"fetched", cluster.Message{Kind: cluster.FetchSocketsResponse, RequestID: "r", Sockets: []adapter.Remote{
		{ID: "s", Handshake: json.RawMessage(`{"url":"/"}`), Rooms: []string{"s"}, Data: json.RawMessage(`{"a":1}`)}}},
		`{"type":8,"data":{"requestId":"r","sockets":[{"id":"s","handshake":{"url":"/"},"rooms":["s"],"data":{"a":1}}]},"uid":"0123456789abcdef","nsp":"/"}`},
	{"server-side emit", cluster.Message{Kind: cluster.ServerSideEmit, Packet: packet(`["foo",1]`)},
		`{"type":9,"data":{"packet":["foo",1]},"uid":"0123456789abcdef","nsp":"/"}`},
	{"server-side emit with ack", cluster.Message{Kind: cluster.ServerSideEmit, RequestID: "r", Packet: packet(`["foo"]`)},
		`{"type":9,"data":{"requestId":"r","packet":["foo"]},"uid":"0123456789abcdef","nsp":"/"}`},
	{"server-side answer", cluster.Message{Kind: cluster.ServerSideEmitResponse, RequestID: "r", Packet: packet(`["x"]`)},
		`{"type":10,"data":{"requestId":"r","packet":"x"},"uid":"0123456789abcdef","nsp":"/"}`},
	{"client count", cluster.Message{Kind: cluster.BroadcastClientCount, RequestID: "r", Count: 3},
		`{"type":11,"data":{"requestId":"r","clientCount":3},"uid":"0123456789abcdef","nsp":"/"}`},
	{"ack", cluster.Message{Kind: cluster.BroadcastAck, RequestID: "r", Packet: packet(`[[1,2]]`)},
		`{"type":12,"data":{"requestId":"r","packet":[1,2]},"uid":"0123456789abcdef","nsp":"/"}`},
	{"ack without a value", cluster.Message{Kind: cluster.BroadcastAck, RequestID: "r", Packet: packet(`[]`)},
		`{"type":12,"data":{"requestId":"r"},"uid":"0123456789abcdef","nsp":"/"}`},
	{"binary ack", cluster.Message{Kind: cluster.BroadcastAck, RequestID: "r", Packet: packet(`[`+hole+`]`, "\xff")},
		"84a4747970650ca46461746182a9726571756573744964a172a67061636b6574c401ffa3756964b030313233343536373839616263646566a36e7370a12f"},
	{"leaving", cluster.Message{Kind: cluster.AdapterClose}, `{"type":13,"uid":"0123456789abcdef","nsp":"/"}`},
}

func TestEveryKindOnTheWireAndBack(t *testing.T) {
	t.Parallel()
	for _, tt := range messages {
		t.Run(tt.name, func(t *testing.T) {
			m := tt.m
			m.From, m.Namespace = self, "/"
			b, err := Append([]byte("x"), &m)
			if err != nil {
				t.Fatal(err)
			}
			got := string(b[1:])
			if !strings.HasPrefix(tt.wire, "{") {
				got = hex.EncodeToString(b[1:])
			}
			if got != tt.wire {
				t.Fatalf("sends %s\nwant  %s", got, tt.wire)
			}
			comesBack(t, &m, b[1:])
			packed, err := AppendPacked(nil, &m)
			if err != nil {
				t.Fatal(err)
			}
			comesBack(t, &m, packed)
			typ, data, err := Entry(&m)
			if err != nil {
				t.Fatal(err)
			}
			back, err := DecodeEntry(m.From, m.Namespace, typ, data)
			same(t, &m, back, err)
		})
	}
}

func comesBack(t *testing.T, want *cluster.Message, b []byte) {
	t.Helper()
	got, err := Decode(b)
	same(t, want, got, err)
}

func same(t *testing.T, want, got *cluster.Message, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("came back as %+v\nwant %+v", got, want)
	}
}

func TestFetchIsPackedAsTheStreamsAdapterPacksIt(t *testing.T) {
	t.Parallel()
	m := &cluster.Message{Kind: cluster.FetchSockets, From: self, Namespace: "/", RequestID: "0011223344556677"}
	b, err := AppendPacked(nil, m)
	const want = "84a47479706507a46461746182a46f70747383a5726f6f6d7390a665786365707490a5666c61677380a9726571756573744964b030303131323233333434353536363737a3756964b030313233343536373839616263646566a36e7370a12f"
	if err != nil || hex.EncodeToString(b) != want {
		t.Errorf("got %x, %v", b, err)
	}
}

func TestEntriesAreWhatTheStreamsAdapterAdds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		m    cluster.Message
		data string
	}{
		{cluster.Message{Kind: cluster.Broadcast, Packet: packet(`["foo","bar"]`), Target: target([]string{"r"}, nil, 0)},
			`{"packet":{"type":2,"data":["foo","bar"]},"opts":{"rooms":["r"],"except":[],"flags":{}}}`},
		{cluster.Message{Kind: cluster.Broadcast, Packet: packet(`["foo",`+hole+`]`, "\x01\x02\x03"), Target: target([]string{"r"}, nil, 0)},
			`gqZwYWNrZXSCpHR5cGUCpGRhdGGSo2Zvb8QDAQIDpG9wdHODpXJvb21zkaFypmV4Y2VwdJClZmxhZ3OA`},
		{cluster.Message{Kind: cluster.Heartbeat}, ""},
	}
	for _, tt := range tests {
		_, data, err := Entry(&tt.m)
		if err != nil || data != tt.data {
			t.Errorf("%v: %s, %v", tt.m.Kind, data, err)
		}
	}
}

func TestDecodeTakesWhatPeersAdd(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in string }{
		{"unknown members, another order", `{"nsp":"/","v":1,"data":{"x":[{}],"opts":{"flags":{"binary":true},"rooms":["a",7],"z":null},"packet":{"id":null,"nsp":"/","data":["e"],"type":2}},"uid":"emitter","type":3}`},
		{"no except, no flags", `{"type":3,"uid":"emitter","nsp":"/","data":{"packet":{"type":2,"data":["e"]},"opts":{"rooms":["a",7]}}}`},
	}
	for _, tt := range tests {
		m, err := Decode([]byte(tt.in))
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if m.From != cluster.EmitterID || string(m.Packet.Data) != `["e"]` || !reflect.DeepEqual(m.Target.Rooms, []string{"a", "7"}) || m.RequestID != "" {
			t.Errorf("%s: %+v", tt.name, m)
		}
	}
}

func TestDecodeRejects(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		``, `{`, `{}`, `[]`, `null`, "\xc0", "\x80", "\xdd\x7f\xff\xff\xff", `{"type":0}`, `{"type":"3"}`, `{"type":-1}`,
		`{"type":3}`, `{"type":3,"data":null}`, `{"type":3,"data":{}}`, `{"type":3,"data":{"packet":{"type":2,"data":["a"]}}}`,
		`{"type":3,"data":{"packet":null,"opts":{}}}`, `{"type":3,"data":{"packet":{"type":1,"data":["a"]},"opts":{}}}`,
		`{"type":3,"data":{"packet":{"type":2,"data":{}},"opts":{}}}`, `{"type":3,"data":{"packet":{"type":2,"data":["a"]},"opts":{"rooms":"all"}}}`,
		`{"type":4,"data":{"rooms":["a"]}}`, `{"type":4,"data":{"opts":{},"rooms":[{}]}}`, `{"type":6,"data":{"close":true}}`,
		`{"type":7,"data":{"opts":{}}}`, `{"type":8,"data":{"requestId":"r"}}`, `{"type":8,"data":{"requestId":"r","sockets":[{}]}}`,
		`{"type":11,"data":{"requestId":"r"}}`, `{"type":11,"data":{"requestId":"r","clientCount":-1}}`, `{"type":12,"data":{"packet":1}}`,
		"{\"type\":1,\"uid\":\"\xff\"}",
	} {
		if m, err := Decode([]byte(in)); err == nil {
			t.Errorf("%q gave %+v", in, m)
		}
	}
	for _, in := range [][2]string{{"x", ""}, {"3", ""}, {"3", "{"}, {"3", "!!"}, {"3", "wA=="}} {
		if _, err := DecodeEntry("u", "/", in[0], in[1]); err == nil {
			t.Errorf("entry %q was taken", in)
		}
	}
}

func TestAppendRejectsWhatOnlyTheClassicWireHas(t *testing.T) {
	t.Parallel()
	for _, k := range []cluster.Kind{0, cluster.AllRooms, cluster.SocketsResponse} {
		if _, err := Append(nil, &cluster.Message{Kind: k}); err == nil {
			t.Errorf("%v was taken", k)
		}
		if _, _, err := Entry(&cluster.Message{Kind: k}); err == nil {
			t.Errorf("entry %v was taken", k)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, tt := range messages {
		m := tt.m
		m.From, m.Namespace = self, "/"
		text, _ := Append(nil, &m)
		packed, _ := AppendPacked(nil, &m)
		f.Add(text)
		f.Add(packed)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := Decode(in)
		if err != nil || m.Kind == 0 {
			return
		}
		b, err := Append(nil, m)
		if err != nil {
			t.Fatalf("%+v does not go out: %v", m, err)
		}
		if _, err := Decode(b); err != nil {
			t.Fatalf("%q became %q: %v", in, b, err)
		}
	})
}

func BenchmarkDecodeBroadcast(b *testing.B) {
	m := &cluster.Message{Kind: cluster.Broadcast, From: self, Namespace: "/", Target: target([]string{"room"}, nil, 0),
		Packet: packet(`["message",{"id":1,"text":"` + strings.Repeat("hello ", 20) + `"}]`)}
	for name, enc := range map[string]func([]byte, *cluster.Message) ([]byte, error){"json": Append, "msgpack": AppendPacked} {
		b.Run(name, func(b *testing.B) {
			in, err := enc(nil, m)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
