package engineio

import (
	"bufio"
	"encoding/binary"
	"io"
	"math"

	"github.com/socketfleet/socketfleet/internal/wsframe"
)

const (
	// binaryFrame is set in the first byte of a frame whose payload is binary.
	binaryFrame = 0x80
	// maxFrame is the length that JavaScript can still tell exactly.
	maxFrame = 1<<53 - 1
)

// streamFrame turns a server's WebSocket frame into the frame of the same payload
// on a byte stream: both count alike, and a stream has no first byte.
func streamFrame(frame []byte) []byte { return frame[1:] }

// appendStreamBinary appends the header of a binary frame with n bytes.
func appendStreamBinary(dst []byte, n int) []byte {
	at := len(dst)
	dst = wsframe.AppendHeader(dst, wsframe.Binary, n)
	dst = append(dst[:at], dst[at+1:]...)
	dst[at] |= binaryFrame
	return dst
}

// frameHeader is what stands in front of a payload.
type frameHeader struct {
	binary bool
	length int64
}

// readFrameHeader reads the header whose first byte is c, as createPacketDecoderStream
// of engine.io-parser does: a length may take more bytes than it needs, but it must
// not be zero or above limit. A limit of zero is none.
func readFrameHeader(r io.Reader, c byte, limit int64) (h frameHeader, err error) {
	h = frameHeader{binary: c&binaryFrame != 0, length: int64(c &^ binaryFrame)}
	var more [8]byte
	switch h.length {
	case 126:
		if _, err = io.ReadFull(r, more[:2]); err == nil {
			h.length = int64(binary.BigEndian.Uint16(more[:2]))
		}
	case 127:
		if _, err = io.ReadFull(r, more[:]); err == nil {
			h.length = int64(min(binary.BigEndian.Uint64(more[:]), math.MaxInt64))
		}
	}
	switch {
	case err != nil:
		return h, err
	case h.length == 0:
		return h, errEmptyFrame
	case h.length > maxFrame, limit > 0 && h.length > limit:
		return h, errTooBig
	}
	return h, nil
}

// readFrameBody appends the payload to body, which grows with what has arrived and
// not with what the header promises.
func readFrameBody(r *bufio.Reader, length int64, body *[]byte) error {
	for left := length; left > 0; {
		free := room(body)
		n, err := r.Read(free[:min(int64(len(free)), left)])
		*body = (*body)[:len(*body)+n]
		left -= int64(n)
		if err != nil && left > 0 {
			return err
		}
	}
	return nil
}
