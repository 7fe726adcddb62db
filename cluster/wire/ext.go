package wire

import (
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/msgpack"
)

// An extension is one string. It ends with 18 characters of fixed meaning: eight
// of the epoch and eight of the number, each base64url of 48 bits, the scope and
// the version, both a digit. Before them stands text that depends on the kind: for
// packets the trace context, "@" and when it was sent in microseconds since 1970 as 11
// digits of base 32, a space and the conflation key; for heartbeats the milliseconds to the next
// one, a space and the name of the node.
const (
	extTail = 18

	// maxExtText bounds what is read before the tail, in bytes.
	maxExtText = 4096
)

// HasExt reports whether m carries an extension on the wire.
func HasExt(m *cluster.Message) bool {
	if m.Ext.Version == 0 {
		return false
	}
	switch m.Kind {
	case cluster.FetchSocketsResponse, cluster.AllRoomsResponse, cluster.SocketsResponse,
		cluster.ServerSideEmitResponse, cluster.BroadcastClientCount, cluster.BroadcastAck:
		return false
	}
	return true
}

// Ext returns m's extension.
func Ext(m *cluster.Message) string {
	b := make([]byte, 0, 64)
	switch {
	case isBeat(m.Kind):
		b = strconv.AppendInt(b, m.Ext.Every.Milliseconds(), 10)
		b = append(append(b, ' '), m.Ext.Name...)
	case m.Packet != nil && (m.Packet.Meta.Key != "" || m.Packet.Meta.Trace != "" || m.Ext.Sent != 0):
		if trace := m.Packet.Meta.Trace; len(trace) <= maxExtText/2 && !strings.Contains(trace, " ") {
			b = append(b, trace...)
		}
		if m.Ext.Sent != 0 {
			b = appendSent(b, m.Ext.Sent)
		}
		b = append(b, ' ')
		if key := m.Packet.Meta.Key; len(key) <= maxExtText/2 {
			b = append(b, key...)
		}
	}
	return string(appendTail(b, m.Ext))
}

func appendTail(b []byte, x cluster.Ext) []byte {
	var n [16]byte
	binary.BigEndian.PutUint64(n[:], x.Epoch<<16)
	binary.BigEndian.PutUint64(n[6:], x.Seq<<16)
	b = base64.RawURLEncoding.AppendEncode(b, n[:12])
	return append(b, '0'+byte(x.Scope), '0'+x.Version)
}

// ReadTail reads the part of fixed width from the end of s.
func ReadTail(s string) (x cluster.Ext, ok bool) {
	if len(s) < extTail {
		return x, false
	}
	s = s[len(s)-extTail:]
	scope, version := s[extTail-2], s[extTail-1]
	if version < '1' || version > '9' || scope < '0' || scope > '9' {
		return x, false
	}
	var n [16]byte
	if _, err := base64.RawURLEncoding.Decode(n[2:14], []byte(s[:16])); err != nil {
		return x, false
	}
	x.Version, x.Scope = version-'0', cluster.Scope(scope-'0')
	x.Epoch = binary.BigEndian.Uint64(n[:8]) // two zeros and six bytes
	n[6], n[7] = 0, 0
	x.Seq = binary.BigEndian.Uint64(n[6:14])
	return x, true
}

// ReadExt fills in what an extension says of m. Later versions keep the form of
// the tail; what they say before it is not read, and a malformed extension is as
// good as none.
func ReadExt(m *cluster.Message, s string) {
	x, ok := ReadTail(s)
	if !ok {
		return
	}
	m.Ext = x
	first, second, ok := strings.Cut(s[:len(s)-extTail], " ")
	if !ok || x.Version != cluster.ExtVersion || len(s) > maxExtText+extTail {
		return
	}
	switch {
	case isBeat(m.Kind):
		if ms, err := strconv.Atoi(first); err == nil && ms > 0 {
			m.Ext.Every, m.Ext.Name = time.Duration(min(ms, maxTimeout))*time.Millisecond, second
		}
	case m.Packet != nil:
		m.Packet.Meta.Trace, m.Ext.Sent = cutSent(first)
		m.Packet.Meta.Key = second
	}
}

// A time is "@" and sentDigits digits of sentBits bits each.
const (
	sentDigits = 11
	sentBits   = 5
	digits     = "0123456789abcdefghijklmnopqrstuv"
)

func appendSent(b []byte, us int64) []byte {
	b = append(b, '@')
	for shift := (sentDigits - 1) * sentBits; shift >= 0; shift -= sentBits {
		b = append(b, digits[us>>shift&(1<<sentBits-1)])
	}
	return b
}

// cutSent cuts the time off the end of s; without one it returns s and 0.
func cutSent(s string) (rest string, us int64) {
	at := len(s) - sentDigits - 1
	if at < 0 || s[at] != '@' {
		return s, 0
	}
	for i := at + 1; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			us = us<<sentBits | int64(c-'0')
		case c >= 'a' && c <= 'v':
			us = us<<sentBits | int64(c-'a'+10)
		default:
			return s, 0
		}
	}
	return s[:at], us
}

func isBeat(k cluster.Kind) bool {
	return k == cluster.InitialHeartbeat || k == cluster.Heartbeat
}

// ext appends the member "ext" and a comma, if m has an extension.
func (t *Text) ext(m *cluster.Message) *Text {
	if !HasExt(m) {
		return t
	}
	return t.Raw(`"ext":`).Quote(Ext(m)).Raw(",")
}

func readExt(m *cluster.Message, v msgpack.Value) {
	if s, ok := v.Text(); ok {
		ReadExt(m, s)
	}
}
