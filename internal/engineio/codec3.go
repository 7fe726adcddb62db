package engineio

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// revision is a protocol revision. It belongs to the session: whatever a later
// request of the session claims is checked against it.
type revision uint8

const (
	revision3 revision = 3
	revision4 revision = 4
)

// maxLengthDigits bounds the decimal lengths of revision 3. The reference takes up
// to 310 digits, none of which a payload can live up to.
const maxLengthDigits = 9

// binaryMessage is the type byte in front of binary data in revision 3.
const binaryMessage = 4

var invalidPacket = packet{kind: kindInvalid}

// decodePacket3 reads a text packet of revision 3, as in engine.io
// parser-v3/index.ts. It differs from revision 4 in the type digit of base64.
func decodePacket3(raw []byte) packet {
	p := decodePacket(raw)
	if p.kind != kindBinary {
		return p
	}
	if len(p.data) == 0 || p.data[0] != '4' {
		return invalidPacket
	}
	p.data = p.data[1:]
	return p
}

// decodeBinary3 reads a binary packet of revision 3. Only messages are ever
// binary.
func decodeBinary3(raw []byte) packet {
	if len(raw) == 0 || raw[0] != binaryMessage {
		return invalidPacket
	}
	return packet{kind: kindBinary, data: raw[1:]}
}

// nextText3 cuts the first packet off a text payload of revision 3, whose packets
// are "<length>:<packet>" with lengths in UTF-16 code units. Empty packets are
// skipped over, as in the reference.
func nextText3(payload []byte) (p packet, rest []byte, more bool) {
	digits, _, found := bytes.Cut(payload[:min(len(payload), maxLengthDigits+1)], []byte{':'})
	n, ok := parseLength(digits, '0')
	if !found || !ok {
		return invalidPacket, nil, false
	}
	rest = payload[len(digits)+1:]
	end, ok := skipUnits(rest, n)
	if !ok {
		return invalidPacket, nil, false
	}
	raw := rest[:end]
	rest = rest[end:]
	if n == 0 {
		return packet{kind: kindIgnored}, rest, len(rest) > 0
	}
	return decodePacket3(raw), rest, len(rest) > 0
}

// nextBinary3 cuts the first packet off a binary payload of revision 3: a marker
// for text or binary, the length in bytes as digits with the values 0 to 9, 0xff,
// the packet. It mends lone surrogates in place.
func nextBinary3(payload []byte) (p packet, rest []byte, more bool) {
	if len(payload) == 0 || payload[0] > 1 {
		return invalidPacket, nil, false
	}
	body := payload[1:]
	digits, _, found := bytes.Cut(body[:min(len(body), maxLengthDigits+1)], []byte{0xff})
	n, ok := parseLength(digits, 0)
	if !found || !ok || n > len(body)-len(digits)-1 {
		return invalidPacket, nil, false
	}
	body = body[len(digits)+1:]
	raw, rest := body[:n], body[n:]
	if payload[0] == 1 {
		return decodeBinary3(raw), rest, len(rest) > 0
	}
	if !mendSurrogates(raw) {
		return invalidPacket, nil, false
	}
	return decodePacket3(raw), rest, len(rest) > 0
}

// parseLength reads decimal digits, the first of which is zero.
func parseLength(digits []byte, zero byte) (n int, ok bool) {
	if len(digits) == 0 || len(digits) > maxLengthDigits {
		return 0, false
	}
	for _, c := range digits {
		if c < zero || c > zero+9 {
			return 0, false
		}
		n = n*10 + int(c-zero)
	}
	return n, true
}

// skipUnits returns how many bytes of text make n UTF-16 code units.
func skipUnits(text []byte, n int) (end int, ok bool) {
	for n > 0 && end < len(text) {
		r, size := utf8.DecodeRune(text[end:])
		n -= unitsOf(r)
		end += size
	}
	return end, n == 0
}

// mendSurrogates replaces encoded lone surrogates, which JavaScript strings may
// hold, by U+FFFD, which is as long. It returns false for text that is no UTF-8
// even so.
func mendSurrogates(text []byte) bool {
	if utf8.Valid(text) {
		return true
	}
	for i := 0; i+2 < len(text); i++ {
		if text[i] == 0xed && text[i+1]&0xe0 == 0xa0 && text[i+2]&0xc0 == 0x80 {
			copy(text[i:], "\uFFFD")
		}
	}
	return utf8.Valid(text)
}

// appendText3 appends a packet to a text payload of revision 3.
func appendText3(dst, packet []byte, units int) []byte {
	dst = strconv.AppendInt(dst, int64(units), 10)
	dst = append(dst, ':')
	return append(dst, packet...)
}

// appendBinary3 appends the head of a packet of n bytes to a binary payload of
// revision 3.
func appendBinary3(dst []byte, marker byte, n int) []byte {
	dst = append(dst, marker)
	start := len(dst)
	dst = strconv.AppendInt(dst, int64(n), 10)
	for i := start; i < len(dst); i++ {
		dst[i] -= '0'
	}
	return append(dst, 0xff)
}
