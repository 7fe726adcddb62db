package sid

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

const (
	epochLen = 6 // characters
	codeLen  = 8 // characters
	tailLen  = 1 + epochLen + codeLen

	codeBytes = codeLen * 3 / 4
)

// Signer makes session ids that name their owner and that only who knows the
// secret can make. It is immutable.
type Signer struct {
	key   []byte
	node  string
	epoch string
}

// NewSigner returns the signer of a process that starts now. It fails when node is
// no valid node id or secret is empty.
func NewSigner(secret, node string) (*Signer, error) {
	if secret == "" {
		return nil, fmt.Errorf("sid: no secret")
	}
	if !ValidNode(node) {
		return nil, fmt.Errorf("sid: node id %q: want 1 to %d letters, digits, '-' or '_'", node, MaxNode)
	}
	key := hmac.New(sha256.New, []byte(secret))
	key.Write([]byte("socketfleet session id 1"))
	return &Signer{key: key.Sum(nil), node: node, epoch: New()[:epochLen]}, nil
}

// Owner returns the name of this process among all that ever ran: the node id, a
// dot and the epoch.
func (s *Signer) Owner() string { return s.node + "." + s.epoch }

// New returns a new session id of this process.
func (s *Signer) New() string {
	id := s.node + "." + New() + "." + s.epoch
	return id + s.code(id)
}

// Verify reports whether a signer with the same secret made id.
func (s *Signer) Verify(id string) bool {
	p, ok := split(id)
	if !ok || p.tail == "" {
		return false
	}
	cut := len(id) - codeLen
	return hmac.Equal([]byte(id[cut:]), []byte(s.code(id[:cut])))
}

func (s *Signer) code(text string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:codeBytes])
}

// Owner returns the process that a signed session id names, as Signer.Owner does;
// ok is false when id is not valid or not signed. It does not check the signature.
func Owner(id string) (owner string, ok bool) {
	p, ok := split(id)
	if !ok || p.tail == "" {
		return "", false
	}
	return p.node + "." + p.tail[:epochLen], true
}
