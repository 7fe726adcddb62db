package sid

import (
	"crypto/rand"
	"encoding/base64"
)

const (
	// Len is the length of a plain id in characters.
	Len = 20
	// MaxNode is the length limit of a node id in characters.
	MaxNode = 43
	// MaxLen is the length limit of a session id: a node id, a dot, a plain id, and
	// what a Signer adds.
	MaxLen = MaxNode + 1 + Len + tailLen

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

// Valid reports whether id has the form that Engine or a Signer produces. It says
// nothing about whether such a session exists, or who made the id.
func Valid(id string) bool {
	_, ok := split(id)
	return ok
}

// Node returns the node id that a session id carries; ok is false when id is not
// valid or carries none.
func Node(id string) (node string, ok bool) {
	parts, ok := split(id)
	return parts.node, ok && parts.node != ""
}

// parts are what a session id consists of.
type parts struct {
	node   string // empty: none
	random string
	tail   string // the epoch and the code of a signed id; empty: not signed
}

// split takes an id apart from its end, where every length is known.
func split(id string) (p parts, ok bool) {
	if len(id) < Len || len(id) > MaxLen {
		return parts{}, false
	}
	if cut := len(id) - tailLen; cut > Len && id[cut] == '.' && id[cut-Len-1] == '.' {
		p.tail, id = id[cut+1:], id[:cut]
	}
	cut := len(id) - Len
	p.random = id[cut:]
	if cut > 0 {
		if p.node = id[:cut-1]; id[cut-1] != '.' || !ValidNode(p.node) {
			return parts{}, false
		}
	}
	if !plain(p.random) || !plain(p.tail) {
		return parts{}, false
	}
	return p, true
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
