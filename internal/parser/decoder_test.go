package parser

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const ph0 = `{"_placeholder":true,"num":0}`
const ph1 = `{"_placeholder":true,"num":1}`

func event(data string) Packet { return Packet{Type: Event, Namespace: "/", Data: []byte(data)} }

func same(a, b Packet) bool {
	if a.Type != b.Type || a.Namespace != b.Namespace || a.ID != b.ID || a.HasID != b.HasID ||
		!bytes.Equal(a.Data, b.Data) || (a.Data == nil) != (b.Data == nil) || len(a.Attachments) != len(b.Attachments) {
		return false
	}
	for i, att := range a.Attachments {
		if att.At != b.Attachments[i].At || !bytes.Equal(att.Data, b.Attachments[i].Data) {
			return false
		}
	}
	return true
}

func withID(p Packet, id uint64) Packet {
	p.ID, p.HasID = id, true
	return p
}

func withNamespace(p Packet, nsp string) Packet {
	p.Namespace = nsp
	return p
}

func TestTextPacketsTheReferenceAccepts(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Packet{
		`0`:                      {Type: Connect, Namespace: "/"},
		`0{}`:                    {Type: Connect, Namespace: "/", Data: []byte(`{}`)},
		`0{"sid":"x"}`:           {Type: Connect, Namespace: "/", Data: []byte(`{"sid":"x"}`)},
		`0/admin`:                {Type: Connect, Namespace: "/admin"},
		`0/admin?x=1,`:           {Type: Connect, Namespace: "/admin?x=1"},
		`0/admin,{"t":1}`:        {Type: Connect, Namespace: "/admin", Data: []byte(`{"t":1}`)},
		` `:                      {Type: Connect, Namespace: "/"},
		` {"a":1}`:               {Type: Connect, Namespace: "/", Data: []byte(`{"a":1}`)},
		`1`:                      {Type: Disconnect, Namespace: "/"},
		`1/admin`:                {Type: Disconnect, Namespace: "/admin"},
		`1/admin,`:               {Type: Disconnect, Namespace: "/admin"},
		`2`:                      {Type: Event, Namespace: "/"},
		`2["a"]`:                 event(`["a"]`),
		`2["a"] `:                event(`["a"]`),
		`2[1]`:                   event(`[1]`),
		`2[1.5,"x"]`:             event(`[1.5,"x"]`),
		`2["connection"]`:        event(`["connection"]`),
		`2["error"]`:             event(`["error"]`),
		`2["message"]`:           event(`["message"]`),
		`2["\ud800"]`:            event(`["\ud800"]`),
		`20["a"]`:                withID(event(`["a"]`), 0),
		`2007["a"]`:              withID(event(`["a"]`), 7),
		`212["a"]`:               withID(event(`["a"]`), 12),
		`212`:                    {Type: Event, Namespace: "/", ID: 12, HasID: true},
		`2 ["a"]`:                withID(event(`["a"]`), 0),
		`2 3 ["a"]`:              withID(event(`["a"]`), 3),
		`2/admin,13["a"]`:        withNamespace(withID(event(`["a"]`), 13), "/admin"),
		`2/a["x"]`:               {Type: Event, Namespace: `/a["x"]`},
		`2/,["x"]`:               event(`["x"]`),
		`29007199254740991["a"]`: withID(event(`["a"]`), MaxID),
		`31`:                     {Type: Ack, Namespace: "/", ID: 1, HasID: true},
		`3/x,7[]`:                {Type: Ack, Namespace: "/x", ID: 7, HasID: true, Data: []byte(`[]`)},
		`4`:                      {Type: ConnectError, Namespace: "/"},
		`41`:                     {Type: ConnectError, Namespace: "/", ID: 1, HasID: true},
		`4"x"`:                   {Type: ConnectError, Namespace: "/", Data: []byte(`"x"`)},
		`4{}`:                    {Type: ConnectError, Namespace: "/", Data: []byte(`{}`)},
		`4/x,{"message":"m"}`:    {Type: ConnectError, Namespace: "/x", Data: []byte(`{"message":"m"}`)},
		`50-["a"]`:               event(`["a"]`),
		`5-["a"]`:                event(`["a"]`),
		`50-`:                    {Type: Event, Namespace: "/"},
		`60-/x,1[]`:              {Type: Ack, Namespace: "/x", ID: 1, HasID: true, Data: []byte(`[]`)},
		`2["a",` + ph0 + `]`:     event(`["a",` + ph0 + `]`),
		"2[\"\u2028 é 😀 \x7f\"]": event("[\"\u2028 é 😀 \x7f\"]"),
	} {
		d := new(Decoder)
		got, done, err := d.Text([]byte(in))
		if err != nil || !done || !same(got, want) || d.Pending() {
			t.Errorf("%q: got %+v, complete %v, error %v; want %+v", in, got, done, err, want)
		}
	}
}

