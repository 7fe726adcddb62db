package parser

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

type named []byte

type upper string

func (u upper) MarshalJSON() ([]byte, error) { return json.Marshal(strings.ToUpper(string(u))) }

type inner struct {
	Deep []byte `json:"deep,omitempty"`
	Same string
}

type Embedded struct {
	Same  string
	Extra named `json:"extra"`
}

type file struct {
	inner
	*Embedded
	Name    string            `json:"name"`
	Data    []byte            `json:"data"`
	Parts   [][]byte          `json:"parts,omitempty"`
	ByName  map[string][]byte `json:"byName,omitempty"`
	ByNum   map[int]any       `json:"byNum,omitempty"`
	Next    *file             `json:"next,omitempty"`
	Any     any               `json:"any,omitempty"`
	Size    int64             `json:"size,string"`
	When    time.Time         `json:"when,omitzero"`
	Raw     json.RawMessage   `json:"raw,omitempty"`
	Skipped []byte            `json:"-"`
	Upper   upper             `json:"upper,omitempty"`
	hidden  []byte
}

func encode(t *testing.T, vals ...any) (string, []Attachment) {
	t.Helper()
	got, atts, err := Codec{}.AppendArray([]byte("prefix"), vals...)
	if err != nil {
		t.Fatalf("AppendArray(%v): %v", vals, err)
	}
	text, ok := bytes.CutPrefix(got, []byte("prefix"))
	if !ok || !json.Valid(text) {
		t.Fatalf("AppendArray(%v) = %s", vals, got)
	}
	for i, a := range atts {
		if ph := string(appendPlaceholder(nil, i)); !bytes.HasPrefix(text[a.At:], []byte(ph)) {
			t.Fatalf("attachment %d: no placeholder at %d of %s", i, a.At, text)
		}
	}
	return string(text), atts
}

func TestValuesBecomeTheJSONThatJavaScriptWrites(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   any
		want string
	}{
		{nil, `null`}, {"a<b>&\u2028\u2029\x7f", "\"a<b>&\u2028\u2029\x7f\""},
		{"\"\\\b\f\n\r\t\x01", `"\"\\\b\f\n\r\t\u0001"`}, {"a\xffb", "\"a\uFFFDb\""},
		{true, `true`}, {-7, `-7`}, {int64(math.MinInt64), `-9223372036854775808`}, {uint64(math.MaxUint64), `18446744073709551615`},
		{int32(5), `5`}, {uint8(5), `5`}, {float32(0.1), `0.1`},
		{1.0, `1`}, {1e21, `1e+21`}, {1e-7, `1e-7`}, {math.Copysign(0, -1), `0`}, {0.1, `0.1`}, {123456789.5, `123456789.5`},
		{[]byte(nil), `null`}, {json.RawMessage(nil), `null`}, {json.RawMessage(`{"a": 1}`), `{"a": 1}`}, {json.Number("1.50"), `1.50`},
		{[]any(nil), `null`}, {map[string]any(nil), `null`}, {[]any{}, `[]`}, {map[string]any{}, `{}`},
		{map[string]any{"b": 1, "a": []any{"x", nil}}, `{"a":["x",null],"b":1}`},
		{struct{ A string }{"<"}, `{"A":"<"}`}, {[3]byte{1, 2, 3}, `[1,2,3]`}, {upper("x"), `"X"`}, {[]string{"a"}, `["a"]`},
		{time.Unix(0, 0).UTC(), `"1970-01-01T00:00:00Z"`}, {(*file)(nil), `null`}, {[][]byte(nil), `null`}, {map[string][]byte(nil), `null`},
	} {
		if got, atts := encode(t, tt.in); got != "["+tt.want+"]" || atts != nil {
			t.Errorf("%#v: got %s and %d attachments, want [%s]", tt.in, got, len(atts), tt.want)
		}
	}
}

