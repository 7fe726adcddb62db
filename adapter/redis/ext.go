package redis

import (
	"strings"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/cluster/wire"
)

// beats are how heartbeats begin, on the two wires and in both encodings of the
// second; on the classic wire the type comes after an id of 16 digits.
var beats = [...]string{`{"type":1,`, `{"type":2,`, "\x84\xa4type\x01", "\x84\xa4type\x02"}

// isBeat reports whether payload is a heartbeat, without decoding it. A node reads
// its own, to notice another node with its id.
func isBeat(payload string) bool {
	for _, b := range beats {
		if strings.HasPrefix(payload, b) {
			return true
		}
	}
	const idEnd = len(jsonUID) + 16
	if len(payload) < idEnd {
		return false
	}
	rest := payload[idEnd:]
	return strings.HasPrefix(rest, `","type":65,`) || strings.HasPrefix(rest, `","type":66,`)
}

// isHeartbeat reports whether k is one of the two kinds of heartbeats.
func isHeartbeat(k cluster.Kind) bool {
	return k == cluster.InitialHeartbeat || k == cluster.Heartbeat
}

// skip takes note of a broadcast that is dropped unread.
func (d *classic) skip(to *member, payload string) {
	const fourElements = 0x94
	if to.Skipped == nil || d.adaptive() || payload[0] != fourElements {
		return
	}
	if x, ok := wire.ReadTail(payload); ok {
		to.Skipped(senderOf(payload), x)
	}
}

// oneRoom returns the room of a broadcast that is for one room only and wants no
// answers; empty for other messages.
func oneRoom(m *cluster.Message) adapter.Room {
	if m.Kind == cluster.Broadcast && m.RequestID == "" && len(m.Target.Rooms) == 1 {
		return m.Target.Rooms[0]
	}
	return ""
}