func arr(depth int, inner string) string {
	return strings.Repeat("[", depth) + inner + strings.Repeat("]", depth)
}

func TestTextPacketsThatAreRejected(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]error{
		``:                                 ErrType,
		`7`:                                ErrType,
		`7["a"]`:                           ErrType,
		`9`:                                ErrType,
		`a`:                                ErrType,
		"\x80":                             ErrType,
		`0null`:                            ErrPayload,
		`0[]`:                              ErrPayload,
		`0"x"`:                             ErrPayload,
		`0{`:                               ErrPayload,
		`1{}`:                              ErrPayload,
		`1null`:                            ErrPayload,
		`2[]`:                              ErrPayload,
		`2{}`:                              ErrPayload,
		`2"a"`:                             ErrPayload,
		`2[`:                               ErrPayload,
		`2["a"`:                            ErrPayload,
		`2["a"]]`:                          ErrPayload,
		`2["a"] x`:                         ErrPayload,
		`2["a",]`:                          ErrPayload,
		`2[true]`:                          ErrPayload,
		`2[null]`:                          ErrPayload,
		`2[{"a":1}]`:                       ErrPayload,
		`2[["a"]]`:                         ErrPayload,
		`2-1["a"]`:                         ErrPayload,
		`2abc["a"]`:                        ErrPayload,
		`21.5["a"]`:                        ErrPayload,
		`21e3["a"]`:                        ErrPayload,
		`21 2["a"]`:                        ErrID,
		`299999999999999999999["a"]`:       ErrID,
		`29007199254740992["a"]`:           ErrID,
		`2["connect"]`:                     ErrPayload,
		`2["connect_error"]`:               ErrPayload,
		`2["disconnect"]`:                  ErrPayload,
		`2["disconnecting"]`:               ErrPayload,
		`2["newListener"]`:                 ErrPayload,
		`2["removeListener"]`:              ErrPayload,
		`2["\u0063onnect"]`:                ErrPayload,
		`31{}`:                             ErrPayload,
		`31"x"`:                            ErrPayload,
		`4[]`:                              ErrPayload,
		`4null`:                            ErrPayload,
		`5`:                                ErrAttachments,
		`51`:                               ErrAttachments,
		`5a-`:                              ErrAttachments,
		`51.23-`:                           ErrAttachments,
		`51.0-["a",` + ph0 + `]`:           ErrAttachments,
		`5-1-["a"]`:                        ErrPayload,
		`51e9-["a"]`:                       ErrAttachments,
		`511-["a"]`:                        ErrTooManyAttachments,
		`51-{"x":1}`:                       ErrPayload,
		`51-[` + ph0 + `]`:                 ErrPayload,
		`51-["a"]`:                         ErrAttachments,
		`51-`:                              ErrAttachments,
		`51-["a",` + ph1 + `]`:             ErrAttachments,
		`51-["connect",` + ph0 + `]`:       ErrPayload,
		`52-["a",` + ph0 + `,` + ph0 + `]`: ErrAttachments,
		`51-["a",` + ph0 + `,` + ph0 + `]`: ErrPayload,
		`51-["a",{"_placeholder":true}]`:   ErrAttachments,
		`51-["a",{"_placeholder":true,"num":-1}]`:                ErrAttachments,
		`51-["a",{"_placeholder":true,"num":0.5}]`:               ErrAttachments,
		`51-["a",{"_placeholder":true,"num":"0"}]`:               ErrAttachments,
		`51-["a",{"_placeholder":1,"num":0}]`:                    ErrAttachments,
		`51-["a",{"_placeholder":true,"num":0,"x":` + ph0 + `}]`: ErrPayload,
		"2[\"\xff\"]":                   ErrPayload,
		"2[\"\xed\xa0\x80\"]":           ErrPayload,
		"2/\xff,[\"a\"]":                ErrNamespace,
		`2["a",` + arr(128, "1") + `]`:  ErrPayload,
		`2` + strings.Repeat("[", 1e6):  ErrPayload,
		`2/` + strings.Repeat("a", 256): ErrNamespace,
	} {
		d := new(Decoder)
		_, _, err := d.Text([]byte(in))
		if !errors.Is(err, want) || d.Pending() {
			t.Errorf("%.60q: got error %v, pending %v; want %v", in, err, d.Pending(), want)
		}
	}
}

