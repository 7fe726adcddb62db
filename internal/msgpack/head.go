package msgpack

import "encoding/binary"

type kind uint8

const (
	kindNil kind = iota
	kindBool
	kindNumber
	kindString
	kindBinary
	kindExt
	kindArray
	kindMap
)

// head describes the value at the front of a buffer.
type head struct {
	kind  kind
	head  int // bytes before the content
	size  int // bytes up to the end of the content; for a container, of its header
	items int // values inside a container: keys and values of a map count apart
}

// readHead reads the header of the value at the front of b. Content of scalars
// lies within b, and a container has no more items than bytes remain.
func readHead(b []byte) (head, error) {
	if len(b) == 0 {
		return head{}, ErrShort
	}
	h, err := parseHead(b)
	if err != nil {
		return h, err
	}
	if h.size < h.head || h.size > len(b) || h.items > len(b)-h.size {
		return h, ErrShort
	}
	return h, nil
}

func parseHead(b []byte) (head, error) {
	switch c := b[0]; {
	case c <= 0x7f, c >= 0xe0:
		return head{kindNumber, 1, 1, 0}, nil
	case c <= 0x8f:
		return head{kindMap, 1, 1, 2 * int(c&0x0f)}, nil
	case c <= 0x9f:
		return head{kindArray, 1, 1, int(c & 0x0f)}, nil
	case c <= 0xbf:
		return head{kindString, 1, 1 + int(c&0x1f), 0}, nil
	case c == 0xc0:
		return head{kindNil, 1, 1, 0}, nil
	case c == 0xc2, c == 0xc3:
		return head{kindBool, 1, 1, 0}, nil
	case c >= 0xc4 && c <= 0xc6:
		return sized(kindBinary, b, c-0xc4, 0)
	case c >= 0xc7 && c <= 0xc9:
		return sized(kindExt, b, c-0xc7, 1)
	case c == 0xca, c == 0xce, c == 0xd2:
		return head{kindNumber, 1, 5, 0}, nil
	case c == 0xcb, c == 0xcf, c == 0xd3:
		return head{kindNumber, 1, 9, 0}, nil
	case c == 0xcc, c == 0xd0:
		return head{kindNumber, 1, 2, 0}, nil
	case c == 0xcd, c == 0xd1:
		return head{kindNumber, 1, 3, 0}, nil
	case c >= 0xd4 && c <= 0xd8:
		return head{kindExt, 2, 2 + 1<<(c-0xd4), 0}, nil
	case c >= 0xd9 && c <= 0xdb:
		return sized(kindString, b, c-0xd9, 0)
	case c == 0xdc, c == 0xdd:
		return counted(kindArray, b, c-0xdc+1, 1)
	case c == 0xde, c == 0xdf:
		return counted(kindMap, b, c-0xde+1, 2)
	}
	return head{}, ErrMalformed
}

// sized reads a length of 1<<log bytes, followed by extra bytes of header.
func sized(k kind, b []byte, log byte, extra int) (head, error) {
	n, at, ok := length(b, log)
	if !ok || n > len(b) {
		return head{}, ErrShort
	}
	return head{k, at + extra, at + extra + n, 0}, nil
}

func counted(k kind, b []byte, log byte, per int) (head, error) {
	n, at, ok := length(b, log)
	if !ok || n > len(b) {
		return head{}, ErrShort
	}
	return head{k, at, at, n * per}, nil
}

func length(b []byte, log byte) (n, at int, ok bool) {
	at = 1 + 1<<log
	if len(b) < at {
		return 0, 0, false
	}
	switch log {
	case 0:
		return int(b[1]), at, true
	case 1:
		return int(binary.BigEndian.Uint16(b[1:])), at, true
	}
	return int(binary.BigEndian.Uint32(b[1:])), at, true
}

// Skip returns what follows the first MessagePack value of b. It does not
// recurse, so nesting costs it nothing.
func Skip(b []byte) ([]byte, error) {
	for pending := 1; pending > 0; pending-- {
		h, err := readHead(b)
		if err != nil {
			return b, err
		}
		b = b[h.size:]
		if pending += h.items; pending-1 > len(b) {
			return b, ErrShort
		}
	}
	return b, nil
}
