package engineio

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func TestOriginPolicy(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, origin, host string
		tls                bool
		list               []string
		want               bool
	}{
		{"no origin", "", "example.com", false, nil, true},
		{"same host", "http://example.com", "example.com", false, nil, true},
		{"same host behind TLS offload", "https://example.com", "example.com", false, nil, true},
		{"upper case", "HTTP://EXAMPLE.com", "Example.COM", false, nil, true},
		{"default port spelled out", "http://example.com", "example.com:80", false, nil, true},
		{"default TLS port", "https://example.com:443", "example.com", true, nil, true},
		{"plain page, TLS server", "http://example.com", "example.com", true, nil, false},
		{"other port", "http://example.com:8080", "example.com", false, nil, false},
		{"same port", "http://localhost:3000", "localhost:3000", false, nil, true},
		{"TLS default port is not plain", "http://example.com:443", "example.com", false, nil, false},
		{"suffix", "http://evil-example.com", "example.com", false, nil, false},
		{"subdomain", "http://a.example.com", "example.com", false, nil, false},
		{"prefix", "http://example.com.evil.com", "example.com", false, nil, false},
		{"userinfo", "http://example.com@evil.com", "example.com", false, nil, false},
		{"userinfo of the host", "http://evil@example.com", "example.com", false, nil, false},
		{"path", "http://example.com/x", "example.com", false, nil, false},
		{"null", "null", "example.com", false, nil, false},
		{"null allowed", "null", "example.com", false, []string{"null"}, true},
		{"file", "file://", "example.com", false, nil, false},
		{"other scheme", "ftp://example.com", "example.com", false, nil, false},
		{"no scheme", "example.com", "example.com", false, nil, false},
		{"IPv6", "http://[::1]:80", "[::1]", false, nil, true},
		{"punycode", "https://xn--bcher-kva.example", "xn--bcher-kva.example", false, nil, true},
		{"no host", "http://example.com", "", false, nil, false},
		{"listed", "https://app.example.com", "x", false, []string{"https://app.example.com"}, true},
		{"listed with default port", "https://app.example.com", "x", false, []string{"https://APP.example.com:443"}, true},
		{"listed with other scheme", "http://app.example.com", "x", false, []string{"https://app.example.com"}, false},
		{"not listed but own", "http://x", "x", false, []string{"https://app.example.com"}, true},
		{"suffix of a listed one", "https://evilapp.example.com", "x", false, []string{"https://app.example.com"}, false},
		{"any", "http://evil.example", "x", false, []string{"*"}, true},
		{"any, null", "null", "x", false, []string{"*"}, true},
	} {
		srv, err := NewServer(Options{Origins: tc.list}, nil)
		if err != nil {
			t.Fatal(err)
		}
		r := &http.Request{URL: new(url.URL), Host: tc.host, Header: http.Header{}}
		if tc.origin != "" {
			r.Header.Set("Origin", tc.origin)
		}
		if tc.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if got := srv.allowedOrigin(r); got != tc.want {
			t.Errorf("%s: allowed = %v", tc.name, got)
		}
	}
}

func TestForeignOriginIsRefusedEverywhere(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	p := r.poll()
	for name, resp := range map[string]response{
		"handshake": r.do("GET", v4Polling, "", "Origin", "http://evil.example"),
		"POST":      r.do("POST", p.query, "4x", "Origin", "http://evil.example"),
		"GET":       r.do("GET", p.query, "", "Origin", "http://evil.example"),
	} {
		if resp.status != 403 || resp.body != `{"code":4,"message":"Forbidden"}` {
			t.Errorf("%s: %d %s", name, resp.status, resp.body)
		}
	}
	if len(p.recv.msgs) != 0 {
		t.Error("message of a foreign page delivered")
	}
	logs := r.logs.String()
	if strings.Count(logs, "origin refused") != 1 || !strings.Contains(logs, "http://evil.example") || !strings.Contains(logs, "Origins") {
		t.Errorf("log: %s", logs)
	}
	if n := r.srv.Stats().OriginsRefused; n != 3 {
		t.Errorf("counted %d", n)
	}
}

