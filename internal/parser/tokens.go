package parser

import "bytes"

// tooManyTokens reports whether data, which is valid JSON, has more than limit
// values and keys. It looks at the bytes only where there can be that many: a
// token takes a byte, and all but the first follow a separator or an opening
// bracket.
func tooManyTokens(data []byte, limit int) bool {
	if len(data) <= limit {
		return false
	}
	bound := 1
	for _, sep := range [...]string{",", ":", "[", "{"} {
		bound += bytes.Count(data, []byte(sep))
	}
	return bound > limit && countTokens(data) > limit
}

// countTokens returns the number of values and keys in data, which is valid JSON.
func countTokens(data []byte) int {
	n := 1
	for i := 0; i < len(data); {
		switch data[i] {
		case '"':
			i = skipString(data, i)
			continue
		case ',', ':':
			n++
		case '[', '{':
			if next := skipSpace(data, i+1); next < len(data) && data[next] != ']' && data[next] != '}' {
				n++
			}
		}
		i++
	}
	return n
}
