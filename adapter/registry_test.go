package adapter_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/socketfleet/socketfleet/adapter"
	_ "github.com/socketfleet/socketfleet/adapter/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAnEmptyURLOpensTheMemoryAdapter(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"", "memory://", "MEMORY://"} {
		p, err := adapter.Open(t.Context(), raw)
		if err != nil {
			t.Fatalf("Open(%q): %v", raw, err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t"
	for _, c := range []struct {
		name, raw string
		want      []string
	}{
		{"unknown parameter", "memory://?rooms=3", []string{`unknown parameter "rooms"`, "known: none"}},
		{"unknown scheme", "carrier-pigeon://coop", []string{`"carrier-pigeon"`, "registered: memory"}},
		{"known scheme without its package", "redis+sharded://u:" + secret + "@h", []string{"registered: memory", `import _ "github.com/socketfleet/socketfleet/adapter/redis"`}},
		{"streams over TLS without its package", "rediss+streams://h", []string{"adapter/redis"}},
		{"nats without its package", "nats://h", []string{"adapter/nats"}},
		{"no scheme", "localhost/0", []string{"no scheme", "registered: memory"}},
		{"slash in the password", "redis://user:" + secret + "/x@host", []string{"percent-encoded", "host"}},
		{"digits and slash in the password", "redis://user:12/" + secret + "@host", []string{"redis"}},
		{"control character", "redis://u:" + secret + "@h\x7f", []string{"cannot be parsed"}},
		{"password as a parameter", "memory://?password=" + secret, []string{`"password"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := adapter.Open(t.Context(), c.raw)
			if err == nil {
				t.Fatal("Open succeeded")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not contain %q", err, want)
				}
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("error %q contains the password", err)
			}
		})
	}
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	var r adapter.Registry
	boom := errors.New("boom")
	r.Register("b", func(context.Context, *url.URL) (adapter.Provider, error) { return nil, boom })
	r.Register("A+x", func(context.Context, *url.URL) (adapter.Provider, error) { return nil, nil })
	if got, want := r.Schemes(), []string{"a+x", "b"}; !slices.Equal(got, want) {
		t.Errorf("Schemes = %q, want %q", got, want)
	}
	if _, err := r.Open(t.Context(), "b://u:pw1234@h"); !errors.Is(err, boom) || strings.Contains(err.Error(), "pw1234") {
		t.Errorf("Open: %v", err)
	}
	for name, register := range map[string]func(){
		"taken": func() { r.Register("b", func(context.Context, *url.URL) (adapter.Provider, error) { return nil, nil }) },
		"empty": func() { r.Register("", func(context.Context, *url.URL) (adapter.Provider, error) { return nil, nil }) },
		"nil":   func() { r.Register("c", nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: Register did not panic", name)
				}
			}()
			register()
		}()
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"redis://h:1/0?key=a":             "redis://h:1/0?key=a",
		"redis://user:pw@h:1/0":           "redis://user:xxxxx@h:1/0",
		"redis://:pw@h":                   "redis://:xxxxx@h",
		"redis://user@h":                  "redis://user@h",
		"redis://h?password=a&key=b&pw=c": "redis://h?password=xxxxx&key=b&pw=c",
		"redis://h?client_secret=a%26b":   "redis://h?client_secret=xxxxx",
		"redis://u:p@w@h":                 "redis://xxxxx@h",
		"redis://u:12/p@h":                "redis://xxxxx@h",
		"redis://u:p?w@h/0":               "redis://xxxxx@h/0",
		"u:pw@h":                          "xxxxx@h",
		"":                                "",
	} {
		if got := adapter.Redact(raw); got != want {
			t.Errorf("Redact(%q) = %q, want %q", raw, got, want)
		}
	}
}

func FuzzRedactHidesThePassword(f *testing.F) {
	f.Add("pw", "redis")
	f.Add("a/b?c#d@e", "rediss")
	f.Add("%zz", "x+y")
	f.Fuzz(func(t *testing.T, pw, scheme string) {
		if len(pw) < 6 || strings.ContainsAny(pw, ":") || strings.Contains("xxxxx@host:1/0?key=v", pw) {
			t.Skip()
		}
		for _, raw := range []string{scheme + "://u:" + pw + "@host:1/0?key=v", "redis://u:" + pw + "@host:1/0?key=v"} {
			if got := adapter.Redact(raw); !strings.Contains(scheme+strings.ToLower(scheme), pw) && strings.Contains(got, pw) {
				t.Errorf("Redact(%q) = %q", raw, got)
			}
		}
	})
}

func TestParams(t *testing.T) {
	t.Parallel()
	u, err := url.Parse("x://h?s=text&n=7&d=1.5s&b=true&addr=one&addr=two&empty=")
	if err != nil {
		t.Fatal(err)
	}
	p := adapter.NewParams(u)
	if s := p.String("s", "?"); s != "text" {
		t.Errorf("String = %q", s)
	}
	if s := p.String("absent", "def"); s != "def" {
		t.Errorf("String default = %q", s)
	}
	if s := p.String("empty", "def"); s != "" {
		t.Errorf("String empty = %q", s)
	}
	if n := p.Int("n", 1); n != 7 {
		t.Errorf("Int = %d", n)
	}
	if d := p.Duration("d", 0); d != 1500*time.Millisecond {
		t.Errorf("Duration = %v", d)
	}
	if !p.Bool("b", false) || !p.Bool("absent", true) {
		t.Error("Bool")
	}
	if l := p.Strings("addr"); !slices.Equal(l, []string{"one", "two"}) {
		t.Errorf("Strings = %q", l)
	}
	if err := p.Err(); err != nil {
		t.Errorf("Err = %v", err)
	}
}

func TestParamsErrName(t *testing.T) {
	t.Parallel()
	u := &url.URL{RawQuery: "n=x&d=5&b=maybe&twice=1&twice=2&typo=1&other=2&pass_n=hunter2"}
	p := adapter.NewParams(u)
	if got := p.Int("n", 3); got != 3 {
		t.Errorf("Int = %d, want the default", got)
	}
	p.Duration("d", 0)
	p.Bool("b", false)
	p.String("twice", "")
	p.Int("pass_n", 0)
	err := p.Err()
	if err == nil {
		t.Fatal("Err = nil")
	}
	for _, want := range []string{`"n" is "x", want an integer`, `"d" is "5"`, `"b" is "maybe"`, `"twice" is given 2 times`, `"other", "typo"`, "known: b, d, n"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not contain %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %q shows a secret", err)
	}
	if err := adapter.NewParams(&url.URL{RawQuery: "a=%zz&pass=hunter2"}).Err(); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("malformed query: %v", err)
	}
}
