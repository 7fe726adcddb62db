package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/parser"
	"github.com/socketfleet/socketfleet/parser/msgpack"
)

// countingCodec is encoding/json that counts.
type countingCodec struct{ marshals, unmarshals atomic.Int64 }

func (c *countingCodec) codec() core.JSONCodec {
	return core.JSONCodec{
		Marshal:   func(v any) ([]byte, error) { c.marshals.Add(1); return json.Marshal(v) },
		Unmarshal: func(b []byte, v any) error { c.unmarshals.Add(1); return json.Unmarshal(b, v) },
	}
}

// did fails unless the codec was used so many times since the last call.
func (c *countingCodec) did(t *testing.T, what string, marshals, unmarshals int64) {
	t.Helper()
	if m, u := c.marshals.Swap(0), c.unmarshals.Swap(0); m != marshals || u != unmarshals {
		t.Errorf("%s: %d values encoded and %d decoded, want %d and %d", what, m, u, marshals, unmarshals)
	}
}

type tagged struct {
	X    int    `json:"ex"`
	Blob []byte `json:"blob,omitempty"`
}

type plainTagged struct {
	X int `json:"ex"`
}

func TestTheJSONCodecIsUsedEverywhere(t *testing.T) {
	t.Parallel()
	var n countingCodec
	r := start(t, &core.Options{JSON: n.codec()})
	got := make(chan tagged, 1)
	core.On(r, "in", func(_ context.Context, _ *core.Socket, v tagged) error { got <- v; return nil })
	core.OnAck(r, "ack", func(context.Context, *core.Socket, none) (plainTagged, error) { return plainTagged{X: 5}, nil })
	r.Of("/no").Use(func(context.Context, *core.Socket) error {
		return &core.ConnectError{Message: "no", Data: plainTagged{X: 6}}
	})
	c := r.dial(t)
	n.did(t, "connecting", 0, 0)

	_ = c.Emit("in", map[string]any{"ex": 1})
	equal(t, "argument", recv(t, "the event", got).X, 1)
	n.did(t, "an event received", 0, 1)

	_ = c.Emit("in", map[string]any{"ex": 2, "blob": []byte("b")})
	v := recv(t, "the event", got)
	equal(t, "argument with binary", fmt.Sprintf("%d %s", v.X, v.Blob), "2 b")
	n.did(t, "an event with binary received", 0, 1)

	_ = r.Emit("out", plainTagged{X: 3})
	equal(t, "out", c.Expect(t, "out").JSON(), `["out",{"ex":3}]`)
	n.did(t, "an event sent", 1, 0)

	answer := ack(t, c.Socket, "ack")
	equal(t, "answer", fmt.Sprint(answer), "map[ex:5]")
	n.did(t, "an answer sent", 1, 0)

	s := r.socket(t, c)
	if err := s.SetData(plainTagged{X: 4}); err != nil {
		t.Fatal(err)
	}
	n.did(t, "data set", 1, 0)
	remotes, err := r.FetchSockets(t.Context())
	if err != nil || len(remotes) != 1 {
		t.Fatalf("FetchSockets: %v, %v", remotes, err)
	}
	var data plainTagged
	if err := remotes[0].Data(&data); err != nil || data.X != 4 {
		t.Errorf("data: got %+v, %v", data, err)
	}
	n.did(t, "data read", 0, 1)

	refusal := r.refused(t, "/no")
	equal(t, "refusal", refusal.Message, "no")
	if m := n.marshals.Swap(0); m == 0 {
		t.Error("the refusal's data was encoded without the codec")
	}
}

func TestStructTagsAndBase64AreTheContractOfTheCodec(t *testing.T) {
	t.Parallel()
	var n countingCodec
	r := start(t, &core.Options{JSON: n.codec()})
	c := r.dial(t)
	_ = r.Emit("out", tagged{X: 1, Blob: []byte("b")}, tagged{X: 2})
	got := c.Expect(t, "out")
	equal(t, "placeholder", got.JSON(), `["out",{"ex":1,"blob":{"_placeholder":true,"num":0}},{"ex":2}]`)
}

