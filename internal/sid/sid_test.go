package sid

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNewIsTwentyURLSafeCharacters(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 10_000 {
		id := New()
		if len(id) != Len || !plain(id) {
			t.Fatalf("New() = %q", id)
		}
		if seen[id] {
			t.Fatalf("New() repeated %q", id)
		}
		seen[id] = true
	}
}

// Guessable ids let anyone take over a session: every character position has to
// vary, none may be a counter.
func TestCVE_2017_16031_IdsAreRandom(t *testing.T) {
	t.Parallel()
	const n = 4096
	var count [Len]map[byte]int
	for i := range count {
		count[i] = make(map[byte]int)
	}
	for range n {
		id := New()
		for i := range Len {
			count[i][id[i]]++
		}
	}
	for i, m := range count {
		if len(m) < 60 {
			t.Errorf("position %d takes only %d of 64 values", i, len(m))
		}
		for c, k := range m {
			if k > n/64*3 {
				t.Errorf("position %d is %q in %d of %d ids", i, c, k, n)
			}
		}
	}
}

func TestEngineCarriesTheNode(t *testing.T) {
	t.Parallel()
	if id := Engine(""); len(id) != Len || !Valid(id) {
		t.Errorf("Engine(\"\") = %q", id)
	}
	id := Engine("node-1_x")
	if !strings.HasPrefix(id, "node-1_x.") || !Valid(id) {
		t.Errorf("Engine(node) = %q", id)
	}
	if node, ok := Node(id); !ok || node != "node-1_x" {
		t.Errorf("Node(%q) = %q, %v", id, node, ok)
	}
	if node, ok := Node(New()); ok {
		t.Errorf("Node of a plain id = %q", node)
	}
}

func TestValid(t *testing.T) {
	t.Parallel()
	ok20 := strings.Repeat("a", Len)
	for id, want := range map[string]bool{
		ok20:              true,
		"n." + ok20:       true,
		"":                false,
		"__proto__":       false,
		ok20[1:]:          false,
		ok20 + "a":        false,
		"." + ok20:        false,
		"a.b." + ok20:     false,
		"a b." + ok20:     false,
		ok20[1:] + "/":    false,
		ok20[1:] + "\x00": false,
		strings.Repeat("n", MaxNode) + "." + ok20:   true,
		strings.Repeat("n", MaxNode+1) + "." + ok20: false,
	} {
		if got := Valid(id); got != want {
			t.Errorf("Valid(%q) = %v, want %v", id, got, want)
		}
	}
}

func FuzzValid(f *testing.F) {
	f.Add(Engine("node"))
	f.Add(New())
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, id string) {
		node, ok := Node(id)
		if ok && (!Valid(id) || !ValidNode(node) || len(id) != len(node)+1+Len && len(id) != len(node)+1+Len+tailLen) {
			t.Errorf("Node(%q) = %q, %v", id, node, ok)
		}
		if Valid(id) && len(id) > MaxLen {
			t.Errorf("Valid accepts %d characters", len(id))
		}
	})
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		New()
	}
}
