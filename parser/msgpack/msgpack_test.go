package msgpack

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"github.com/socketfleet/socketfleet/parser"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const holder = `{"_placeholder":true,"num":0}`

// wireVectors are packets as socket.io-msgpack-parser 3.0.2 writes them on a
// server.
var wireVectors = []struct {
	name   string
	hex    string
	packet parser.Packet
}{
	{"an event", "83a47479706502a46461746192a568656c6c6fa3796f75a36e7370a12f",
		parser.Packet{Type: parser.Event, Namespace: "/", Data: []byte(`["hello","you"]`)}},
	{"an event that asks for an answer", "84a47479706502a46461746191a161a2696407a36e7370a22f78",
		parser.Packet{Type: parser.Event, Namespace: "/x", ID: 7, HasID: true, Data: []byte(`["a"]`)}},
	{"an answer", "84a2696400a47479706503a46461746190a36e7370a12f",
		parser.Packet{Type: parser.Ack, Namespace: "/", HasID: true, Data: []byte(`[]`)}},
	{"an answer with a big id", "84a26964cd0100a47479706503a46461746191c0a36e7370a12f",
		parser.Packet{Type: parser.Ack, Namespace: "/", ID: 256, HasID: true, Data: []byte(`[null]`)}},
	{"a disconnect", "82a47479706501a36e7370a12f",
		parser.Packet{Type: parser.Disconnect, Namespace: "/"}},
	{"a refusal", "83a47479706504a46461746181a76d657373616765a16da36e7370a12f",
		parser.Packet{Type: parser.ConnectError, Namespace: "/", Data: []byte(`{"message":"m"}`)}},
	{"binary", "83a47479706502a46461746192a161c403010203a36e7370a12f",
		parser.Packet{Type: parser.Event, Namespace: "/", Data: []byte(`["a",` + holder + `]`), Attachments: []parser.Attachment{{At: 5, Data: []byte{1, 2, 3}}}}},
	{"nested empty binary", "83a47479706502a46461746192a16181a162c400a36e7370a12f",
		parser.Packet{Type: parser.Event, Namespace: "/", Data: []byte(`["a",{"b":` + holder + `}]`), Attachments: []parser.Attachment{{At: 10, Data: []byte{}}}}},
	{"what looks like a placeholder", "83a47479706502a46461746192a16182ac5f706c616365686f6c646572c3a36e756d00a36e7370a12f",
		parser.Packet{Type: parser.Event, Namespace: "/", Data: []byte(`["a",` + holder + `]`)}},
	{"numbers", "83a47479706502a46461746198a1610020cbbff8000000000000cd0100ff7fd1ff7fa36e7370a12f",
		parser.Packet{Type: parser.Event, Namespace: "/", Data: []byte(`["a",0,32,-1.5,256,-1,127,-129]`)}},
}

func TestPacketsAreEncodedAsTheReferenceDoes(t *testing.T) {
	t.Parallel()
	for _, tt := range wireVectors {
		m, err := Parser{}.Encode(&tt.packet)
		if err != nil || m.Text != nil || len(m.Binary) != 1 {
			t.Fatalf("%s: got %+v, %v", tt.name, m, err)
		}
		if got := hex.EncodeToString(m.Binary[0]); got != tt.hex {
			t.Errorf("%s: got\n%s, want\n%s", tt.name, got, tt.hex)
		}
	}
}

func TestAConnectAnswerHasAPid(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		`{"sid":"S"}`:           "83a47479706500a46461746182a3736964a153a3706964d40000a36e7370a12f",
		`{"sid":"S","pid":"P"}`: "83a47479706500a46461746182a3736964a153a3706964a150a36e7370a12f",
	} {
		m, err := Parser{}.Encode(&parser.Packet{Type: parser.Connect, Namespace: "/", Data: []byte(data)})
		if err != nil || hex.EncodeToString(m.Binary[0]) != want {
			t.Errorf("%s: got %x, %v", data, m.Binary, err)
		}
	}
}

func TestEncodeFailsForWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	for _, data := range []string{"", "[", strings.Repeat("[", 129) + strings.Repeat("]", 129)} {
		if m, err := (Parser{}).Encode(&parser.Packet{Type: parser.Event, Data: []byte(data)}); err == nil {
			t.Errorf("%.5s: got %+v", data, m)
		}
	}
	p := parser.Packet{Type: parser.Event, Data: []byte(`[1]`), Attachments: []parser.Attachment{{At: 9}}}
	if _, err := (Parser{}).Encode(&p); err == nil {
		t.Error("an attachment outside the data was accepted")
	}
}