func TestBytesAnywhereBecomeAttachments(t *testing.T) {
	t.Parallel()
	b := []byte("b")
	p := func(i int) string { return string(appendPlaceholder(nil, i)) }
	for _, tt := range []struct {
		name string
		in   any
		want string
		n    int
	}{
		{"top level", b, p(0), 1},
		{"empty", []byte{}, p(0), 1},
		{"named", named("x"), p(0), 1},
		{"pointer", &b, p(0), 1},
		{"slice of slices", [][]byte{b, b}, `[` + p(0) + `,` + p(1) + `]`, 2},
		{"array of slices", [2][]byte{b, nil}, `[` + p(0) + `,null]`, 1},
		{"map", map[string][]byte{"y": b, "x": b}, `{"x":` + p(0) + `,"y":` + p(1) + `}`, 2},
		{"map by number", map[int]named{2: named("x"), 10: nil}, `{"10":null,"2":` + p(0) + `}`, 1},
		{"loose", map[string]any{"a": []any{b, "s", map[string]any{"c": b}}}, `{"a":[` + p(0) + `,"s",{"c":` + p(1) + `}]}`, 2},
		{"any in a typed map", map[string]fmt.Stringer{}, `{}`, 0},
		{"struct", file{Name: "n", Data: b}, `{"name":"n","data":` + p(0) + `,"size":"0"}`, 1},
		{"embedded", &file{inner: inner{Deep: b, Same: "i"}, Embedded: &Embedded{Extra: named("x"), Same: "e"}},
			`{"deep":` + p(0) + `,"extra":` + p(1) + `,"name":"","data":null,"size":"0"}`, 2},
		{"everything", file{Name: "<", Parts: [][]byte{b}, ByName: map[string][]byte{"k": b}, ByNum: map[int]any{1: b},
			Next: &file{Data: b}, Any: []any{b}, Size: 7, When: time.Unix(0, 0).UTC(), Raw: json.RawMessage(`{"a":1}`), Skipped: b, Upper: "u", hidden: b},
			`{"name":"<","data":null,"parts":[` + p(0) + `],"byName":{"k":` + p(1) + `},"byNum":{"1":` + p(2) + `},` +
				`"next":{"name":"","data":` + p(3) + `,"size":"0"},"any":[` + p(4) + `],"size":"7","when":"1970-01-01T00:00:00Z","raw":{"a":1},"upper":"U"}`, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, atts := encode(t, tt.in); got != "["+tt.want+"]" || len(atts) != tt.n {
				t.Errorf("got  %s, %d attachments\nwant [%s], %d", got, len(atts), tt.want, tt.n)
			}
		})
	}
}

type tagA struct {
	X int
	Y []byte
}
type tagB struct {
	X int
	Z int `json:"Y"`
}
type self struct {
	*self
	V any
}
type renamed struct {
	inner `json:"in"`
	Ptr   *int    `json:"ptr,string"`
	S     string  `json:",string"`
	F     float64 `json:"f,omitempty,string"`
	Bad   any
	E     error
}

type flat struct{ A, B int }
type flatter struct{ C string }
type textKey struct{ k string }

func (k textKey) MarshalText() ([]byte, error) {
	if k.k == "" {
		return nil, errors.New("empty key")
	}
	return []byte("<" + k.k + ">"), nil
}

// never is zero when its method says so.
type never struct{ N int }

func (n *never) IsZero() bool { return n.N == 7 }

type ptrText struct{ S string }

func (p *ptrText) MarshalText() ([]byte, error) { return []byte("text " + p.S), nil }

// TestStructsAreWrittenAsEncodingJSONDoes compares with encoding/json for values
// whose bytes are all nil, where both must agree.
func TestStructsAreWrittenAsEncodingJSONDoes(t *testing.T) {
	t.Parallel()
	n := 5
	for _, v := range []any{
		file{}, &file{Embedded: &Embedded{}}, file{Any: map[string]any{"a": 1}, Next: &file{}},
		struct {
			tagA
			tagB
		}{tagA{X: 1}, tagB{X: 2, Z: 3}},
		self{self: &self{V: 1}, V: 2}, self{},
		renamed{}, renamed{Ptr: &n, S: "a\"b", F: 1.5, Bad: "x", E: errors.New("e"), inner: inner{Same: "z"}}, &renamed{},
		struct {
			A any            `json:"a,omitempty"`
			B map[string]any `json:"b,omitempty"`
			C []any          `json:"c,omitempty"`
			D struct{}       `json:"d,omitempty"`
			E time.Time      `json:"e,omitzero"`
			F *time.Time     `json:"f,omitzero"`
			G [0]any         `json:"g,omitempty"`
			H bool           `json:"h,string"`
		}{},
		struct {
			flat     `json:"f"`
			*flatter `json:"g"`
			V        any
		}{flat: flat{1, 2}, flatter: &flatter{"c"}},
		struct {
			flat     `json:"f,omitzero"`
			*flatter `json:"g"`
			V        any
		}{},
		&struct {
			A never  `json:"a,omitzero"`
			B never  `json:"b,omitzero"`
			C *never `json:"c,omitzero"`
			D any    `json:"d,omitzero"`
			E ptrText
			F *ptrText
		}{A: never{7}, C: &never{7}},
		map[textKey]any{{"b"}: 1, {"a"}: 2}, map[*textKey]any{nil: 1}, map[uint8]any{200: 1, 3: nil},
		struct {
			A any `json:"a\u00e9-b"`
			B any `json:"é/x,omitempty"`
		}{B: 1},
		[2]any{1, "x"}, [][]any{{1}, nil}, []*flat{{1, 2}, nil}, []error{nil},
		map[upper]any{"k": 1}, []any{map[int8]any{-1: 2}},
	} {
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
		want := strings.TrimSpace(buf.String())
		if got, _ := encode(t, v); got != "["+want+"]" {
			t.Errorf("%T: got %s, want [%s]", v, got, want)
		}
	}
}

