package core_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

const placeholder = `{"_placeholder":true,"num":0}`

// violates sends packets over a fresh connection that has joined "/" and expects
// the server to end it.
func (r *rig) violates(t testing.TB, name string, packets ...testutil.EnginePacket) {
	t.Helper()
	e := r.engine(t)
	for _, p := range packets {
		_ = e.Send(t.Context(), p) // the server may have hung up already
	}
	select {
	case <-e.Done():
	case <-time.After(wait):
		t.Errorf("%s: accepted", name)
	}
	_ = e.Close()
}

// A packet's attachments are counted before they are held, and its bytes while they
// arrive.
func TestT05_AttachmentsAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	core.OnAck(r, "e", func(_ context.Context, _ *core.Socket, a core.Args) (int, error) { return a.Len(), nil })
	for _, header := range []string{"5999999999-", "51e9-", "5-1-", "51.5-", "511-", "5+1-", "5 1-", "50x1-", "518446744073709551617-"} {
		r.violates(t, header, testutil.Message(header+`["e",`+placeholder+`]`))
	}
	one := testutil.Message(`51-["e",` + placeholder + `]`)
	r.violates(t, "text while attachments are due", one, testutil.Message(`2["e"]`))
	r.violates(t, "another packet while attachments are due", one, one)
	r.violates(t, "an attachment nobody announced", testutil.BinaryMessage([]byte("x")))
	two := testutil.Message(`52-["e",` + placeholder + `,{"_placeholder":true,"num":1}]`)
	big := testutil.BinaryMessage(make([]byte, 600_000))
	r.violates(t, "attachments larger than MaxPayload together", two, big, big)

	var text strings.Builder
	text.WriteString(`510-1["e"`)
	for i := range 10 {
		fmt.Fprintf(&text, `,{"_placeholder":true,"num":%d}`, i)
	}
	e := r.engine(t)
	send(t, e, text.String()+"]")
	for range 10 {
		if err := e.Send(t.Context(), testutil.BinaryMessage([]byte("x"))); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "ten attachments", read(t, e), "31[10]")
	r.healthy(t)
}

// A placeholder names one attachment that exists and that no other names.
func TestT06_PlaceholdersAreValidated(t *testing.T) {
	// It measures the heap, and so runs by itself.
	r := start(t, nil)
	for _, num := range []string{`"0"`, "-1", "1", "1.5", "null", "true", "[0]", "{}", "9007199254740993", "4294967296", "18446744073709551616"} {
		r.violates(t, num, testutil.Message(`51-["e",{"_placeholder":true,"num":`+num+`}]`), testutil.BinaryMessage([]byte("x")))
	}
	r.violates(t, "none", testutil.Message(`51-["e",1]`), testutil.BinaryMessage([]byte("x")))
	r.violates(t, "no number", testutil.Message(`51-["e",{"_placeholder":true}]`), testutil.BinaryMessage([]byte("x")))
	r.violates(t, "one attachment twice", testutil.Message(`51-["e",`+placeholder+`,`+placeholder+`]`), testutil.BinaryMessage([]byte("x")))
	many := `51-["e"` + strings.Repeat(","+placeholder, 20_000) + "]"
	before := heap()
	r.violates(t, "one attachment 20,000 times", testutil.Message(many), testutil.BinaryMessage(make([]byte, 1000)))
	if grown := int64(heap()) - int64(before); grown > 64<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	r.healthy(t)
}

// heap returns the bytes in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// No packet, however odd, ends the process, reaches a handler it should not reach or
// is logged as a fault of the server.
func TestT07_OddPacketsHarmNobodyElse(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	bystander := r.dial(t)
	core.OnAck(r, "alive", func(context.Context, *core.Socket, none) (bool, error) { return true, nil })
	for _, p := range []string{
		"", "0", "00", "0{}", "0[]", "0null", `0"x"`, "0{", "0/", "0/,", "0,", "0//,{}", "1", "1x", "1{}", "2", "2[", "2[]", "2{}", "2null",
		"2[null]", "2[{}]", `2[{"toString":1}]`, "2[[]]", "2[1]", "2[true]", `2["connect"]`, `2["disconnect"]`, `2["disconnecting"]`,
		`2["connect_error"]`, `2["newListener"]`, `2["removeListener"]`, `2["error"]`, `2["e"]garbage`, `2["e",]`, `2["e" 1]`,
		`2["\ud800"]`, "2[\"\x00\"]", `2/x,["e"]`, `2/,["e"]`, "2/", "3", "3[]", "30", "30[]", "30{}", `399999999999999999999[]`, "3-1[]",
		"4", `4{"message":"x"}`, "5", "50-", "51-", `50-["e"]`, "6", "60-[]", "61-[]", "7", "8", "9", "x", "\u2028", "\U0001F600",
		"2" + strings.Repeat("9", 400) + `["e"]`, strings.Repeat("/", 5000), "0/" + strings.Repeat("n", 5000) + ",",
	} {
		e := r.engine(t)
		_ = e.Send(t.Context(), testutil.Message(p))
		_ = e.Send(t.Context(), testutil.EnginePacket{Type: '3', Data: []byte(p)}, testutil.EnginePacket{Type: '2', Data: []byte(p)})
		_ = e.Close()
		raw := r.rawUpgrade(t, webSocketQuery, textFrames(p))
		raw.Close()
	}
	equal(t, "bystander", ack(t, bystander.Socket, "alive"), any(true))
	equal(t, "logged as worse than debug", len(r.logs.find(slog.LevelInfo, "msg", "")), 0)
	r.healthy(t)
}