func TestLimitsCanBeShared(t *testing.T) {
	t.Parallel()
	shared := &Limits{MaxAttachments: 1, MaxNamespace: 3}
	var a, b Decoder
	a.Init(shared)
	b.Init(shared)
	for _, d := range []*Decoder{&a, &b} {
		if _, _, err := d.Text([]byte(`52-["a"]`)); !errors.Is(err, ErrTooManyAttachments) {
			t.Errorf("attachments: %v", err)
		}
		if _, _, err := d.Text([]byte(`0/abc,`)); !errors.Is(err, ErrNamespace) {
			t.Errorf("namespace: %v", err)
		}
	}
	if *shared != (Limits{MaxAttachments: 1, MaxNamespace: 3}) {
		t.Errorf("limits became %+v", *shared)
	}
}

func TestTypesHaveTheirProtocolNames(t *testing.T) {
	t.Parallel()
	if got := fmt.Sprint(Connect, BinaryAck, Type(9)); got != "CONNECT BINARY_ACK Type(9)" {
		t.Errorf("got %s", got)
	}
}

func TestDepthBoundIsExact(t *testing.T) {
	t.Parallel()
	if _, _, err := new(Decoder).Text([]byte(`2["a",` + arr(127, "1") + `]`)); err != nil {
		t.Errorf("128 levels: %v", err)
	}
	d := NewDecoder(Limits{MaxDepth: 2})
	if _, _, err := d.Text([]byte(`2["a",[]]`)); err != nil {
		t.Errorf("2 levels of 2: %v", err)
	}
	if _, _, err := d.Text([]byte(`2["a",[[]]]`)); !errors.Is(err, ErrPayload) {
		t.Errorf("3 levels of 2: got %v, want %v", err, ErrPayload)
	}
}

// feed gives d a text and binary messages and returns the last result.
func feed(d *Decoder, text string, bins ...string) (p Packet, done bool, err error) {
	p, done, err = d.Text([]byte(text))
	for _, b := range bins {
		if err != nil {
			return p, done, err
		}
		p, done, err = d.Binary([]byte(b))
	}
	return p, done, err
}

