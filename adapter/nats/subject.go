package nats

import (
	"crypto/sha256"
	"encoding/base64"

	"github.com/socketfleet/socketfleet/adapter"
)

// Subjects of one namespace:
//
//	<prefix>.<namespace>.all         for all its nodes
//	<prefix>.<namespace>.beat        heartbeats and goodbyes, which emitters hear too
//	<prefix>.<namespace>.room.<room> for the nodes with sockets in a room
//	<prefix>.<namespace>.node.<id>   for one node
//	<prefix>.log.<namespace>         what the stream keeps
//
// and <prefix>.session.<hash> for what the stream of sessions keeps. A namespace's
// token begins with "_" or "~", so that it is never "log" or "session".

// maxPlain is the longest name that stands for itself.
const maxPlain = 64

// token returns a subject token for a name that users may choose: no dots,
// wildcards, spaces or control characters, never empty, of bounded length, because
// a longer line than the server allows costs the whole connection. Names that are
// not plain are hashed; two names with one token would only cost a message that is
// for nobody, since the message itself says whom it is for.
func token(name string) string {
	if len(name) <= maxPlain && plain(name) {
		return "_" + name
	}
	sum := sha256.Sum256([]byte(name))
	return "~" + base64.RawURLEncoding.EncodeToString(sum[:18])
}

// plain reports whether s is not empty and all letters, digits, "_" and "-".
func plain(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return s != ""
}

func (b *bus) base(namespace string) string { return b.opts.Prefix + "." + token(namespace) }

func (b *bus) subjectAll(namespace string) string { return b.base(namespace) + ".all" }

func (b *bus) subjectBeat(namespace string) string { return b.base(namespace) + ".beat" }

func (b *bus) subjectRoom(namespace string, r adapter.Room) string {
	return b.base(namespace) + ".room." + token(r)
}

func (b *bus) subjectNode(namespace string, id adapter.NodeID) string {
	return b.base(namespace) + ".node." + token(id)
}

func (b *bus) subjectLog(namespace string) string { return logPrefix(b.opts.Prefix) + token(namespace) }

func logPrefix(prefix string) string { return prefix + ".log." }

func sessionPrefix(prefix string) string { return prefix + ".session." }
