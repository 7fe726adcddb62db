package msgpack

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

func FuzzToJSON(f *testing.F) {
	for _, s := range []string{"93a3666f6fc4020102d60001020304", "82a16101a16202", "c70cff3b9ac9ff000000005e0be100", "dd7fffffff", "8201a1610ba162", "cb444b1ae4d6e2ef50"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		text, atts, rest, err := ToJSON(nil, in, nil)
		if err != nil {
			return
		}
		if after, err := Skip(in); err != nil || len(after) != len(rest) {
			t.Fatalf("Skip leaves %d bytes, ToJSON %d: %v", len(after), len(rest), err)
		}
		if !json.Valid(text) {
			t.Fatalf("not JSON: %q", text)
		}
		packed, err := AppendJSON(nil, text, atts)
		if err != nil {
			t.Fatalf("does not go back: %q: %v", text, err)
		}
		again, atts2, rest, err := ToJSON(nil, packed, nil)
		if err != nil || len(rest) > 0 || !bytes.Equal(again, text) || len(atts) != len(atts2) {
			t.Fatalf("%q came back as %q, %v", text, again, err)
		}
		if _, _, err := ToPlainJSON(nil, in); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzAppendJSON(f *testing.F) {
	for _, s := range []string{`["foo",1,-1.5e3,null,true,{"a":"\ud83d\ude00\n"}]`, `{"a":[[]],"b":{}}`, `"\ud800x"`, `1e999`, ` [ ] `, "\"\xff\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		packed, err := AppendJSON(nil, in, nil)
		if (err == nil) != json.Valid(in) && err != ErrDepth {
			t.Fatalf("AppendJSON says %v, encoding/json %v", err, json.Valid(in))
		}
		if err != nil {
			return
		}
		text, _, rest, err := ToJSON(nil, packed, nil)
		if err != nil || len(rest) > 0 {
			t.Fatalf("does not come back: %v", err)
		}
		var want, got any
		if json.Unmarshal(in, &want) != nil {
			return // a number out of range, which JavaScript takes
		}
		if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q became %q", in, text)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"type":3,"data":{"packet":["a"]},"ué":[1,"x"]}`))
	f.Add(unhex(f, "82a3756964a6416243644566a9726571756573744964d60001020304"))
	f.Fuzz(func(t *testing.T, in []byte) {
		v, err := Parse(in)
		if err != nil {
			return
		}
		walk(t, v, 0)
	})
}

func walk(t *testing.T, v Value, depth int) {
	if depth > MaxDepth {
		return
	}
	v.Int()
	v.Text()
	v.True()
	if text, _, err := v.AppendJSON(nil, nil); err == nil && !json.Valid(text) {
		t.Fatalf("not JSON: %q", text)
	}
	if depth > 3 {
		return
	}
	for _, f := range v.Fields() {
		walk(t, f, depth+1)
	}
	for e := range v.Elements() {
		walk(t, e, depth+1)
	}
}
