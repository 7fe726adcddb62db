package sid

import (
	"strings"
	"testing"
)

func newSigner(t *testing.T, secret, node string) *Signer {
	t.Helper()
	s, err := NewSigner(secret, node)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSignedIdsNameTheirOwner(t *testing.T) {
	t.Parallel()
	s := newSigner(t, "secret", "node-1")
	id := s.New()
	if !Valid(id) || !s.Verify(id) {
		t.Errorf("own id %q refused", id)
	}
	if node, ok := Node(id); !ok || node != "node-1" {
		t.Errorf("Node = %q, %v", node, ok)
	}
	if first, _, _ := strings.Cut(id, "."); first != "node-1" {
		t.Errorf("a load balancer that routes on the text before the dot gets %q", first)
	}
	if owner, ok := Owner(id); !ok || owner != s.Owner() {
		t.Errorf("Owner = %q, %v, want %q", owner, ok, s.Owner())
	}
	for _, id := range []string{"", New(), Engine("node-1"), "x"} {
		if owner, ok := Owner(id); ok {
			t.Errorf("Owner(%q) = %q", id, owner)
		}
	}
}

func TestOtherProcessesOfTheNodeAreOtherOwners(t *testing.T) {
	t.Parallel()
	a, b := newSigner(t, "secret", "n"), newSigner(t, "secret", "n")
	if a.Owner() == b.Owner() {
		t.Error("a restarted node has the same owner name")
	}
	if !a.Verify(b.New()) {
		t.Error("ids of another node of the deployment are refused")
	}
}

func TestForgedIdsAreRefused(t *testing.T) {
	t.Parallel()
	s := newSigner(t, "secret", "node")
	id := s.New()
	for what, forged := range map[string]string{
		"another secret": newSigner(t, "other", "node").New(),
		"not signed":     Engine("node"),
		"plain":          New(),
		"no node":        New() + ".abcdefabcdefgh",
		"empty":          "",
	} {
		if s.Verify(forged) {
			t.Errorf("%s: %q accepted", what, forged)
		}
	}
	for i := range id {
		c := byte('a')
		if id[i] == c {
			c = 'b'
		}
		if forged := id[:i] + string(c) + id[i+1:]; s.Verify(forged) {
			t.Errorf("accepted with character %d changed: %q", i, forged)
		}
	}
}

func TestSignerOptions(t *testing.T) {
	t.Parallel()
	for _, in := range [][2]string{{"", "node"}, {"secret", ""}, {"secret", "a.b"}} {
		if _, err := NewSigner(in[0], in[1]); err == nil {
			t.Errorf("NewSigner(%q, %q) works", in[0], in[1])
		}
	}
}

func FuzzVerify(f *testing.F) {
	s, err := NewSigner("secret", "node")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.New())
	f.Add("node.aaaaaaaaaaaaaaaaaaaa.abcdefabcdefgh")
	f.Fuzz(func(t *testing.T, id string) {
		if s.Verify(id) && !strings.Contains(id, ".") {
			t.Errorf("%q is signed", id)
		}
		if owner, ok := Owner(id); ok && !Valid(id) {
			t.Errorf("Owner(%q) = %q", id, owner)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	s, _ := NewSigner("secret", "node")
	id := s.New()
	b.ReportAllocs()
	for b.Loop() {
		s.Verify(id)
	}
}