// Names that mean something to objects of JavaScript mean nothing here.
func TestT08_PropertyNamesAreOrdinaryNames(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	names := []string{"__proto__", "constructor", "prototype", "hasOwnProperty", "toString", "valueOf", "__defineGetter__"}
	nsp := r.OfPattern(namePattern(`^/x/`))
	core.OnAck(nsp, "join", func(_ context.Context, s *core.Socket, room string) ([]string, error) { return nil, s.Join(room) })
	for _, name := range names {
		core.OnAck(nsp, name, func(_ context.Context, _ *core.Socket, v map[string]any) (int, error) { return len(v), nil })
	}
	equal(t, "refusal", r.refused(t, "/__proto__").Message, "Invalid namespace")
	for _, name := range names {
		c, err := testutil.Dial(t.Context(), r.url, testutil.ClientOptions{
			Namespace: "/x/" + name, Auth: map[string]any{name: map[string]bool{"admin": true}},
			Query: map[string][]string{name: {"1"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if in, err := r.Of("/x/" + name).In(name).FetchSockets(t.Context()); len(in) != 0 || err != nil {
			t.Errorf("room %s has %d members before anybody joined, %v", name, len(in), err)
		}
		ack(t, c.Socket, "join", name)
		if in, err := r.Of("/x/" + name).In(name).FetchSockets(t.Context()); len(in) != 1 || err != nil {
			t.Errorf("room %s has %d members, %v", name, len(in), err)
		}
		equal(t, name, ack(t, c.Socket, name, map[string]int{name: 1}), any(float64(1)))
		s := r.socket(t, c)
		equal(t, "query", s.Handshake().Query()[name], "1")
		equal(t, "auth", string(s.Handshake().Auth()), `{"`+name+`":{"admin":true}}`)
		c.Close()
	}
	r.healthy(t)
}

// JSON is bounded in depth before anything recurses, and odd numbers are a handler's
// argument error, not a crash.
func TestT09_JSONIsBounded(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	core.OnAck(r, "raw", func(_ context.Context, _ *core.Socket, a core.Args) (int, error) { return len(a.Raw(0)), nil })
	core.OnAck(r, "any", func(context.Context, *core.Socket, any) (bool, error) { return true, nil })
	core.OnAck(r, "pair", func(_ context.Context, _ *core.Socket, v struct{ A int }) (int, error) { return v.A, nil })
	nested := func(event, open, end string, n int) string {
		return `21["` + event + `",` + strings.Repeat(open, n) + "1" + strings.Repeat(end, n) + "]"
	}
	started := time.Now()
	for name, packet := range map[string]string{
		"a million brackets": "2[\"any\"," + strings.Repeat("[", 990_000),
		"too deep":           nested("any", "[", "]", 128),
		"objects too deep":   nested("any", `{"a":`, "}", 128),
		"a deep CONNECT":     "0/x," + strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200),
	} {
		r.violates(t, name, testutil.Message(packet))
	}
	e := r.engine(t)
	send(t, e, nested("any", "[", "]", 127))
	equal(t, "deepest allowed", read(t, e), "31[true]")
	digits := strings.Repeat("9", 990_000)
	send(t, e, `22["raw",`+digits+`]`)
	equal(t, "a long number, unread", read(t, e), "32[990000]")
	send(t, e, `23["any",`+digits+`]`, `24["any",1e999999]`, `25["any",-1e-999999]`)
	equal(t, "numbers float64 cannot hold are no arguments", read(t, e), "35[true]")
	equal(t, "BadArguments", r.Stats().BadArguments, 2)
	send(t, e, `26["pair",{"A":1,"A":2}]`)
	equal(t, "the last of two keys", read(t, e), "36[2]")
	c := r.rawUpgrade(t, webSocketQuery, textFrames("40", "42[\"any\",\"\xff\xfe\"]"))
	equal(t, "close code for invalid UTF-8", c.closeCode(), 1007)
	if d := time.Since(started); d > wait {
		t.Errorf("took %v", d)
	}
	r.healthy(t)
}

// To a server that speaks JSON a MessagePack bomb is an attachment nobody announced,
// and as an announced one it is so many bytes.
func TestT10_MessagePackBombsAreOnlyBytes(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	core.OnAck(r, "e", func(_ context.Context, _ *core.Socket, b []byte) (int, error) { return len(b), nil })
	for name, bomb := range map[string][]byte{
		"an array of 2 G":  {0xdd, 0x7f, 0xff, 0xff, 0xff},
		"a map of 4 G":     {0xdf, 0xff, 0xff, 0xff, 0xff},
		"nested 990,000 x": []byte(strings.Repeat("\x91", 990_000)),
	} {
		r.violates(t, name, testutil.BinaryMessage(bomb))
		e := r.engine(t)
		send(t, e, `51-1["e",`+placeholder+`]`)
		if err := e.Send(t.Context(), testutil.BinaryMessage(bomb)); err != nil {
			t.Fatal(err)
		}
		want, _ := json.Marshal([]int{len(bomb)})
		equal(t, name, read(t, e), "31"+string(want))
	}
	r.healthy(t)
}
