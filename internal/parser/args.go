package parser

import (
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"strconv"
)

// The functions of this file read JSON that has been validated. They do not
// panic on other input, but what they return for it means nothing.

// EventName returns the name of an event, the first element of data, and the
// offset in data of what follows its comma, or of the closing bracket when there
// are no arguments. A number counts as a name and becomes the text JavaScript
// makes of it. ok is false when data is no event.
func EventName(data []byte) (name string, args int, ok bool) {
	b, ok := NameBytes(data)
	if !ok {
		return "", 0, false
	}
	next, _ := nextElement(data, skipValue(data, skipSpace(data, 1)))
	return string(b), next, true
}

// NameBytes is EventName without the allocation: the name aliases data where it
// stands there as it is.
func NameBytes(data []byte) (name []byte, ok bool) {
	if len(data) == 0 || data[0] != '[' {
		return nil, false
	}
	start := skipSpace(data, 1)
	if start >= len(data) {
		return nil, false
	}
	raw := data[start:skipValue(data, start)]
	switch c := raw[0]; {
	case c == '"':
		return unquote(raw)
	case c == '-' || isDigit(c):
		return numberText(raw), true
	}
	return nil, false
}

// unquote returns the text of a JSON string.
func unquote(raw []byte) ([]byte, bool) {
	if len(raw) < 2 {
		return nil, false
	}
	if i := plainEnd(raw); i == len(raw)-1 {
		return raw[1:i], true
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return nil, false
	}
	return []byte(s), true
}

// plainEnd returns the offset of the first quote or backslash inside a string.
func plainEnd(raw []byte) int {
	i := 1
	for i < len(raw) && raw[i] != '"' && raw[i] != '\\' {
		i++
	}
	return i
}

// numberText returns what String(number) is in JavaScript. Small integers, the
// only names anybody uses, are returned as they stand.
func numberText(raw []byte) []byte {
	integer := len(raw) <= 15 && raw[0] != '-'
	for _, c := range raw {
		integer = integer && isDigit(c)
	}
	if integer {
		return raw
	}
	f, _ := strconv.ParseFloat(string(raw), 64)
	if math.IsInf(f, 0) {
		if f < 0 {
			return []byte("-Infinity")
		}
		return []byte("Infinity")
	}
	return appendFloat(nil, f)
}

// Elements yields the top-level elements of data, a JSON array, as they stand
// there.
func Elements(data []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for s := range spans(data) {
			if !yield(data[s.from:s.to:s.to]) {
				return
			}
		}
	}
}

type span struct{ from, to int }

func spans(data []byte) iter.Seq[span] {
	return func(yield func(span) bool) {
		if len(data) == 0 || data[0] != '[' {
			return
		}
		i, more := skipSpace(data, 1), true
		for more && i < len(data) && data[i] != ']' {
			end := skipValue(data, i)
			if !yield(span{i, end}) {
				return
			}
			i, more = nextElement(data, end)
		}
	}
}

// nextElement goes from the end of one element of an array to the start of the
// next, or to the closing bracket.
func nextElement(data []byte, i int) (int, bool) {
	i = skipSpace(data, i)
	if i < len(data) && data[i] == ',' {
		return skipSpace(data, i+1), true
	}
	return i, false
}

func skipSpace(data []byte, i int) int {
	for i < len(data) && isSpace(data[i]) {
		i++
	}
	return i
}

// skipValue returns the offset after the value that starts at i. It always
// moves on when i is inside data.
func skipValue(data []byte, i int) int {
	depth := 0
	for i < len(data) {
		switch data[i] {
		case '"':
			i = skipString(data, i)
		case '[', '{':
			depth++
			i++
		case ']', '}':
			depth--
			i++
		case ',', ':', ' ', '\n', '\t', '\r':
			i++
		default:
			i = skipScalar(data, i)
		}
		if depth <= 0 {
			return i
		}
	}
	return i
}

func skipString(data []byte, i int) int {
	for i++; i < len(data); i++ {
		switch data[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return len(data)
}

func skipScalar(data []byte, i int) int {
	for ; i < len(data); i++ {
		switch data[i] {
		case ',', ':', ']', '}', '[', '{', '"', ' ', '\n', '\t', '\r':
			return i
		}
	}
	return i
}

// Args is an index over the elements of a JSON array that decodes them one by
// one. The offsets are computed on first use. It is not safe for concurrent use.
type Args struct {
	Data        []byte
	Attachments []Attachment
	// Skip is the number of leading elements that do not count: 1 for an event,
	// whose first element is the name.
	Skip int

	index   []span
	indexed bool
}

func (a *Args) spans() []span {
	if !a.indexed {
		a.indexed = true
		n := 0
		for s := range spans(a.Data) {
			if n++; n > a.Skip {
				a.index = append(a.index, s)
			}
		}
	}
	return a.index
}

// Len returns the number of arguments.
func (a *Args) Len() int { return len(a.spans()) }

// Raw returns argument i as it stands in Data and its offset there; nil when
// there is no such argument.
func (a *Args) Raw(i int) (raw []byte, base int) {
	s := a.spans()
	if i < 0 || i >= len(s) {
		return nil, 0
	}
	return a.Data[s[i].from:s[i].to:s[i].to], s[i].from
}

// Decode decodes argument i into v, a pointer, with the codec c.
func (a *Args) Decode(c Codec, i int, v any) error {
	raw, base := a.Raw(i)
	if raw == nil {
		return fmt.Errorf("parser: no argument %d: there are %d", i, a.Len())
	}
	return c.Decode(raw, a.Attachments, base, v)
}
