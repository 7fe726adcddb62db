package parser

import (
	"slices"
	"testing"
)

func TestEventName(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in, name, rest string
		ok             bool
	}{
		{`["a"]`, "a", `]`, true},
		{`["a",1]`, "a", `1]`, true},
		{` ["a"]`, "", ``, false},
		{`[ "a" , 1 , 2]`, "a", `1 , 2]`, true},
		{`["a\"\u00e9,",[1]]`, `a"é,`, `[1]]`, true},
		{`[12,"x"]`, "12", `"x"]`, true},
		{`[1.50]`, "1.5", `]`, true},
		{`[-0]`, "0", `]`, true},
		{`[1e3]`, "1000", `]`, true},
		{`[123456789012345678901234]`, "1.2345678901234569e+23", `]`, true},
		{`[1e999]`, "Infinity", `]`, true},
		{`[]`, "", ``, false}, {`[true]`, "", ``, false}, {`{"a":1}`, "", ``, false}, {``, "", ``, false}, {`[`, "", ``, false}, {`["`, "", ``, false},
	} {
		name, at, ok := EventName([]byte(tt.in))
		if name != tt.name || ok != tt.ok || ok && tt.in[at:] != tt.rest {
			t.Errorf("%s: got %q, %d, %v; want %q, before %s, %v", tt.in, name, at, ok, tt.name, tt.rest, tt.ok)
		}
	}
}

func TestElements(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][]string{
		`[]`:  nil,
		`[ ]`: nil,
		`{}`:  nil,
		``:    nil,
		`[1]`: {`1`},
		`["a,]\"", {"b":[1,"]"]} ,[[]],null , -1.5e3]`: {`"a,]\""`, `{"b":[1,"]"]}`, `[[]]`, `null`, `-1.5e3`},
	} {
		var got []string
		for e := range Elements([]byte(in)) {
			got = append(got, string(e))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
	for range Elements([]byte(`[1,2]`)) {
		break
	}
}

func TestArgs(t *testing.T) {
	t.Parallel()
	p := Packet{Type: Event, Data: []byte(`["e", 1 ,"x"]`)}
	a := p.Args()
	raw, base := a.Raw(1)
	if a.Len() != 2 || string(raw) != `"x"` || base != 9 {
		t.Errorf("got %d arguments, %s at %d", a.Len(), raw, base)
	}
	if raw, _ := a.Raw(2); raw != nil {
		t.Errorf("argument 2 of 2: %s", raw)
	}
	p.Type = Ack
	if a = p.Args(); a.Len() != 3 {
		t.Errorf("an acknowledgement of 3 values has %d", a.Len())
	}
	if a = (&Packet{Type: Event}).Args(); a.Len() != 0 {
		t.Errorf("an event without data has %d arguments", a.Len())
	}
}

func TestReservedNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"connect": true, "newListener": true, "connection": false, "error": false, "": false} {
		if IsReserved(name) != want {
			t.Errorf("IsReserved(%q) = %v", name, !want)
		}
	}
}