func TestInvalidOriginCharacters(t *testing.T) {
	t.Parallel()
	srv, err := NewServer(Options{Origins: []string{"*"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]bool{"": true, "http://a": true, "\u00e9": true, "a\tb": true, "a\x00": false, "a\x1f": false, "a\x7f": false} {
		r, _ := http.NewRequest("GET", "/?transport=polling", nil)
		r.Header["Origin"] = []string{value}
		_, no := srv.verify(nil, r, false)
		if got := no == nil || no.context != "INVALID_ORIGIN"; got != want {
			t.Errorf("%q: valid = %v", value, got)
		}
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, h http.Header, name, want string) {
		t.Helper()
		if got := strings.Join(h.Values(name), ", "); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	t.Run("any origin", func(t *testing.T) {
		r := newRig(t, Options{Origins: []string{"*"}, AllowCredentials: true}, nil)
		resp := r.do("GET", v4Polling, "", "Origin", "http://a.example")
		check(t, resp.header, "Access-Control-Allow-Origin", "*")
		check(t, resp.header, "Access-Control-Allow-Credentials", "")
		check(t, resp.header, "Vary", "")
		resp = r.do("GET", "EIO=4&transport=x", "", "Origin", "http://a.example")
		check(t, resp.header, "Access-Control-Allow-Origin", "*") // errors can be read too
	})
	t.Run("listed origin", func(t *testing.T) {
		r := newRig(t, Options{Origins: []string{"http://a.example"}, AllowCredentials: true}, nil)
		resp := r.do("GET", v4Polling, "", "Origin", "http://a.example")
		check(t, resp.header, "Access-Control-Allow-Origin", "http://a.example")
		check(t, resp.header, "Access-Control-Allow-Credentials", "true")
		check(t, resp.header, "Vary", "Origin")
		resp = r.do("GET", v4Polling, "", "Origin", "http://b.example")
		check(t, resp.header, "Access-Control-Allow-Origin", "")
		check(t, resp.header, "Vary", "Origin")
	})
	t.Run("preflight", func(t *testing.T) {
		r := newRig(t, Options{Origins: []string{"http://a.example"}}, nil)
		resp := r.do("OPTIONS", v4Polling+"&sid=whatever", "", "Origin", "http://a.example", "Access-Control-Request-Headers", "x-mine")
		if resp.status != 204 || resp.body != "" {
			t.Errorf("%d %q", resp.status, resp.body)
		}
		check(t, resp.header, "Access-Control-Allow-Origin", "http://a.example")
		check(t, resp.header, "Access-Control-Allow-Methods", "GET,HEAD,PUT,PATCH,POST,DELETE")
		check(t, resp.header, "Access-Control-Allow-Headers", "x-mine")
		check(t, resp.header, "Vary", "Origin, Access-Control-Request-Headers")
		resp = r.do("OPTIONS", v4Polling, "", "Origin", "http://b.example")
		if resp.status != 204 {
			t.Errorf("foreign preflight: %d", resp.status)
		}
		check(t, resp.header, "Access-Control-Allow-Origin", "")
	})
}

func TestTrustedProxies(t *testing.T) {
	t.Parallel()
	srv, err := NewServer(Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, peer, forwarded, want string
		secure                      bool
	}{
		{"stranger", "1.2.3.4:5", "9.9.9.9", "1.2.3.4", false},
		{"proxy", "10.0.0.1:5", "9.9.9.9", "9.9.9.9", true},
		{"mapped proxy", "[::ffff:10.0.0.1]:5", "9.9.9.9", "9.9.9.9", true},
		{"two proxies", "10.0.0.1:5", "8.8.8.8, 9.9.9.9, 10.0.0.2", "9.9.9.9", true},
		{"proxies all the way", "10.0.0.1:5", "10.0.0.3, 10.0.0.2", "10.0.0.3", true},
		{"garbage", "10.0.0.1:5", "9.9.9.9, <script>", "10.0.0.1", true},
		{"with port", "10.0.0.1:5", "9.9.9.9:1234", "9.9.9.9", true},
		{"nothing forwarded", "10.0.0.1:5", "", "10.0.0.1", true},
		{"IPv6", "[::1]:5", "2001:db8::1", "2001:db8::1", true},
	} {
		r := &http.Request{URL: new(url.URL), Host: "internal", RemoteAddr: tc.peer, Header: http.Header{
			"X-Forwarded-For": {tc.forwarded}, "X-Forwarded-Host": {"example.com"}, "X-Forwarded-Proto": {"https"},
			"Origin": {"https://example.com"},
		}}
		if got := srv.clientAddr(r); got != tc.want {
			t.Errorf("%s: address %q, want %q", tc.name, got, tc.want)
		}
		if got := srv.secure(r); got != tc.secure {
			t.Errorf("%s: secure = %v", tc.name, got)
		}
		if got := srv.allowedOrigin(r); got != tc.secure {
			t.Errorf("%s: allowed = %v", tc.name, got)
		}
	}
}

func FuzzOrigin(f *testing.F) {
	f.Add("http://example.com", "example.com")
	f.Add("null", "example.com:80")
	f.Add("https://[::1]:443", "[::1]")
	f.Fuzz(func(t *testing.T, origin, host string) {
		norm, ok := normalizeOrigin(origin)
		if ok {
			again, ok := normalizeOrigin(norm)
			if ok && again != norm {
				t.Errorf("%q normalizes to %q, then %q", origin, norm, again)
			}
		}
		if sameOrigin(origin, host, false) {
			_, rest, _ := strings.Cut(strings.ToLower(origin), "://")
			trim := func(s string) string {
				return strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(s, ":80"), ":443"), ":")
			}
			if trim(rest) != trim(strings.ToLower(host)) {
				t.Errorf("%q passes for %q", origin, host)
			}
		}
	})
}
