package msgpack

import (
	"bytes"
	"errors"
	"testing"
)

func TestLimitsAreExact(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in     string
		limits Limits
		want   error
	}{
		{"9191c0", Limits{MaxDepth: 2}, nil},
		{"919191c0", Limits{MaxDepth: 2}, ErrDepth},
		{"81a16181a161c0", Limits{MaxDepth: 1}, ErrDepth},
		{"91c70205ffff", Limits{MaxDepth: 1}, ErrDepth}, // a pair
		{"91c403010203", Limits{MaxDepth: 1}, nil},
		{"93010203", Limits{MaxTokens: 4}, nil},
		{"93010203", Limits{MaxTokens: 3}, ErrTokens},
		{"81a16101", Limits{MaxTokens: 3}, nil},
		{"81a16101", Limits{MaxTokens: 2}, ErrTokens},
		{"92c40101c40102", Limits{MaxAttachments: 2}, nil},
		{"92c40101c70100ff", Limits{MaxAttachments: 1}, ErrAttachments},
	} {
		if _, _, _, err := tt.limits.ToJSON(nil, unhex(t, tt.in), nil); !errors.Is(err, tt.want) {
			t.Errorf("%s within %+v: got %v, want %v", tt.in, tt.limits, err, tt.want)
		}
	}
	if _, _, err := (Limits{MaxTokens: 5}).ToPlainJSON(nil, unhex(t, "c40401020304")); err != nil {
		t.Errorf("four bytes: %v", err)
	}
	if _, _, err := (Limits{MaxTokens: 4}).ToPlainJSON(nil, unhex(t, "c40401020304")); !errors.Is(err, ErrTokens) {
		t.Errorf("four bytes as numbers: got %v, want %v", err, ErrTokens)
	}
}

func TestBombsAreRefusedWithoutAllocating(t *testing.T) {
	for name, in := range map[string][]byte{
		"an array said to hold 2^31 values": unhex(t, "dd7fffffff"),
		"a map said to hold 2^32 members":   unhex(t, "dfffffffff"),
		"5 MB of nested arrays":             bytes.Repeat([]byte{0x91}, 5<<20),
	} {
		dst := make([]byte, 0, 1024)
		n := testing.AllocsPerRun(1, func() {
			if _, _, _, err := ToJSON(dst, in, nil); err == nil {
				t.Errorf("%s: accepted", name)
			}
		})
		if n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestUintTakesIntegersAJavaScriptPeerCanHold(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]uint64{
		"00": 0, "7f": 127, "ccff": 255, "cf001fffffffffffff": 1<<53 - 1, "d3000000000000002a": 42,
		"cb4000000000000000": 2, "cb8000000000000000": 0, "ca42280000": 42,
	} {
		v, err := Parse(unhex(t, in))
		if got, ok := v.Uint(); err != nil || !ok || got != want {
			t.Errorf("%s: got %d, %v, %v; want %d", in, got, ok, err, want)
		}
	}
	for _, in := range []string{"ff", "cf0020000000000000", "cb3ff8000000000000", "cb7ff0000000000000", "cb7ff8000000000000", "c0", "c3", "a130", "90", "80", "d40000"} {
		v, err := Parse(unhex(t, in))
		if got, ok := v.Uint(); err != nil || ok {
			t.Errorf("%s: got %d, %v", in, got, err)
		}
	}
	if _, ok := (Value{}).Uint(); ok {
		t.Error("an absent value is a number")
	}
}

func TestUndefinedMeansAbsent(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{"d40000": true, "d400ff": true, "c0": false, "d40100": false, "c7010000": false} {
		v, err := Parse(unhex(t, in))
		if err != nil || v.Undefined() != want {
			t.Errorf("%s: undefined %v, %v", in, v.Undefined(), err)
		}
	}
	if !(Value{}).Undefined() {
		t.Error("the zero Value is not undefined")
	}
}
