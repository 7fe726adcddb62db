package parser

import (
	"encoding/binary"
	"unicode/utf8"
)

// mark is a placeholder object found by the scanner.
type mark struct {
	at, end int
	num     int
}

// scanner validates one JSON text (RFC 8259) in one pass, and collects
// placeholders when asked to. Its methods take the position to start at and
// return the one after what they read, or -1 when it is invalid.
type scanner struct {
	data     []byte
	maxDepth int
	collect  int // placeholders to collect; one more is an error; 0: ignore them
	marks    []mark

	failAt     int
	failReason string
	deep       bool // the failure is maxDepth
}

// scan validates s.data as one JSON value with nothing but white space around
// it.
func (s *scanner) scan() error {
	i := s.value(s.space(0), 0)
	if i >= 0 {
		if i = s.space(i); i == len(s.data) {
			return nil
		}
		s.fail(i, "unexpected data after the value")
	}
	return &SyntaxError{Offset: s.failAt, Reason: s.failReason}
}

func (s *scanner) fail(i int, reason string) int {
	s.failAt, s.failReason = i, reason
	return -1
}

func (s *scanner) space(i int) int {
	for i < len(s.data) && isSpace(s.data[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func (s *scanner) value(i, depth int) int {
	if i >= len(s.data) {
		return s.fail(i, "unexpected end")
	}
	switch c := s.data[i]; c {
	case '"':
		return s.str(i)
	case '[':
		return s.array(i, depth+1)
	case '{':
		return s.object(i, depth+1)
	case 't':
		return s.literal(i, "true")
	case 'f':
		return s.literal(i, "false")
	case 'n':
		return s.literal(i, "null")
	default:
		if c == '-' || isDigit(c) {
			return s.number(i)
		}
		return s.fail(i, "unexpected character")
	}
}

func (s *scanner) literal(i int, want string) int {
	end := i + len(want)
	if end > len(s.data) || string(s.data[i:end]) != want {
		return s.fail(i, "invalid literal")
	}
	return end
}

func (s *scanner) array(i, depth int) int {
	if depth > s.maxDepth {
		s.deep = true
		return s.fail(i, "nested too deeply")
	}
	i = s.space(i + 1)
	if i < len(s.data) && s.data[i] == ']' {
		return i + 1
	}
	for {
		if i = s.value(i, depth); i < 0 {
			return -1
		}
		i = s.space(i)
		if i >= len(s.data) {
			return s.fail(i, "unexpected end of array")
		}
		switch s.data[i] {
		case ',':
			i = s.space(i + 1)
		case ']':
			return i + 1
		default:
			return s.fail(i, "expected , or ] in array")
		}
	}
}

func (s *scanner) object(start, depth int) int {
	if depth > s.maxDepth {
		return s.fail(start, "nested too deeply")
	}
	i := s.space(start + 1)
	if i < len(s.data) && s.data[i] == '}' {
		return i + 1
	}
	inner := len(s.marks)
	var found placeholder
	for {
		key := i
		if i = s.key(i); i < 0 {
			return -1
		}
		keyEnd := i
		i = s.space(i)
		if i >= len(s.data) || s.data[i] != ':' {
			return s.fail(i, "expected : in object")
		}
		i = s.space(i + 1)
		val := i
		if i = s.value(i, depth); i < 0 {
			return -1
		}
		if s.collect > 0 {
			found.member(s.data[key:keyEnd], s.data[val:i])
		}
		i = s.space(i)
		if i >= len(s.data) {
			return s.fail(i, "unexpected end of object")
		}
		switch s.data[i] {
		case ',':
			i = s.space(i + 1)
		case '}':
			return s.endObject(start, i+1, inner, found)
		default:
			return s.fail(i, "expected , or } in object")
		}
	}
}

// endObject records the object if it was a placeholder. inner is the number of
// marks before the object was entered.
func (s *scanner) endObject(start, end, inner int, found placeholder) int {
	if !found.is {
		return end
	}
	if len(s.marks) > inner || len(s.marks) == s.collect {
		return s.fail(start, "illegal placeholder")
	}
	s.marks = append(s.marks, mark{at: start, end: end, num: found.number()})
	return end
}

// placeholder gathers the members that tell a placeholder from other objects.
// As in JavaScript, the last of equal keys wins.
type placeholder struct {
	is  bool
	num []byte
}

func (p *placeholder) member(key, val []byte) {
	switch string(key) {
	case `"_placeholder"`:
		p.is = string(val) == "true"
	case `"num"`:
		p.num = val
	}
}

// number returns the placeholder's number, or -1 when it is none: the grammar
// of JSON has been checked, so digits alone make a non-negative integer.
func (p *placeholder) number() int {
	if len(p.num) == 0 || len(p.num) > 4 {
		return -1
	}
	n := 0
	for _, c := range p.num {
		if !isDigit(c) {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

func (s *scanner) key(i int) int {
	if i >= len(s.data) || s.data[i] != '"' {
		return s.fail(i, "expected an object key")
	}
	return s.str(i)
}

func (s *scanner) str(i int) int {
	data := s.data
	i++
	for {
		i = skipPlain(data, i)
		if i >= len(data) {
			return s.fail(i, "unexpected end of string")
		}
		switch c := data[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			n := escapeLen(data[i:])
			if n == 0 {
				return s.fail(i, "invalid escape in string")
			}
			i += n
		case c < ' ':
			return s.fail(i, "control character in string")
		default:
			r, n := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && n == 1 {
				return s.fail(i, "invalid UTF-8 in string")
			}
			i += n
		}
	}
}

// skipPlain returns the position of the next byte at or after i that needs a
// look: a quote, a backslash, a control character or the start of a rune outside
// ASCII. It tests eight bytes at a time.
func skipPlain(data []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for i+8 <= len(data) {
		w := binary.LittleEndian.Uint64(data[i:])
		quote := w ^ ones*'"'
		slash := w ^ ones*'\\'
		if (w|(w-ones*' ')|(quote-ones)|(slash-ones))&highs != 0 {
			break
		}
		i += 8
	}
	for i < len(data) && plain[data[i]] {
		i++
	}
	return i
}

// plain says which bytes may stand in a JSON string by themselves.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// escapeLen returns the length of the escape sequence b starts with, or 0 when
// it is invalid.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, c := range b[2:6] {
			if !isHex(c) {
				return 0
			}
		}
		return 6
	}
	return 0
}

func isHex(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func (s *scanner) number(i int) int {
	if s.data[i] == '-' {
		i++
	}
	start := i
	i = s.digits(i)
	if i == start {
		return s.fail(i, "invalid number")
	}
	if s.data[start] == '0' && i > start+1 {
		return s.fail(start, "leading zero in number")
	}
	if i < len(s.data) && s.data[i] == '.' {
		start, i = i+1, s.digits(i+1)
		if i == start {
			return s.fail(i, "invalid fraction")
		}
	}
	if i < len(s.data) && s.data[i]|0x20 == 'e' {
		i++
		if i < len(s.data) && (s.data[i] == '+' || s.data[i] == '-') {
			i++
		}
		start, i = i, s.digits(i)
		if i == start {
			return s.fail(i, "invalid exponent")
		}
	}
	return i
}

func (s *scanner) digits(i int) int {
	for i < len(s.data) && isDigit(s.data[i]) {
		i++
	}
	return i
}
