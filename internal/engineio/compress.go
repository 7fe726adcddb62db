package engineio

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// fastest is the default level. What is compressed is text that repeats itself, on
// its way to many clients.
const fastest = 1

type compressor interface {
	io.WriteCloser
	Flush() error
	Reset(io.Writer)
}

// Content codings. "deflate" is zlib's framing; rawDeflate is for WebSocket.
const (
	codingGzip    = "gzip"
	codingDeflate = "deflate"
	rawDeflate    = ""
)

// compression lends compressors of one level, no more than so many at a time.
type compression struct {
	threshold int // size in bytes from which it is worth it; 0: never
	slots     chan struct{}
	pools     map[string]*sync.Pool // by coding
}

func newCompression(threshold, level, concurrency int) *compression {
	return &compression{
		threshold: threshold,
		slots:     make(chan struct{}, max(concurrency, 1)),
		pools: map[string]*sync.Pool{
			codingGzip:    compressorPool(func() (compressor, error) { return gzip.NewWriterLevel(io.Discard, level) }),
			codingDeflate: compressorPool(func() (compressor, error) { return zlib.NewWriterLevel(io.Discard, level) }),
			rawDeflate:    compressorPool(func() (compressor, error) { return flate.NewWriter(io.Discard, level) }),
		},
	}
}

func compressorPool(make func() (compressor, error)) *sync.Pool {
	return &sync.Pool{New: func() any {
		z, _ := make() // the level has been checked
		return z
	}}
}

func (c *compression) wants(n int) bool { return c.threshold > 0 && n >= c.threshold }

// append appends src, compressed, to dst.
func (c *compression) append(coding string, src []byte, dst *[]byte) {
	c.slots <- struct{}{}
	defer func() { <-c.slots }()
	pool := c.pools[coding]
	z := pool.Get().(compressor)
	out := bytes.NewBuffer(*dst)
	z.Reset(out)
	_, _ = z.Write(src) // a bytes.Buffer takes everything
	if coding == rawDeflate {
		_ = z.Flush()
	} else {
		_ = z.Close()
	}
	z.Reset(io.Discard)
	pool.Put(z)
	*dst = out.Bytes()
}

// Negotiate chooses one of the offered content codings by the Accept-Encoding
// header: the higher weight, then one that is named before one that * stands for,
// then the client's order, then the server's. It is empty for none. The rules are
// those of the negotiator package, which the reference uses.
func Negotiate(accept []string, offered ...string) string {
	best, bestQ, any, anyQ := "", 0.0, false, 0.0
	named := make(map[string]bool, len(offered))
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, q := coding(part)
		if name == "*" {
			any, anyQ = true, q
			continue
		}
		if !slices.Contains(offered, name) {
			continue
		}
		named[name] = true
		if q > bestQ {
			best, bestQ = name, q
		}
	}
	if any && anyQ > bestQ {
		for _, name := range offered {
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