func decodeOne(t testing.TB, d parser.Decoder, hex string) (parser.Packet, error) {
	t.Helper()
	b := unhex(t, hex)
	p, done, err := d.Binary(b)
	if done != (err == nil) {
		t.Fatalf("%s: complete %v, error %v", hex, done, err)
	}
	clear(b) // what was decoded must not depend on it
	return p, err
}

func TestPacketsAreDecoded(t *testing.T) {
	t.Parallel()
	for _, tt := range wireVectors {
		want := tt.packet
		want.Owned = true
		got, err := decodeOne(t, Parser{}.NewDecoder(nil), tt.hex)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v; want %+v", tt.name, got, err, want)
		}
	}
}

// head and tail surround the data of a packet of the given type.
const (
	eventHead = "83a47479706502a464617461"
	rootTail  = "a36e7370a12f"
)

func TestWhatOfficialClientsSendIsUnderstood(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, hex, data string
		typ             parser.Type
	}{
		{"CONNECT without auth", "83a47479706500a464617461d40000a36e7370a12f", "", parser.Connect},
		{"CONNECT with auth", "83a47479706500a46461746181a16101a36e7370a12f", `{"a":1}`, parser.Connect},
		{"CONNECT with binary in auth", "83a47479706500a46461746181a161c40107a36e7370a12f", `{"a":{"type":"Buffer","data":[7]}}`, parser.Connect},
		{"an event with options", "84a47479706502a46461746191a161a76f7074696f6e7381a8636f6d7072657373c3a36e7370a12f", `["a"]`, parser.Event},
		{"an id that is undefined", "84a47479706502a46461746191a161a26964d40000a36e7370a12f", `["a"]`, parser.Event},
		{"DISCONNECT with data undefined", "83a47479706501a464617461d40000a36e7370a12f", "", parser.Disconnect},
		{"an ArrayBuffer", eventHead + "92a161c70300010203" + rootTail, `["a",` + holder + `]`, parser.Event},
		{"an ArrayBuffer of one byte", eventHead + "92a161c7010001" + rootTail, `["a",` + holder + `]`, parser.Event},
		{"a date", eventHead + "92a161d7000000016f5e66e800" + rootTail, `["a","2020-01-01T00:00:00.000Z"]`, parser.Event},
		{"undefined values", eventHead + "93a161d4000081a162d40000" + rootTail, `["a",null,{}]`, parser.Event},
		{"no arguments at all", eventHead + "90" + rootTail, `[]`, parser.Event},
		{"a refusal in words", "83a47479706504a464617461a178a36e7370a12f", `"x"`, parser.ConnectError},
		{"the last of two types", "84a47479706501a47479706502a46461746191a161a36e7370a12f", `["a"]`, parser.Event},
		{"a type written as a float", "83a474797065cb4000000000000000a46461746191a161a36e7370a12f", `["a"]`, parser.Event},
	} {
		got, err := decodeOne(t, Parser{}.NewDecoder(nil), tt.hex)
		if err != nil || got.Type != tt.typ || string(got.Data) != tt.data || got.HasID || got.Namespace != "/" {
			t.Errorf("%s: got %+v with %s, %v", tt.name, got, got.Data, err)
		}
		if tt.data == "" && got.Data != nil {
			t.Errorf("%s: absent data is %q", tt.name, got.Data)
		}
	}
}

