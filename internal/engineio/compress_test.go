package engineio

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestCompression(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	long := strings.Repeat("x", 1023)
	for _, tc := range []struct{ accept, msg, want string }{
		{"gzip", long, "gzip"},
		{"gzip", long[1:], ""},
		{"deflate", long, "deflate"},
		{"gzip;q=0.5, deflate", long, "deflate"},
		{"br, *", long, "gzip"},
		{"identity", long, ""},
		{"gzip;q=0", long, ""},
		{"", long, ""},
	} {
		p := r.poll()
		_ = p.recv.s.Send(text(tc.msg))
		header := []string{"Accept-Encoding", tc.accept}
		resp := p.do(http.MethodGet, p.query, "", header...)
		if got := resp.header.Get("Content-Encoding"); got != tc.want {
			t.Errorf("%q: encoding %q, want %q", tc.accept, got, tc.want)
		}
		if body := inflate(t, tc.want, resp.body); body != "4"+tc.msg {
			t.Errorf("%q: %d bytes", tc.accept, len(body))
		}
	}
}

func inflate(t *testing.T, name, body string) string {
	t.Helper()
	in := io.Reader(bytes.NewReader([]byte(body)))
	var err error
	switch name {
	case "gzip":
		in, err = gzip.NewReader(in)
	case "deflate":
		in, err = zlib.NewReader(in)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
