package engineio

import "bytes"

// separator stands between the packets of a polling payload.
const separator = 0x1e

// kind is what a received packet means to a session.
type kind uint8

const (
	kindIgnored kind = iota // no packet at all, which revision 3 allows
	kindOpen                // ignored, as kindNoop is
	kindNoop
	kindText
	kindBinary
	kindPing
	kindPong
	kindClose
	kindUpgrade
	kindInvalid
)

// packet is one received packet. data is without the type byte and shares the
// received bytes; for a kindBinary packet that came as text it is base64.
type packet struct {
	kind    kind
	encoded bool // data is base64
	data    []byte
}

// decodePacket reads a text packet, as in engine.io-parser decodePacket.ts.
func decodePacket(raw []byte) packet {
	if len(raw) == 0 {
		return packet{kind: kindInvalid}
	}
	p := packet{data: raw[1:]}
	switch raw[0] {
	case '0':
		p.kind = kindOpen
	case '6':
		p.kind = kindNoop
	case '1':
		p.kind = kindClose
	case '2':
		p.kind = kindPing
	case '3':
		p.kind = kindPong
	case '4':
		p.kind = kindText
	case '5':
		p.kind = kindUpgrade
	case 'b':
		p.kind, p.encoded = kindBinary, true
	default:
		p.kind = kindInvalid
	}
	return p
}

// nextPacket cuts the first packet off a polling payload; more tells whether a
// separator, and so another packet, follows.
func nextPacket(payload []byte) (p packet, rest []byte, more bool) {
	raw, rest, more := bytes.Cut(payload, []byte{separator})
	return decodePacket(raw), rest, more
}

// decodeBase64 decodes src in place and returns the decoded bytes. Like Node's
// Buffer it takes both alphabets, needs no padding and skips anything else.
func decodeBase64(src []byte) []byte {
	out := 0
	var acc uint32
	bits := 0
	for _, c := range src {
		if c == '=' {
			break
		}
		v := base64Value[c]
		if v < 0 {
			continue
		}
		acc = acc<<6 | uint32(v)
		if bits += 6; bits >= 8 {
			bits -= 8
			src[out] = byte(acc >> bits)
			out++
		}
	}
	return src[:out]
}

var base64Value = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		t[c] = int8(i)
	}
	t['-'], t['_'] = 62, 63
	return t
}()