func TestBinaryPacketsAreReassembled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		text string
		bins []string
		want Packet
	}{
		{"two attachments and ack id 0", `52-0["a",` + ph0 + `,{"b":` + ph1 + `}]`, []string{"x", "yz"},
			Packet{Type: Event, Namespace: "/", HasID: true, Data: []byte(`["a",` + ph0 + `,{"b":` + ph1 + `}]`),
				Attachments: []Attachment{{5, []byte("x")}, {40, []byte("yz")}}}},
		{"binary ack", `61-/x,7[` + ph0 + `]`, []string{"x"},
			Packet{Type: Ack, Namespace: "/x", ID: 7, HasID: true, Data: []byte(`[` + ph0 + `]`), Attachments: []Attachment{{1, []byte("x")}}}},
		{"zero-length attachment", `51-["a",` + ph0 + `]`, []string{""},
			Packet{Type: Event, Namespace: "/", Data: []byte(`["a",` + ph0 + `]`), Attachments: []Attachment{{5, []byte{}}}}},
		{"other key order, spacing and keys", `51-["a", { "num" : 0 , "x":[1], "_placeholder" : true } ]`, []string{"x"},
			Packet{Type: Event, Namespace: "/", Data: []byte(`["a", ` + ph0 + ` ]`), Attachments: []Attachment{{6, []byte("x")}}}},
		{"numbers out of document order", `52-["a",` + ph1 + `,` + ph0 + `]`, []string{"zero", "one"},
			Packet{Type: Event, Namespace: "/", Data: []byte(`["a",` + ph0 + `,` + ph1 + `]`),
				Attachments: []Attachment{{5, []byte("one")}, {35, []byte("zero")}}}},
		{"a literal that is no placeholder", `51-["a",{"_placeholder":false,"num":0},` + ph0 + `]`, []string{"x"},
			Packet{Type: Event, Namespace: "/", Data: []byte(`["a",{"_placeholder":false,"num":0},` + ph0 + `]`),
				Attachments: []Attachment{{36, []byte("x")}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, done, err := feed(new(Decoder), tt.text, tt.bins...)
			if err != nil || !done || !same(got, tt.want) {
				t.Errorf("got %+v, complete %v, error %v; want %+v", got, done, err, tt.want)
			}
		})
	}
}

func TestTenAttachmentsAreTheMost(t *testing.T) {
	t.Parallel()
	text := `510-["a"`
	for i := range 10 {
		text += fmt.Sprintf(`,{"_placeholder":true,"num":%d}`, i)
	}
	p, done, err := feed(new(Decoder), text+"]", strings.Split("0123456789", "")...)
	if err != nil || !done || len(p.Attachments) != 10 || string(p.Attachments[9].Data) != "9" {
		t.Errorf("got %+v, complete %v, error %v", p, done, err)
	}
}

func TestWaitingForAttachments(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := NewDecoder(Limits{MaxBytes: 100})
		if d.Pending() || !d.Since().IsZero() {
			t.Error("a new decoder waits")
		}
		start := time.Now()
		if _, done, err := d.Text([]byte(`51-["a",` + ph0 + `]`)); done || err != nil {
			t.Fatalf("complete %v, error %v", done, err)
		}
		time.Sleep(time.Second)
		if !d.Pending() || !d.Since().Equal(start) {
			t.Errorf("pending %v since %v, want since %v", d.Pending(), d.Since(), start)
		}
		if _, _, err := d.Text([]byte(`2["a"]`)); !errors.Is(err, ErrUnexpectedText) || d.Pending() {
			t.Errorf("text: error %v, pending %v", err, d.Pending())
		}
		if _, _, err := d.Binary([]byte(`x`)); !errors.Is(err, ErrUnexpectedBinary) {
			t.Errorf("binary: error %v", err)
		}
	})
}

func TestPacketsOutliveTheBuffersTheyCameFrom(t *testing.T) {
	t.Parallel()
	d := new(Decoder)
	text, bin := []byte(`51-/n,["a",`+ph0+`]`), []byte("data")
	d.Text(text)
	clear(text)
	p, done, err := d.Binary(bin)
	clear(bin)
	if err != nil || !done || string(p.Data) != `["a",`+ph0+`]` || string(p.Attachments[0].Data) != "data" || p.Namespace != "/n" || !p.Owned {
		t.Errorf("got %q %q %q, complete %v, error %v", p.Namespace, p.Data, p.Attachments[0].Data, done, err)
	}
}

