package core_test

import (
	"compress/gzip"
	"compress/zlib"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/fstest"

	"github.com/socketfleet/socketfleet/client"
	"github.com/socketfleet/socketfleet/core"
)

// ask makes one request to the server's handler.
func (r *rig) ask(method, target string, header http.Header) *http.Response {
	w := httptest.NewRecorder()
	req := httptest.NewRequest(method, target, nil)
	req.Header = header
	r.ServeHTTP(w, req)
	return w.Result()
}

func body(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The headers and the rules are those of the reference's attachServe.
func TestTheClientIsServed(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	for _, name := range []string{"socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"} {
		for suffix, mime := range map[string]string{"": "application/javascript; charset=utf-8", ".map": "application/json; charset=utf-8"} {
			want, err := fs.ReadFile(client.Files(), name+suffix)
			if err != nil {
				t.Fatal(err)
			}
			for _, dir := range []string{"/socket.io/", "/", "/mounted/elsewhere/"} { // the mux decides
				resp := r.ask(http.MethodGet, dir+name+suffix+"?v=1&transport=polling", nil)
				equal(t, "status", resp.StatusCode, http.StatusOK)
				equal(t, "Content-Type", resp.Header.Get("Content-Type"), mime)
				equal(t, "Cache-Control", resp.Header.Get("Cache-Control"), "public, max-age=0")
				if body(t, resp.Body) != string(want) {
					t.Errorf("%s is not the file", name+suffix)
				}
				tag := resp.Header.Get("Etag")
				for _, known := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
					again := r.ask(http.MethodGet, dir+name+suffix, http.Header{"If-None-Match": {known}})
					equal(t, "status for "+known, again.StatusCode, http.StatusNotModified)
					equal(t, "body", body(t, again.Body), "")
					equal(t, "Content-Type", again.Header.Get("Content-Type"), "")
				}
				equal(t, "another tag", r.ask(http.MethodGet, dir+name, http.Header{"If-None-Match": {`"other"`}}).StatusCode, http.StatusOK)
			}
		}
	}
}

// The codings are those that the reference chooses for the same headers.
func TestTheClientIsCompressed(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	own := start(t, &core.Options{ClientFS: fstest.MapFS{"socket.io.min.js": {Data: []byte("own build")}}})
	want, _ := fs.ReadFile(client.Files(), "socket.io.min.js")
	brotli, _ := fs.ReadFile(client.Files(), "socket.io.min.js.br")
	for accept, codings := range map[string][2]string{ // with Brotli, and without
		"":                       {"", ""},
		"br":                     {"br", ""},
		"gzip, deflate, br":      {"gzip", "gzip"},
		"br, gzip":               {"br", "gzip"},
		"deflate, gzip":          {"deflate", "deflate"},
		"gzip;q=0.1, deflate":    {"deflate", "deflate"},
		"gzip;q=0.5, br;q=0.6":   {"br", "gzip"},
		"*":                      {"br", "gzip"},
		"gzip, *":                {"gzip", "gzip"},
		"gzip;q=0.5, *":          {"br", "deflate"},
		"br;q=0, *":              {"gzip", "gzip"},
		"identity":               {"", ""},
		"zstd, GZIP":             {"gzip", "gzip"},
		"br;q=0, gzip;q=nothing": {"", ""},
	} {
		equal(t, "Content-Encoding of a build without Brotli for "+accept, own.ask(http.MethodGet, "/socket.io.min.js", http.Header{"Accept-Encoding": {accept}}).Header.Get("Content-Encoding"), codings[1])
		resp := r.ask(http.MethodGet, "/socket.io/socket.io.min.js", http.Header{"Accept-Encoding": {accept}})
		equal(t, "Content-Encoding for "+accept, resp.Header.Get("Content-Encoding"), codings[0])
		var in io.Reader = resp.Body
		var err error
		switch codings[0] {
		case "gzip":
			in, err = gzip.NewReader(in)
		case "deflate":
			in, err = zlib.NewReader(in)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := body(t, in); got != string(want) && (codings[0] != "br" || got != string(brotli)) {
			t.Errorf("%s: not the file", accept)
		}
	}
}

func TestTheClientNeedsNoMethodAndNoOrigin(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{Origins: []string{"https://page.example"}})
	resp := r.ask(http.MethodHead, "/socket.io/socket.io.js", nil)
	equal(t, "HEAD", resp.StatusCode, http.StatusOK)
	equal(t, "body", body(t, resp.Body), "")
	resp = r.ask(http.MethodPost, "/socket.io/socket.io.js", http.Header{"Origin": {"https://page.example"}})
	equal(t, "POST", resp.StatusCode, http.StatusOK)
	equal(t, "CORS", resp.Header.Get("Access-Control-Allow-Origin"), "https://page.example")
	equal(t, "a foreign page may load the script", r.ask(http.MethodGet, "/socket.io/socket.io.js", http.Header{"Origin": {"https://other.example"}}).StatusCode, http.StatusOK)
}

func TestWhatIsNoClientFileGoesToTheEngine(t *testing.T) {
	t.Parallel()
	const refused = `{"code":0,"message":"Transport unknown"}`
	own := fstest.MapFS{"socket.io.js": {Data: []byte("own build")}}
	for _, tc := range []struct {
		opts core.Options
		name string
		want string
	}{
		{core.Options{}, "socket.io.js.txt", refused},
		{core.Options{}, "../client.go", refused},
		{core.Options{}, "index.d.ts", refused},
		{core.Options{}, "socket.io.js.br", refused},
		{core.Options{}, "socket.io.js/", refused},
		{core.Options{ServeClient: new(false)}, "socket.io.js", refused},
		{core.Options{ServeClient: new(false), ClientFS: own}, "socket.io.js", refused},
		{core.Options{ServeClient: new(true), ClientFS: own}, "socket.io.js", "own build"},
		{core.Options{ClientFS: own}, "socket.io.min.js", refused},
	} {
		r := start(t, &tc.opts)
		if got := body(t, r.ask(http.MethodGet, "/socket.io/"+tc.name, nil).Body); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}
