package wsframe

import "encoding/binary"

// Opcodes.
const (
	Text   byte = 0x1
	Binary byte = 0x2
	Close  byte = 0x8
	Ping   byte = 0x9
	Pong   byte = 0xA
)

// Compressed, added to an opcode, sets the bit that marks a message of
// permessage-deflate (RFC 7692).
const Compressed byte = 0x40

// Close codes that servers send.
const (
	CodeProtocolError = 1002
	CodeInvalidText   = 1007
	CodePolicy        = 1008
	CodeTooBig        = 1009
)

const (
	// MaxHeader is the size of the longest header in bytes.
	MaxHeader = 10
	// MaxControl is the size limit of a control frame's payload in bytes.
	MaxControl = 125

	final = 0x80
)

// HeaderSize returns the size in bytes of the header of a frame with a payload of
// n bytes.
func HeaderSize(n int) int {
	switch {
	case n < 126:
		return 2
	case n < 1<<16:
		return 4
	default:
		return MaxHeader
	}
}

// AppendHeader appends the header of a frame with a payload of n bytes.
func AppendHeader(dst []byte, op byte, n int) []byte {
	switch HeaderSize(n) {
	case 2:
		return append(dst, final|op, byte(n))
	case 4:
		return binary.BigEndian.AppendUint16(append(dst, final|op, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, final|op, 127), uint64(n))
	}
}

// Put writes the header of the frame whose payload is buf[MaxHeader:] right before
// that payload, and returns where in buf the frame starts. buf must have at least
// MaxHeader bytes.
func Put(buf []byte, op byte) int {
	n := len(buf) - MaxHeader
	start := MaxHeader - HeaderSize(n)
	AppendHeader(buf[start:start], op, n)
	return start
}

// Append appends a whole frame.
func Append(dst []byte, op byte, payload []byte) []byte {
	return append(AppendHeader(dst, op, len(payload)), payload...)
}

// AppendClose appends a close frame without a reason text. Code 0 means without a
// code too; the peer then reports 1005.
func AppendClose(dst []byte, code int) []byte {
	if code == 0 {
		return AppendHeader(dst, Close, 0)
	}
	return binary.BigEndian.AppendUint16(AppendHeader(dst, Close, 2), uint16(code))
}