func TestValuesWithoutJSONFormAreErrors(t *testing.T) {
	t.Parallel()
	loop := map[string]any{}
	loop["loop"] = loop
	ring := &file{}
	ring.Next = ring
	eleven := make([][]byte, 11)
	for i := range eleven {
		eleven[i] = []byte{1}
	}
	for name, v := range map[string]any{
		"NaN": math.NaN(), "infinity": math.Inf(1), "channel": make(chan int), "function": func() {},
		"channel in a map": map[string]any{"a": make(chan int)}, "cyclic map": loop, "cyclic struct": ring,
		"raw JSON": json.RawMessage(`{"a"`), "raw JSON in a list": []any{json.RawMessage(``)}, "map key": map[float64]any{1: 1}, "text map key": map[textKey]any{{""}: 1},
		"field": struct {
			B []byte
			C chan int
		}{},
	} {
		dst, atts, err := Codec{}.AppendArray([]byte("p"), "x", v)
		if err == nil || string(dst) != "p" || atts != nil {
			t.Errorf("%s: got %q, %v, %v; want an error and nothing appended", name, dst, atts, err)
		}
	}
	if _, _, err := (Codec{}).AppendArray(nil, eleven); !errors.Is(err, ErrTooManyAttachments) {
		t.Errorf("11 attachments: got %v, want %v", err, ErrTooManyAttachments)
	}
}

func TestAppendEvent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []any
		want string
	}{{nil, `["e\""]`}, {[]any{1, "a"}, `["e\"",1,"a"]`}, {[]any{[]byte("x")}, `["e\"",` + ph0 + `]`}} {
		got, _, err := Codec{}.AppendEvent(nil, `e"`, tt.args...)
		if err != nil || string(got) != tt.want {
			t.Errorf("got %s, %v; want %s", got, err, tt.want)
		}
	}
}

func TestAppendHeader(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		typ   Type
		n     int
		nsp   string
		id    uint64
		hasID bool
		want  string
	}{
		{Event, 0, "/", 0, false, `2`}, {Event, 0, "", 12, true, `212`}, {Event, 0, "/admin", 13, true, `2/admin,13`},
		{Ack, 0, "/x", 7, true, `3/x,7`}, {Event, 2, "/", 0, true, `52-0`}, {Ack, 1, "/x", 7, true, `61-/x,7`},
		{Disconnect, 0, "/admin", 0, false, `1/admin,`}, {Connect, 0, "/", 0, false, `0`}, {ConnectError, 0, "/x", 0, false, `4/x,`},
	} {
		if got := AppendHeader(nil, tt.typ, tt.n, tt.nsp, tt.id, tt.hasID); string(got) != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestCustomCodec(t *testing.T) {
	t.Parallel()
	c := Codec{
		Marshal:   func(v any) ([]byte, error) { return []byte(`"custom"`), nil },
		Unmarshal: func(data []byte, v any) error { *v.(*string) = "custom " + string(data); return nil },
	}
	got, _, err := c.AppendArray(nil, struct{}{}, []any{struct{ B []byte }{[]byte("x")}})
	if want := `["custom",[{"B":` + ph0 + `}]]`; err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	var s string
	if err := c.Decode([]byte(`12`), nil, 0, &s); err != nil || s != "custom 12" {
		t.Errorf("got %q, %v", s, err)
	}
}

// roundTrip encodes v as the argument of an event and decodes it into a new T.
func roundTrip[T any](t *testing.T, v any) T {
	t.Helper()
	data, atts, err := Codec{}.AppendEvent(nil, "e", v)
	if err != nil {
		t.Fatal(err)
	}
	a := Args{Data: data, Attachments: atts, Skip: 1}
	var out T
	if err := a.Decode(Codec{}, 0, &out); err != nil {
		t.Fatalf("decode %s: %v", data, err)
	}
	return out
}

func check[T any](t *testing.T, in any, want T) {
	t.Helper()
	if got := roundTrip[T](t, in); !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, want %#v", got, want)
	}
}

