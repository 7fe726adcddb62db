package msgpack

import (
	"bytes"
	"encoding/hex"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/socketfleet/socketfleet/adapter"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The expectations were produced by notepack.io 3.0.1.
func TestAppendJSONWritesWhatNotepackWrites(t *testing.T) {
	t.Parallel()
	tests := []struct{ json, want string }{
		{`null`, "c0"},
		{`true`, "c3"},
		{`false`, "c2"},
		{`0`, "00"},
		{`-0`, "00"},
		{`1`, "01"},
		{`127`, "7f"},
		{`128`, "cc80"},
		{`255`, "ccff"},
		{`256`, "cd0100"},
		{`65535`, "cdffff"},
		{`65536`, "ce00010000"},
		{`4294967295`, "ceffffffff"},
		{`4294967296`, "cf0000000100000000"},
		{`9007199254740991`, "cf001fffffffffffff"},
		{`-1`, "ff"},
		{`-32`, "e0"},
		{`-33`, "d0df"},
		{`-128`, "d080"},
		{`-129`, "d1ff7f"},
		{`-32768`, "d18000"},
		{`-32769`, "d2ffff7fff"},
		{`-2147483648`, "d280000000"},
		{`-2147483649`, "d3ffffffff7fffffff"},
		{`-9007199254740991`, "d3ffe0000000000001"},
		{`1.5`, "cb3ff8000000000000"},
		{`-0.1`, "cbbfb999999999999a"},
		{`1e3`, "cd03e8"},
		{`1.0`, "01"},
		{`1e-7`, "cb3e7ad7f29abcaf48"},
		{`1.7976931348623157e308`, "cb7fefffffffffffff"},
		{`12345678901234567`, "cb4345ee2a2eb5a5c4"},
		{`""`, "a0"},
		{`"a"`, "a161"},
		{`"\u00e9\u20ac\ud83d\ude00"`, "a9c3a9e282acf09f9880"},
		{`"\n\t\"\\\/\b\f\r\u0001"`, "a90a09225c2f080c0d01"},
		{`"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"`, "bf78787878787878787878787878787878787878787878787878787878787878"},
		{`"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"`, "d9207878787878787878787878787878787878787878787878787878787878787878"},
		{`[]`, "90"},
		{`{}`, "80"},
		{`[1,[2,[3]]]`, "920192029103"},
		{`{"b":1,"a":{"c":[]}}`, "82a16201a16181a16390"},
		{`[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]`, "9f000000000000000000000000000000"},
		{`[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]`, "dc001000000000000000000000000000000000"},
		{` [ 1 , { "a" : "b" } ] `, "920181a161a162"},
	}
	for _, tt := range tests {
		got, err := AppendJSON(nil, []byte(tt.json), nil)
		if err != nil || hex.EncodeToString(got) != tt.want {
			t.Errorf("AppendJSON(%s) = %x, %v; want %s", tt.json, got, err, tt.want)
		}
	}
}

func TestAppendJSONWidensHeaders(t *testing.T) {
	t.Parallel()
	list := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat("0,", n), ",") + "]" }
	fields := func(n int) string { return "{" + strings.TrimSuffix(strings.Repeat(`"a":1,`, n), ",") + "}" }
	tests := []struct{ name, json, head, tail string }{
		{"string of 255", `"` + strings.Repeat("x", 255) + `"`, "d9ff78", "78"},
		{"string of 256", `"` + strings.Repeat("x", 256) + `"`, "da010078", "78"},
		{"string of 65536", `"` + strings.Repeat("x", 65536) + `"`, "db0001000078", "78"},
		{"array of 15", list(15), "9f00", "00"},
		{"array of 16", list(16), "dc001000", "00"},
		{"array of 65536", list(65536), "dd0001000000", "00"},
		{"map of 15", fields(15), "8fa16101", "a16101"},
		{"map of 16", fields(16), "de0010a16101", "a16101"},
		{"map of 65536", fields(65536), "df00010000a16101", "a16101"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := AppendJSON([]byte("before"), []byte(tt.json), nil)
			if err != nil {
				t.Fatal(err)
			}
			got = bytes.TrimPrefix(got, []byte("before"))
			if !bytes.HasPrefix(got, unhex(t, tt.head)) || !bytes.HasSuffix(got, unhex(t, tt.tail)) {
				t.Fatalf("got %.12x...%x", got, got[len(got)-4:])
			}
			back, _, rest, err := ToJSON(nil, got, nil)
			if err != nil || len(rest) > 0 || string(back) != tt.json {
				t.Fatalf("does not come back: %.40s, %v", back, err)
			}
		})
	}
}