func TestMalformedPacketsAreRefused(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"nothing":                      "",
		"no map":                       "93020100",
		"nil":                          "c0",
		"JSON":                         "7b7d",
		"a bomb":                       "dd7fffffff",
		"trailing bytes":               "82a47479706501a36e7370a12f00",
		"cut short":                    "82a47479706501a36e7370a1",
		"a reserved byte":              eventHead + "92a161c1" + rootTail,
		"no type":                      "81a36e7370a12f",
		"a type undefined":             "82a474797065d40000a36e7370a12f",
		"a type too high":              "82a47479706505a36e7370a12f",
		"a negative type":              "82a474797065ffa36e7370a12f",
		"a type with a fraction":       "82a474797065cb3fe0000000000000a36e7370a12f",
		"a type as text":               "82a474797065a131a36e7370a12f",
		"no namespace":                 "81a47479706501",
		"a namespace of nil":           "82a47479706501a36e7370c0",
		"a namespace of binary":        "82a47479706501a36e7370c4012f",
		"a namespace without slash":    "82a47479706501a36e7370a161",
		"an empty namespace":           "82a47479706501a36e7370a0",
		"a namespace not UTF-8":        "82a47479706501a36e7370a22fff",
		"a namespace too long":         "82a47479706501a36e7370da0101" + strings.Repeat("2f", 257),
		"CONNECT with nil":             "83a47479706500a464617461c0a36e7370a12f",
		"CONNECT with an array":        "83a47479706500a46461746190a36e7370a12f",
		"CONNECT with a date":          "83a47479706500a464617461d7000000016f5e66e800a36e7370a12f",
		"DISCONNECT with nil":          "83a47479706501a464617461c0a36e7370a12f",
		"an event with a map":          eventHead + "80" + rootTail,
		"an event with undefined":      eventHead + "d40000" + rootTail,
		"an event without data":        "82a47479706502a36e7370a12f",
		"a reserved name":              eventHead + "91a7636f6e6e656374" + rootTail,
		"an answer with text":          "83a47479706503a464617461a161a36e7370a12f",
		"a refusal with an array":      "83a47479706504a46461746190a36e7370a12f",
		"an id of nil":                 "84a47479706502a46461746191a161a26964c0a36e7370a12f",
		"a negative id":                "84a47479706502a46461746191a161a26964ffa36e7370a12f",
		"an id beyond 2^53":            "84a47479706502a46461746191a161a26964cf0020000000000000a36e7370a12f",
		"a key that is a map":          eventHead + "92a161818001" + rootTail,
		"eleven attachments":           eventHead + "9ca161" + strings.Repeat("c400", 11) + rootTail,
		"data nested 129 levels":       eventHead + strings.Repeat("91", 129) + "c0" + rootTail,
		"more values than allowed":     eventHead + "dd00010000" + strings.Repeat("00", 1<<16) + rootTail,
		"binary auth of 64 KiB":        "83a47479706500a46461746181a161c5ffff" + strings.Repeat("00", 65535) + rootTail,
		"an unknown ext instead of []": eventHead + "d40500" + rootTail,
	} {
		if p, err := decodeOne(t, Parser{}.NewDecoder(nil), in); err == nil {
			t.Errorf("%s: got %+v with %.60s", name, p, p.Data)
		}
	}
	if _, _, err := (Parser{}).NewDecoder(nil).Text([]byte(`2["a"]`)); err == nil {
		t.Error("text was accepted")
	}
}

func TestLimitsOfTheServerHold(t *testing.T) {
	t.Parallel()
	d := Parser{}.NewDecoder(&parser.Limits{MaxAttachments: 1, MaxDepth: 2, MaxTokens: 4, MaxNamespace: 2})
	for in, ok := range map[string]bool{
		eventHead + "92a161c400" + rootTail:     true,
		eventHead + "93a161c400c400" + rootTail: false,
		eventHead + "92a16190" + rootTail:       true,
		eventHead + "92a1619190" + rootTail:     false,
		eventHead + "93a1610101" + rootTail:     true,
		eventHead + "94a161010101" + rootTail:   false,
		"82a47479706501a36e7370a22f61":          true,
		"82a47479706501a36e7370a32f6162":        false,
		"82a47479706501a36e7370a12f":            true,
	} {
		if _, err := decodeOne(t, d, in); (err == nil) != ok {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range wireVectors {
		f.Add(unhex(f, v.hex))
	}
	for _, s := range []string{"83a47479706500a464617461d40000a36e7370a12f", "dd7fffffff", "83a47479706500a46461746181a161c40107a36e7370a12f",
		eventHead + "93a161d7000000016f5e66e800c70300010203" + rootTail} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		d := Parser{}.NewDecoder(nil)
		p, done, err := d.Binary(bytes.Clone(in))
		if done != (err == nil) {
			t.Fatalf("complete %v, error %v", done, err)
		}
		if err != nil {
			return
		}
		m, err := Parser{}.Encode(&p)
		if err != nil {
			t.Fatalf("%+v does not go back: %v", p, err)
		}
		if p.Type == parser.Connect {
			return // a client's is not what a server writes
		}
		again, _, err := d.Binary(m.Binary[0])
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("%+v with %s came back as %+v with %s, %v", p, p.Data, again, again.Data, err)
		}
	})
}