type selfDecoding struct{ text string }

func (s *selfDecoding) UnmarshalJSON(b []byte) error { s.text = string(b); return nil }

func TestAttachmentsDecodeBackIntoBytes(t *testing.T) {
	t.Parallel()
	b, c := []byte("bytes"), []byte{0xff, 0}
	check(t, b, b)
	check(t, []byte{}, []byte{})
	check(t, b, named(b))
	check(t, b, &b)
	check[any](t, b, b)
	check(t, [][]byte{b, c}, [][]byte{b, c})
	check(t, [][]byte{b, c}, []any{b, c})
	check(t, map[string][]byte{"x": b}, map[string][]byte{"x": b})
	check(t, map[string]any{"x": b, "y": "text"}, map[string]any{"x": b, "y": "text"})
	check[any](t, map[string]any{"x": []any{b, 1, map[string]any{"z": c}}}, map[string]any{"x": []any{b, 1.0, map[string]any{"z": c}}})
	check(t, file{Name: "n", Data: b, Any: []any{c, "s"}, Next: &file{Data: c}}, file{Name: "n", Data: b, Any: []any{c, "s"}, Next: &file{Data: c}})
	check(t, map[string]any{"V": b}, struct{ V any }{b})
	check(t, map[string]any{"V": b}, struct{ V selfDecoding }{selfDecoding{`"Ynl0ZXM="`}})
	check(t, map[string]any{"V": b, "W": c}, struct {
		V json.RawMessage
		W []byte
	}{json.RawMessage(`"Ynl0ZXM="`), c})
	check(t, []any{b, b}, [2]any{b, b})
	check(t, map[string]any{"unknown": b, "V": 1}, struct{ V int }{1})
}

func TestAttachmentsDoNotDecodeIntoOtherThings(t *testing.T) {
	t.Parallel()
	data, atts, err := Codec{}.AppendArray(nil, map[string]any{"v": []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]string
	for _, v := range []any{&m, new(struct{ V string }), new(map[string]int), new(map[string]time.Time), nil, m, (*any)(nil)} {
		a := Args{Data: data, Attachments: atts}
		if err := a.Decode(Codec{}, 0, v); err == nil {
			t.Errorf("%T: no error", v)
		}
	}
}

func TestLookalikesStayWhatTheyAre(t *testing.T) {
	t.Parallel()
	look := map[string]any{"_placeholder": true, "num": 0.0}
	check[any](t, []any{look, []byte("x"), "eA=="}, []any{look, []byte("x"), "eA=="})
	check[any](t, look, look)
}

func TestDecodePlainValues(t *testing.T) {
	t.Parallel()
	check(t, "a\"b", "a\"b")
	check(t, "plain é", "plain é")
	check[any](t, 5, 5.0)
	check(t, 5, 5)
	check(t, json.RawMessage(`{"a":1}`), json.RawMessage(`{"a":1}`))
	check(t, "Ynl0ZXM=", []byte("bytes")) // base64, as encoding/json has it
	var n int
	if err := (Codec{}).Decode([]byte(`"x"`), nil, 0, &n); err == nil {
		t.Error("a string decoded into an int")
	}
}

func TestAttachmentsOfOtherArgumentsAreLeftAlone(t *testing.T) {
	t.Parallel()
	data, atts, err := Codec{}.AppendEvent(nil, "e", []byte("0"), "mid", []any{[]byte("1"), "x"}, []byte("2"))
	if err != nil {
		t.Fatal(err)
	}
	a := (&Packet{Type: Event, Data: data, Attachments: atts})
	args := a.Args()
	want := []any{[]byte("0"), "mid", []any{[]byte("1"), "x"}, []byte("2")}
	if args.Len() != len(want) {
		t.Fatalf("got %d arguments, want %d", args.Len(), len(want))
	}
	for i := range want {
		var got any
		if err := args.Decode(Codec{}, i, &got); err != nil || !reflect.DeepEqual(got, want[i]) {
			t.Errorf("argument %d: got %v, %v; want %v", i, got, err, want[i])
		}
	}
	if err := args.Decode(Codec{}, 4, new(any)); err == nil {
		t.Error("argument 4 of 4 decoded")
	}
}