func TestAppendJSONReplacesPlaceholdersByOffset(t *testing.T) {
	t.Parallel()
	const text = `["foo", {"_placeholder":true,"num":1},{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]`
	first := strings.Index(text, `{`)
	second := first + strings.Index(text[first+1:], `{`) + 1
	atts := []adapter.Attachment{{At: second, Data: []byte{2}}, {At: first, Data: []byte{1, 1}}}
	got, err := AppendJSON(nil, []byte(text), atts)
	const want = "94a3666f6fc4020101c4010282ac5f706c616365686f6c646572c3a36e756d00"
	if err != nil || hex.EncodeToString(got) != want {
		t.Fatalf("got %x, %v; want %s", got, err, want)
	}
	if atts[0].At != second {
		t.Error("the caller's attachments were reordered")
	}
}

func TestAppendJSONRejects(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1)
	tests := []struct {
		name, json string
		atts       []adapter.Attachment
		want       error
	}{
		{"nothing", "", nil, ErrShort},
		{"an open array", "[1", nil, ErrShort},
		{"an open string", `"a`, nil, ErrShort},
		{"a second value", "1 2", nil, ErrTrailing},
		{"a missing comma", "[1 2]", nil, ErrMalformed},
		{"a trailing comma", "[1,]", nil, ErrMalformed},
		{"a bare key", "{a:1}", nil, ErrMalformed},
		{"a leading zero", "01", nil, ErrMalformed},
		{"a bad word", "nul", nil, ErrMalformed},
		{"a bad escape", `"\x"`, nil, ErrMalformed},
		{"a control character", "\"\n\"", nil, ErrMalformed},
		{"deep nesting", deep, nil, ErrDepth},
		{"a million brackets", strings.Repeat("[", 1e6), nil, ErrDepth},
		{"a million brackets in a placeholder", strings.Repeat("[", 1e6), []adapter.Attachment{{At: 0}}, ErrDepth},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := AppendJSON([]byte("x"), []byte(tt.json), tt.atts)
			if !errors.Is(err, tt.want) || string(got) != "x" {
				t.Errorf("got %q, %v; want %v", got, err, tt.want)
			}
		})
	}
	if _, err := AppendJSON(nil, []byte("[1]"), []adapter.Attachment{{At: 2}}); err == nil {
		t.Error("an attachment where no value starts was accepted")
	}
}

// The expectations were produced by notepack.io 3.0.1 and JSON.stringify.
func TestToPlainJSONWritesWhatNodeSees(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"c0", `null`},
		{"c2", `false`},
		{"c3", `true`},
		{"00", `0`},
		{"7f", `127`},
		{"e0", `-32`},
		{"ff", `-1`},
		{"cc80", `128`},
		{"cdffff", `65535`},
		{"ceffffffff", `4294967295`},
		{"cf001fffffffffffff", `9007199254740991`},
		{"cf0020000000000000", `9007199254740992`},
		{"cfffffffffffffffff", `18446744073709552000`},
		{"d080", `-128`},
		{"d18000", `-32768`},
		{"d280000000", `-2147483648`},
		{"d3ffe0000000000001", `-9007199254740991`},
		{"d38000000000000000", `-9223372036854776000`},
		{"ca3fc00000", `1.5`},
		{"ca3dcccccd", `0.10000000149011612`},
		{"cb3ff8000000000000", `1.5`},
		{"cb7ff8000000000000", `null`},
		{"cb7ff0000000000000", `null`},
		{"cb8000000000000000", `0`},
		{"cb444b1ae4d6e2ef50", `1e+21`},
		{"cb4430000000000000", `295147905179352830000`},
		{"cb3e7ad7f29abcaf48", `1e-7`},
		{"cb3eb0c6f7a0b5ed8d", `0.000001`},
		{"cb7fefffffffffffff", `1.7976931348623157e+308`},
		{"cb0000000000000001", `5e-324`},
		{"a161", `"a"`},
		{"d90161", `"a"`},
		{"da000161", `"a"`},
		{"db0000000161", `"a"`},
		{"a5e282acc3a9", `"€é"`},
		{"a20122", `"\u0001\""`},
		{"a4e280a80a", `" \n"`},
		{"c403010203", `{"type":"Buffer","data":[1,2,3]}`},
		{"c500020102", `{"type":"Buffer","data":[1,2]}`},
		{"c60000000101", `{"type":"Buffer","data":[1]}`},
		{"d6ff5e0be100", `"2020-01-01T00:00:00.000Z"`},
		{"d7ffee6b28005e0be100", `"2020-01-01T00:00:01.000Z"`},
		{"c70cff3b9ac9ff000000005e0be100", `"2020-01-01T00:00:01.000Z"`},
		{"c70cff00000000ffffffffffffffff", `"1969-12-31T23:59:59.000Z"`},
		{"d4ff00", `null`},
		{"d40000", `null`},
		{"d7000000016f5e66e800", `"2020-01-01T00:00:00.000Z"`},
		{"d50001ff", `{"type":"Buffer","data":[1,255]}`},
		{"d60a01020304", `[10,{"type":"Buffer","data":[1,2,3,4]}]`},
		{"c70300010203", `{"type":"Buffer","data":[1,2,3]}`},
		{"c7020501ff", `[5,{"type":"Buffer","data":[1,255]}]`},
		{"92a16101", `["a",1]`},
		{"81a16101", `{"a":1}`},
		{"82a16101a16202", `{"a":1,"b":2}`},
		{"91d40000", `[null]`},
		{"81a161d40000", `{}`},
		{"83a16101a162d40000a16302", `{"a":1,"c":2}`},
		{"82a161d40000a16281a163d40000", `{"b":{}}`},
		{"c7010005", `{"type":"Buffer","data":[5]}`},
		{"c708000102030405060708", `{"type":"Buffer","data":[1,2,3,4,5,6,7,8]}`},
		{"c800010005", `{"type":"Buffer","data":[5]}`},
		{"dc000101", `[1]`},
		{"dd0000000101", `[1]`},
		{"de0001a16101", `{"a":1}`},
		{"df00000001a16101", `{"a":1}`},
		{"d7ff00000003ffffffff", `"2514-05-30T01:53:03.000Z"`},
		{"c70cff00000000000007d8ffffffff", `"+275399-02-09T16:27:43.000Z"`},
		{"c70cff00000000fffffff000000000", `"-000208-05-13T16:27:44.000Z"`},
		{"8201a1610ba162", `{"1":"a","11":"b"}`},
		{"a2c328", "\"\uFFFD(\""},
	}
	for _, tt := range tests {
		got, rest, err := ToPlainJSON(nil, unhex(t, tt.in))
		if err != nil || len(rest) > 0 || string(got) != tt.want {
			t.Errorf("ToPlainJSON(%s) = %s, %v; want %s", tt.in, got, err, tt.want)
		}
	}
}