func TestCVE_2020_36049_LargePacketsTakeLinearTime(t *testing.T) {
	in := []byte(`2["a",[` + strings.Repeat(`{"k":"\n"},`, 1<<18) + `0]]`)
	d := NewDecoder(Limits{MaxTokens: 1 << 20})
	if _, _, err := d.Text(in); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1, func() { d.Text(in) }); n > 1 {
		t.Errorf("%v allocations for %d bytes", n, len(in))
	}
}

func TestCVE_2022_2421_PlaceholderNumbersAreValidated(t *testing.T) {
	t.Parallel()
	for _, num := range []string{`"splice"`, `-1`, `1`, `1e0`, `0.0`, `null`, `true`, `[]`, `{}`, `99999999999999999999`, `"0"`} {
		text := `51-["a",{"_placeholder":true,"num":` + num + `}]`
		if _, _, err := new(Decoder).Text([]byte(text)); !errors.Is(err, ErrAttachments) {
			t.Errorf("num %s: got %v, want %v", num, err, ErrAttachments)
		}
	}
}

func TestCVE_2023_32695_EventNamesOfOtherTypesAreRejected(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`2[{"toString":"foo"}]`, `2[[]]`, `2[null]`, `2[false]`, `50-[{"toString":"foo"}]`} {
		if _, _, err := new(Decoder).Text([]byte(text)); !errors.Is(err, ErrPayload) {
			t.Errorf("%s: got %v, want %v", text, err, ErrPayload)
		}
	}
}

func TestCVE_2026_33151_AnnouncedAttachmentsAreBounded(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`511-["a"]`, `5999999999-["a"]`, `518446744073709551617-["a"]`, `5` + strings.Repeat("9", 1e5) + `-["a"]`} {
		if _, _, err := new(Decoder).Text([]byte(text)); !errors.Is(err, ErrTooManyAttachments) {
			t.Errorf("%.30s: got %v, want %v", text, err, ErrTooManyAttachments)
		}
	}
	d := NewDecoder(Limits{MaxBytes: 100})
	text := `52-["a",` + ph0 + `,` + ph1 + `]`
	if _, _, err := feed(d, text, strings.Repeat("x", 20), strings.Repeat("x", 20)); !errors.Is(err, ErrTooLarge) || d.Pending() {
		t.Errorf("bytes: error %v, pending %v", err, d.Pending())
	}
	if _, _, err := d.Text([]byte(`51-["` + strings.Repeat("x", 100) + `",` + ph0 + `]`)); !errors.Is(err, ErrTooLarge) || d.Pending() {
		t.Errorf("text: error %v, pending %v", err, d.Pending())
	}
}

func TestCVE_2026_69185_ZeroAttachmentsDoNotArmTheDecoder(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`50-["a"]`, `5-["a"]`, `60-1[]`} {
		d := new(Decoder)
		if _, done, err := d.Text([]byte(text)); !done || err != nil || d.Pending() {
			t.Errorf("%s: complete %v, error %v, pending %v", text, done, err, d.Pending())
		}
		if _, _, err := d.Binary([]byte("x")); !errors.Is(err, ErrUnexpectedBinary) {
			t.Errorf("%s, then binary: got %v, want %v", text, err, ErrUnexpectedBinary)
		}
		if _, done, err := d.Text([]byte(`2["b"]`)); !done || err != nil {
			t.Errorf("%s, then text: complete %v, error %v", text, done, err)
		}
	}
}

func TestDecodingDoesNotAllocate(t *testing.T) {
	for _, text := range []string{`2["chat","hello",{"a":[1,2.5,true,null]}]`, `2/admin,12["chat"]`, `31["ok"]`} {
		d, b := new(Decoder), []byte(text)
		if n := testing.AllocsPerRun(100, func() { d.Text(b) }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", text, n)
		}
	}
}
