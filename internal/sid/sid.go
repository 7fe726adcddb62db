package sid

import (
	"crypto/rand"
	"encoding/base64"
	"strings"
)

const (
	// Len is the length of a plain id in characters.
	Len = 20
	// MaxNode is the length limit of a node id in characters.
	MaxNode = 43
	// MaxLen is the length limit of a session id: a node id, a dot, a plain id.
	MaxLen = MaxNode + 1 + Len

	randomBytes = Len * 3 / 4
)

// New returns a plain id with 120 random bits.
func New() string {
	var raw [randomBytes]byte
	_, _ = rand.Read(raw[:]) // never fails: it ends the process instead
	var text [Len]byte
	base64.RawURLEncoding.Encode(text[:], raw[:])
	return string(text[:])
}

// Engine returns a new session id: a plain id, preceded by node and a dot unless
// node is empty.
func Engine(node string) string {
	if node == "" {
		return New()
	}
	return node + "." + New()
}

// Valid reports whether id has the form that Engine produces. It says nothing
// about whether such a session exists.
func Valid(id string) bool {
	if len(id) < Len || len(id) > MaxLen {
		return false
	}
	cut := len(id) - Len
	if !plain(id[cut:]) {
		return false
	}
	return cut == 0 || id[cut-1] == '.' && ValidNode(id[:cut-1])
}

// Node returns the node id that a session id carries; ok is false when id is not
// valid or carries none.
func Node(id string) (node string, ok bool) {
	if !Valid(id) {
		return "", false
	}
	cut := strings.LastIndexByte(id, '.')
	if cut < 0 {
		return "", false
	}
	return id[:cut], true
}

// ValidNode reports whether node may stand in front of a session id: 1 to MaxNode
// characters out of letters, digits, '-' and '_'.
func ValidNode(node string) bool {
	return node != "" && len(node) <= MaxNode && plain(node)
}

func plain(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