func TestToJSONCollectsAttachments(t *testing.T) {
	t.Parallel()
	in := unhex(t, "93a3666f6fc4020102d60001020304"+"c0")
	prior := []adapter.Attachment{{At: 1}}
	got, atts, rest, err := ToJSON([]byte("--"), in, prior)
	if err != nil || hex.EncodeToString(rest) != "c0" {
		t.Fatalf("rest %x, %v", rest, err)
	}
	const want = `--["foo",{"_placeholder":true,"num":1},{"_placeholder":true,"num":2}]`
	if string(got) != want {
		t.Fatalf("got %s", got)
	}
	for i, data := range []string{"0102", "01020304"} {
		a := atts[i+1]
		if hex.EncodeToString(a.Data) != data || !bytes.HasPrefix(got[a.At:], []byte(`{"_placeholder"`)) {
			t.Errorf("attachment %d: %x at %d", i, a.Data, a.At)
		}
	}
}

func TestToJSONRejects(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   []byte
		want error
	}{
		{"nothing", nil, ErrShort},
		{"the unused code", []byte{0xc1}, ErrMalformed},
		{"an array of 2^31-1 and nothing", unhex(t, "dd7fffffff"), ErrShort},
		{"a map of 2^32-1 and nothing", unhex(t, "dfffffffff"), ErrShort},
		{"a string of 4 GiB", unhex(t, "dbffffffff61"), ErrShort},
		{"a bin of 4 GiB", unhex(t, "c6ffffffff61"), ErrShort},
		{"an ext of 4 GiB", unhex(t, "c9ffffffff0161"), ErrShort},
		{"a header cut short", unhex(t, "dd7fff"), ErrShort},
		{"a number cut short", unhex(t, "cb3ff8"), ErrShort},
		{"five million nested arrays", bytes.Repeat([]byte{0x91}, 5e6), ErrDepth},
		{"a nil key", unhex(t, "81c001"), ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, _, err := ToJSON(nil, tt.in, nil); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			v, err := Parse(tt.in)
			if err == nil {
				_, _, err = v.AppendJSON(nil, nil)
			}
			if err == nil {
				t.Error("Parse and AppendJSON accept it")
			}
		})
	}
}

func TestBombsAllocateNothingMuch(t *testing.T) {
	for _, in := range [][]byte{unhex(t, "dd7fffffff"), unhex(t, "df7fffffff"), bytes.Repeat([]byte{0x91}, 5e6)} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, _, _ = ToJSON(nil, in, nil)
		_, _ = Skip(in)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 64<<10 {
			t.Errorf("%.5x: %d bytes allocated", in[:5], got)
		}
	}
}
