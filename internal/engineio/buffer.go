package engineio

import (
	"io"
	"sync"
)

const (
	firstBuffer = 4 << 10
	// keepBuffer is the largest buffer that goes back into a pool.
	keepBuffer = 128 << 10
)

// bufferPool lends byte slices. Nothing of them may be kept by a handler.
type bufferPool struct{ p sync.Pool }

var buffers bufferPool

// get returns an empty slice with some capacity.
func (b *bufferPool) get() *[]byte {
	if buf, ok := b.p.Get().(*[]byte); ok {
		return buf
	}
	buf := make([]byte, 0, firstBuffer)
	return &buf
}

func (b *bufferPool) put(buf *[]byte) {
	if cap(*buf) > keepBuffer {
		return
	}
	*buf = (*buf)[:0]
	b.p.Put(buf)
}

// readAll appends all of r to buf.
func readAll(r io.Reader, buf *[]byte) error {
	for {
		n, err := r.Read(room(buf))
		*buf = (*buf)[:len(*buf)+n]
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// room returns the free part of buf, which it makes if there is none.
func room(buf *[]byte) []byte {
	b := *buf
	if len(b) == cap(b) {
		b = append(b, 0)[:len(b)]
		*buf = b
	}
	return b[len(b):cap(b)]
}
