package core

import "testing"

// What is wanted is what Node.js answers for new URL(name, "https://socket.io").
func TestSplitNamespaceFollowsTheURLStandard(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ raw, name, query string }{
		{"/", "/", ""},
		{"/a", "/a", ""},
		{"/a?x=1", "/a", "x=1"},
		{"/a#b?x=1", "/a", ""},
		{"/a^b", "/a^b", ""},
		{"/a b", "/a%20b", ""},
		{"/ä", "/%C3%A4", ""},
		{"/a/../b", "/b", ""},
		{"/a/./b/", "/a/b/", ""},
		{"/a/..", "/", ""},
		{"/..", "/", ""},
		{"/%2e%2E/x", "/x", ""},
		{"/a%zz", "/a%zz", ""},
		{`/a\b`, "/a/b", ""},
		{"/a//b", "/a//b", ""},
		{"/a/%2e", "/a/", ""},
		{"/{x}|`\"<>", "/%7Bx%7D|%60%22%3C%3E", ""},
		{"/a\tb", "/ab", ""},
		{"/a\x7fb", "/a%7Fb", ""},
		{"/😀", "/%F0%9F%98%80", ""},
		{"/a/b/../../..", "/", ""},
		{"/a.b", "/a.b", ""},
		{"/a;b=c@:!$&'()*+,[]~", "/a;b=c@:!$&'()*+,[]~", ""},
	} {
		if name, query := splitNamespace(tc.raw); name != tc.name || query != tc.query {
			t.Errorf("%q: %q %q, want %q %q", tc.raw, name, query, tc.name, tc.query)
		}
	}
}

func FuzzSplitNamespace(f *testing.F) {
	f.Add("/a/../b?x=1#y")
	f.Fuzz(func(t *testing.T, raw string) {
		name, _ := splitNamespace("/" + raw)
		if name[0] != '/' {
			t.Fatalf("%q", name)
		}
		if again, _ := splitNamespace(name); again != name {
			t.Errorf("%q becomes %q", name, again)
		}
	})
}
