package parser

import (
	"errors"
	"strings"
	"testing"
)

func TestTokensAreValuesAndKeys(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int{
		`1`: 1, `"a,b:[{"`: 1, `[]`: 1, `[ ]`: 1, `{}`: 1, `{ }`: 1, `[1]`: 2, `[1,2]`: 3,
		`{"a":1}`: 3, `{"a":[],"b":{}}`: 5, `["a\",[",[[1]],null]`: 6, ` [ "a" , { "k" : [ ] } ] `: 5,
	} {
		if got := countTokens([]byte(in)); got != want {
			t.Errorf("%s: got %d, want %d", in, got, want)
		}
	}
}

func TestTokenBoundIsExact(t *testing.T) {
	t.Parallel()
	d := NewDecoder(Limits{MaxTokens: 6})
	for text, want := range map[string]error{
		`2["a",1,2,3,4]`:                            nil, // the array and five values
		`2["a",1,2,3,4,5]`:                          ErrTooManyTokens,
		`2["a",{"b":1,"c":2}]`:                      ErrTooManyTokens,
		`2["a",{"b":[]}]`:                           nil,
		`2["a","` + strings.Repeat(",[", 50) + `"]`: nil,
		`3[[],[],[],[],[]]`:                         nil,
		`3[[],[],[],[],[],[]]`:                      ErrTooManyTokens,
		`0{"a":{"b":{"c":1}}}`:                      ErrTooManyTokens,
	} {
		if _, _, err := d.Text([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", text, err, want)
		}
	}
}

func TestMarshalOutputIsChecked(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "1,2", "{", "\xff", `1]`} {
		c := Codec{Marshal: func(any) ([]byte, error) { return []byte(text), nil }}
		if out, _, err := c.AppendArray([]byte("x"), struct{}{}); err == nil || string(out) != "x" {
			t.Errorf("%q: got %q, error %v", text, out, err)
		}
	}
}

func TestTokensAreBoundedByDefault(t *testing.T) {
	t.Parallel()
	text := func(n int) []byte { return []byte(`2["a"` + strings.Repeat(",0", n) + `]`) }
	if _, _, err := new(Decoder).Text(text(1<<16 - 2)); err != nil {
		t.Errorf("65,536 tokens: %v", err)
	}
	if _, _, err := new(Decoder).Text(text(1<<16 - 1)); !errors.Is(err, ErrTooManyTokens) {
		t.Errorf("65,537 tokens: got %v, want %v", err, ErrTooManyTokens)
	}
}
