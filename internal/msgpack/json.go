package msgpack

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is the deepest nesting of arrays and maps that is read or written.
const MaxDepth = 128

// Errors of this package; they arrive wrapped with a position where one is known.
var (
	ErrDepth     = errors.New("msgpack: nested too deeply")
	ErrShort     = errors.New("msgpack: input ends early")
	ErrTrailing  = errors.New("msgpack: bytes after the value")
	ErrMalformed = errors.New("msgpack: malformed input")

	ErrTokens      = errors.New("msgpack: too many values")
	ErrAttachments = errors.New("msgpack: too many binary values")
)

func errAt(i int) error { return fmt.Errorf("%w at byte %d", ErrMalformed, i) }

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// scanValue checks the JSON value that starts at i, after white space, and
// returns where it ends.
func scanValue(b []byte, i, depth int) (int, error) {
	i = skipSpace(b, i)
	if i >= len(b) {
		return i, ErrShort
	}
	switch c := b[i]; c {
	case '{', '[':
		return scanContainer(b, i, depth)
	case '"':
		end, _, err := scanString(b, i)
		return end, err
	case 't':
		return scanWord(b, i, "true")
	case 'f':
		return scanWord(b, i, "false")
	case 'n':
		return scanWord(b, i, "null")
	default:
		end, _, err := scanNumber(b, i)
		return end, err
	}
}

func scanWord(b []byte, i int, w string) (int, error) {
	if len(b)-i < len(w) || string(b[i:i+len(w)]) != w {
		return i, errAt(i)
	}
	return i + len(w), nil
}

func scanContainer(b []byte, i, depth int) (int, error) {
	if depth >= MaxDepth {
		return i, ErrDepth
	}
	c := cursor{b: b, i: i, object: b[i] == '{'}
	for c.next() {
		end, err := scanValue(b, c.i, depth+1)
		if err != nil {
			return end, err
		}
		c.i = end
	}
	return c.i, c.err
}

// cursor steps through the members of the JSON object or array that starts at i.
// After next has returned true, i is where a value starts; the caller moves i to
// the end of that value. After next has returned false, i is the end of the
// container or err is set.
type cursor struct {
	b       []byte
	i       int
	object  bool
	key     []byte // of an object's member, with its quotes
	escaped bool   // key has escapes
	begun   bool
	err     error
}

func (c *cursor) next() bool {
	closing := byte(']')
	if c.object {
		closing = '}'
	}
	if !c.begun {
		c.begun = true
		c.i = skipSpace(c.b, c.i+1)
		if c.at(closing) {
			c.i++
			return false
		}
	} else {
		c.i = skipSpace(c.b, c.i)
		if c.at(closing) {
			c.i++
			return false
		}
		if !c.expect(',') {
			return false
		}
	}
	if c.object && !c.readKey() {
		return false
	}
	c.i = skipSpace(c.b, c.i)
	if c.i >= len(c.b) {
		c.err = ErrShort
		return false
	}
	return true
}

func (c *cursor) at(x byte) bool { return c.i < len(c.b) && c.b[c.i] == x }

func (c *cursor) expect(x byte) bool {
	if c.i >= len(c.b) {
		c.err = ErrShort
		return false
	}
	if c.b[c.i] != x {
		c.err = errAt(c.i)
		return false
	}
	c.i++
	return true
}

func (c *cursor) readKey() bool {
	c.i = skipSpace(c.b, c.i)
	if !c.at('"') {
		c.err = errAt(c.i)
		return false
	}
	end, escaped, err := scanString(c.b, c.i)
	if err != nil {
		c.err = err
		return false
	}
	c.key, c.escaped = c.b[c.i:end], escaped
	c.i = skipSpace(c.b, end)
	return c.expect(':')
}

// scanString checks the JSON string whose opening quote is at i. It reports
// whether the string cannot be used as it stands: it has escapes or bytes that
// are not UTF-8.
func scanString(b []byte, i int) (end int, escaped bool, err error) {
	ascii := true
	for j := i + 1; j < len(b); j++ {
		switch c := b[j]; {
		case c == '"':
			if !ascii && !escaped {
				escaped = !utf8.Valid(b[i:j])
			}
			return j + 1, escaped, nil
		case c == '\\':
			escaped = true
			n, err := escapeLen(b, j)
			if err != nil {
				return j, escaped, err
			}
			j += n - 1
		case c < 0x20:
			return j, escaped, errAt(j)
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return len(b), escaped, ErrShort
}

func escapeLen(b []byte, i int) (int, error) {
	if i+1 >= len(b) {
		return 0, ErrShort
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, nil
	case 'u':
		if _, ok := hex4(b, i+2); ok {
			return 6, nil
		}
	}
	return 0, errAt(i)
}

func hex4(b []byte, i int) (rune, bool) {
	if i+4 > len(b) {
		return 0, false
	}
	var r rune
	for _, c := range b[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unquote appends the text of a JSON string that scanString has accepted. Lone
// surrogates and bytes that are not UTF-8 become U+FFFD.
func unquote(dst, quoted []byte) []byte {
	s := quoted[1 : len(quoted)-1]
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			r, n := utf8.DecodeRune(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		if s[i+1] != 'u' {
			dst = append(dst, unescape(s[i+1]))
			i += 2
			continue
		}
		r, _ := hex4(s, i+2)
		i += 6
		if utf16.IsSurrogate(r) {
			r2 := rune(0)
			if i+1 < len(s) && s[i] == '\\' && s[i+1] == 'u' {
				r2, _ = hex4(s, i+2)
			}
			if r = utf16.DecodeRune(r, r2); r != utf8.RuneError {
				i += 6
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

func unescape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// scanNumber checks the JSON number that starts at i and reports whether it is
// written as an integer.
func scanNumber(b []byte, i int) (end int, integer bool, err error) {
	j := i
	if j < len(b) && b[j] == '-' {
		j++
	}
	k := digits(b, j)
	if k == j || (b[j] == '0' && k > j+1) {
		return i, false, errAt(i)
	}
	j, integer = k, true
	if j < len(b) && b[j] == '.' {
		if k = digits(b, j+1); k == j+1 {
			return i, false, errAt(j)
		}
		j, integer = k, false
	}
	if j < len(b) && (b[j] == 'e' || b[j] == 'E') {
		j++
		if j < len(b) && (b[j] == '+' || b[j] == '-') {
			j++
		}
		if k = digits(b, j); k == j {
			return i, false, errAt(j)
		}
		j, integer = k, false
	}
	return j, integer, nil
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}

const hexDigits = "0123456789abcdef"

// AppendQuoted appends s as a JSON string, escaped as JSON.stringify does. Bytes
// that are not UTF-8 become U+FFFD.
func AppendQuoted[S ~string | ~[]byte](dst []byte, s S) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = utf8.AppendRune(dst, utf8.RuneError)
		} else {
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, c)
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// maxSafe is JavaScript's Number.MAX_SAFE_INTEGER.
const maxSafe = 1<<53 - 1

// appendFloat appends f as JSON.stringify writes it: NaN and infinities as null,
// exponents from 1e21 and below 1e-6.
func appendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	if f == 0 {
		return append(dst, '0')
	}
	abs := math.Abs(f)
	if abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	// strconv pads the exponent to two digits, JavaScript does not.
	if n := len(dst); n >= 4 && dst[n-2] == '0' && (dst[n-3] == '-' || dst[n-3] == '+') {
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}
