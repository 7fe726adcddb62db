package cluster

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/socketfleet/socketfleet/adapter"
)

func TestFirstArg(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`[]`:                  `[]`,
		`[1]`:                 `[1]`,
		`[1,2,3]`:             `[1]`,
		`["a,b]\"",2]`:        `["a,b]\""]`,
		`[{"a":[1,{}]},[2]]`:  `[{"a":[1,{}]}]`,
		` [ [1,2] , "x" ]`:    ` [ [1,2] ]`,
		`["\\",{"x":"}],["}]`: `["\\"]`,
	} {
		if got := string(firstArg(pack(in)).Data); got != want {
			t.Errorf("firstArg(%s) = %s, want %s", in, got, want)
		}
	}
	if got := firstArg(nil); string(got.Data) != `[]` {
		t.Errorf("firstArg(nil) = %s", got.Data)
	}
}

func TestFirstArgKeepsItsAttachmentsOnly(t *testing.T) {
	t.Parallel()
	const a, b = `{"_placeholder":true,"num":0}`, `{"_placeholder":true,"num":1}`
	data := `[{"x":` + a + `},` + b + `]`
	p := firstArg(&adapter.Packet{Data: []byte(data), Attachments: []adapter.Attachment{
		{At: strings.Index(data, a), Data: []byte("first")}, {At: strings.Index(data, b), Data: []byte("second")},
	}})
	if string(p.Data) != `[{"x":`+a+`}]` || len(p.Attachments) != 1 || string(p.Attachments[0].Data) != "first" {
		t.Errorf("got %s with %d attachments", p.Data, len(p.Attachments))
	}
}

func FuzzFirstArg(f *testing.F) {
	f.Add(`[1,"a,\"b",{"c":[1,2]}]`)
	f.Add(`[`)
	f.Add(`]],,"`)
	f.Fuzz(func(t *testing.T, in string) {
		got := firstArg(pack(in)).Data
		var args []json.RawMessage
		if json.Unmarshal([]byte(in), &args) != nil {
			return
		}
		var first []json.RawMessage
		if err := json.Unmarshal(got, &first); err != nil {
			t.Fatalf("firstArg(%s) = %s: %v", in, got, err)
		}
		if len(first) != min(len(args), 1) || (len(args) > 0 && string(first[0]) != string(args[0])) {
			t.Errorf("firstArg(%s) = %s", in, got)
		}
	})
}