func TestACodecsMistakesAreErrorsOfTheEmit(t *testing.T) {
	t.Parallel()
	for name, marshal := range map[string]func(any) ([]byte, error){
		"an error":      func(any) ([]byte, error) { return nil, errors.New("no") },
		"no JSON":       func(any) ([]byte, error) { return []byte("{x}"), nil },
		"too much JSON": func(any) ([]byte, error) { return []byte("1,2"), nil },
		"nothing":       func(any) ([]byte, error) { return nil, nil },
	} {
		r := start(t, &core.Options{JSON: core.JSONCodec{Marshal: marshal}})
		c := r.dial(t)
		if r.Emit("x", plainTagged{}) == nil || r.socket(t, c).SetData(plainTagged{}) == nil {
			t.Errorf("%s: no error", name)
		}
		_ = r.Emit("fine", "text")
		c.Expect(t, "fine")
	}
}

// spyParser is the text parser; it refuses to encode the event "refused".
type spyParser struct {
	parser.Parser
	decoders, encoded atomic.Int64
}

func newSpy() *spyParser { return &spyParser{Parser: parser.Text()} }

func (p *spyParser) NewDecoder(l *parser.Limits) parser.Decoder {
	p.decoders.Add(1)
	return p.Parser.NewDecoder(l)
}

func (p *spyParser) Encode(packet *parser.Packet) (parser.Message, error) {
	p.encoded.Add(1)
	if strings.HasPrefix(string(packet.Data), `["refused"`) {
		return parser.Message{}, errors.New("not this one")
	}
	if strings.HasPrefix(string(packet.Data), `["empty"`) {
		return parser.Message{}, nil
	}
	return p.Parser.Encode(packet)
}

func TestAParserCarriesEveryPacket(t *testing.T) {
	t.Parallel()
	spy := newSpy()
	r := start(t, &core.Options{Parser: spy})
	core.OnAck(r, "echo", func(_ context.Context, _ *core.Socket, a core.Args) (core.Args, error) { return a, nil })
	c, d := r.dial(t), r.dial(t)
	if _, err := c.Of(t.Context(), "/none", nil); err == nil {
		t.Error("joined a namespace that does not exist")
	}
	got := ack(t, c.Socket, "echo", map[string]any{"b": []byte("x"), "n": 1})
	equal(t, "echo", fmt.Sprint(got), "map[b:[120] n:1]")
	equal(t, "second echo with binary", fmt.Sprint(ack(t, c.Socket, "echo", []byte("y"))), "[121]")
	equal(t, "packets so far", spy.encoded.Load(), 5)
	_ = r.Emit("all", []byte("z"))
	c.Expect(t, "all")
	d.Expect(t, "all")
	equal(t, "a broadcast is encoded once", spy.encoded.Load(), 6)
	r.socket(t, c).Disconnect(false)
	equal(t, "reason", reason(t, c.Socket), "io server disconnect")
	equal(t, "packets in all", spy.encoded.Load(), 7)
	equal(t, "decoders", spy.decoders.Load(), 2)
}

func TestAPacketAParserCannotEncodeIsAnErrorAndNothingElse(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{Parser: newSpy()})
	c := r.dial(t)
	s := r.socket(t, c)
	for _, event := range []string{"refused", "empty"} {
		if err := s.Emit(event); err == nil {
			t.Errorf("%s: no error", event)
		}
		_ = r.Emit(event)
	}
	if n := len(r.logs.find(slog.LevelWarn, "event", "packet.unencodable")); n < 2 {
		t.Errorf("%d warnings of two broadcasts", n)
	}
	_ = r.Emit("fine")
	c.Expect(t, "fine")
}

func TestMessagePackTakesWholePacketsAndNoText(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{Parser: msgpack.Parser{}})
	e := r.bare(t)
	send(t, e, "0")
	ended(t, e)
	equal(t, "ProtocolErrors", r.Stats().ProtocolErrors, 1)
}

func TestMaxTokensBoundsAPacket(t *testing.T) {
	t.Parallel()
	length := func(_ context.Context, _ *core.Socket, a core.Args) (int, error) { return a.Len(), nil }
	r := start(t, &core.Options{MaxTokens: 4})
	core.OnAck(r, "a", length)
	e := r.engine(t)
	send(t, e, `27["a",1,2]`)
	equal(t, "answer within the bound", read(t, e), `37[2]`)
	send(t, e, `27["a",1,2,3]`)
	ended(t, e)
	equal(t, "ProtocolErrors", r.Stats().ProtocolErrors, 1)

	many := `2["a"` + strings.Repeat(",0", 1<<17) + `]`
	unbounded := start(t, &core.Options{MaxTokens: -1})
	e = unbounded.engine(t)
	core.OnAck(unbounded, "a", length)
	send(t, e, strings.Replace(many, "2[", "27[", 1))
	equal(t, "answer", read(t, e), fmt.Sprintf("37[%d]", 1<<17))
}
