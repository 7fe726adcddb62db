package engineio

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// Compression is for text that repeats itself, on the way to many clients: the
// fastest level.
const level = 1

type compressor interface {
	io.WriteCloser
	Reset(io.Writer)
}

// compressors has a pool per content coding. "deflate" is zlib's framing.
var compressors = map[string]*sync.Pool{
	"gzip": {New: func() any {
		z, _ := gzip.NewWriterLevel(io.Discard, level) // the level is valid
		return z
	}},
	"deflate": {New: func() any {
		z, _ := zlib.NewWriterLevel(io.Discard, level)
		return z
	}},
}

// deflate compresses src into dst.
func deflate(name string, src []byte, dst *[]byte) {
	pool := compressors[name]
	z := pool.Get().(compressor)
	out := bytes.NewBuffer(*dst)
	z.Reset(out)
	_, _ = z.Write(src) // a bytes.Buffer takes everything
	_ = z.Close()
	z.Reset(io.Discard)
	pool.Put(z)
	*dst = out.Bytes()
}

// negotiate chooses a content coding by the Accept-Encoding header: the higher
// weight, then the client's order. Empty: none.
func negotiate(accept []string) string {
	best, bestQ, any, anyQ := "", 0.0, false, 0.0
	named := make(map[string]bool, len(compressors))
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, q := coding(part)
		if name == "*" {
			any, anyQ = true, q
			continue
		}
		if compressors[name] == nil {
			continue
		}
		named[name] = true
		if q > bestQ {
			best, bestQ = name, q
		}
	}
	if any && anyQ > bestQ {
		for _, name := range []string{"gzip", "deflate"} {
			if !named[name] {
				return name
			}
		}
	}
	return best
}

// coding parses one element of an Accept-Encoding header.
func coding(part string) (name string, q float64) {
	name, params, _ := strings.Cut(part, ";")
	q = 1
	for param := range strings.SplitSeq(params, ";") {
		key, value, ok := strings.Cut(strings.TrimSpace(param), "=")
		if ok && strings.EqualFold(key, "q") {
			var err error
			if q, err = strconv.ParseFloat(value, 64); err != nil {
				q = 0
			}
		}
	}
	return strings.ToLower(strings.TrimSpace(name)), q
}

func isUnsupported(err error) bool { return errors.Is(err, http.ErrNotSupported) }
