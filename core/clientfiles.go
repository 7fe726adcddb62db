package core

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	browser "github.com/socketfleet/socketfleet/client"
	"github.com/socketfleet/socketfleet/internal/engineio"
)

// maxClientFile bounds the size of a client file, in bytes.
const maxClientFile = 16 << 20

// clientFileNames are the files a server offers, each with its source map
// (socket.io lib/index.ts), and the one of WebTransport, which is ours alone.
var clientFileNames = []string{
	"socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js",
	"socket.io.webtransport.min.js", "socket.io.webtransport.esm.min.js",
}

// clientFiles serves the browser client. Each file is read, and compressed, when
// it is first asked for, and then kept.
type clientFiles struct {
	files map[string]*clientFile // by name; immutable
}

type clientFile struct {
	mime string
	load func() (*fileBody, error)
}

// fileBody is what is kept of a file.
type fileBody struct {
	etag    string
	plain   []byte
	coded   map[string][]byte // by content coding
	offered []string          // the codings, in the order of preference
}

func newClientFiles(fsys fs.FS) *clientFiles {
	if fsys == nil {
		fsys = browser.Files()
	}
	c := &clientFiles{files: make(map[string]*clientFile)}
	add := func(name, mime string) {
		c.files[name] = &clientFile{mime, sync.OnceValues(func() (*fileBody, error) { return readClientFile(fsys, name) })}
	}
	for _, name := range clientFileNames {
		add(name, "application/javascript; charset=utf-8")
		add(name+".map", "application/json; charset=utf-8")
	}
	return c
}

func readClientFile(fsys fs.FS, name string) (*fileBody, error) {
	plain, err := readBounded(fsys, name)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(plain)
	body := &fileBody{
		etag:  base64.RawURLEncoding.EncodeToString(sum[:12]),
		plain: plain,
		coded: map[string][]byte{
			"gzip":    compressed(plain, func(w io.Writer) io.WriteCloser { z, _ := gzip.NewWriterLevel(w, gzip.BestCompression); return z }),
			"deflate": compressed(plain, func(w io.Writer) io.WriteCloser { z, _ := zlib.NewWriterLevel(w, zlib.BestCompression); return z }),
		},
		offered: []string{"gzip", "deflate"},
	}
	// Brotli, which Go cannot compress with, comes from the build of the client.
	if br, err := readBounded(fsys, name+".br"); err == nil {
		body.coded["br"] = br
		body.offered = []string{"br", "gzip", "deflate"} // the reference's order
	}
	return body, nil
}

func readBounded(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxClientFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxClientFile {
		return nil, errors.New("larger than 16 MiB")
	}
	return b, nil
}

// compressed returns b in a content coding.
func compressed(b []byte, writer func(io.Writer) io.WriteCloser) []byte {
	var out bytes.Buffer
	z := writer(&out)
	_, _ = z.Write(b) // a bytes.Buffer takes everything
	_ = z.Close()
	return out.Bytes()
}

// serve answers a request for a client file, whatever its method, query and
// directory. It returns false, with nothing written, for any other request and for
// a file that is not there.
func (c *clientFiles) serve(w http.ResponseWriter, r *http.Request) bool {
	_, name := path.Split(r.URL.Path)
	f := c.files[name]
	if f == nil {
		return false
	}
	body, err := f.load()
	if err != nil {
		return false
	}
	if matches(r.Header["If-None-Match"], body.etag) {
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=0")
	h.Set("Content-Type", f.mime)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Etag", `"`+body.etag+`"`)
	h.Add("Vary", "Accept-Encoding")
	out := body.plain
	if coding := engineio.Negotiate(r.Header["Accept-Encoding"], body.offered...); coding != "" {
		out = body.coded[coding]
		h.Set("Content-Encoding", coding)
	}
	h.Set("Content-Length", strconv.Itoa(len(out)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(out)
	}
	return true
}

// matches reports whether an If-None-Match header names a tag, strong or weak.
func matches(header []string, tag string) bool {
	for _, line := range header {
		for item := range strings.SplitSeq(line, ",") {
			item = strings.TrimSpace(item)
			if strings.TrimPrefix(item, "W/") == `"`+tag+`"` || item == "*" {
				return true
			}
		}
	}
	return false
}
