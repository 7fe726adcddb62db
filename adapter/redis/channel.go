package redis

import (
	"strings"

	"github.com/tinylib/msgp/msgp"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

// channels are the names the classic adapter gives the channels of one
// namespace, see its constructor.
type channels struct {
	broadcast string // base name: all rooms; followed by a room and "#", one
	request   string
	response  string
}

func channelsOf(key, namespace string) channels {
	return channels{
		broadcast: key + "#" + namespace + "#",
		request:   key + "-request#" + namespace + "#",
		response:  key + "-response#" + namespace + "#",
	}
}

// own returns the channel for answers to one node.
func (c channels) own(id adapter.NodeID) string { return c.response + id + "#" }

// room returns the channel for broadcasts to one room.
func (c channels) room(r adapter.Room) string { return c.broadcast + r + "#" }

// roomOf returns the room a broadcast channel is for, empty when it is for all.
func (c channels) roomOf(channel string) (room adapter.Room, ok bool) {
	rest, ok := strings.CutPrefix(channel, c.broadcast)
	if !ok || rest == "" {
		return "", ok
	}
	return strings.CutSuffix(rest, "#")
}

// target returns the channel m is published to; empty for kinds this wire has no
// form for.
func (c channels) target(m *cluster.Message) string {
	switch m.Kind {
	case cluster.Broadcast:
		if m.RequestID != "" {
			return c.request
		}
		if len(m.Target.Rooms) == 1 {
			return c.room(m.Target.Rooms[0])
		}
		return c.broadcast
	case cluster.SocketsJoin, cluster.SocketsLeave, cluster.DisconnectSockets,
		cluster.FetchSockets, cluster.ServerSideEmit, cluster.AllRooms, cluster.Sockets:
		return c.request
	case cluster.InitialHeartbeat, cluster.Heartbeat, cluster.AdapterClose:
		if m.Ext.Version > 0 { // an extension
			return c.request
		}
	}
	return ""
}

// The bytes before the sender's id, in the three places it can be the first
// thing of a message.
const (
	jsonUID = `{"uid":"`
	packUID = "\xa3uid"
)

// senderOf returns the id of the node that sent payload, without decoding it:
// as the first element of an array, or the first member of a map. Empty when it
// is elsewhere, or nowhere as with redis-emitter.
func senderOf(payload string) string {
	if len(payload) < 2 {
		return ""
	}
	switch c := payload[0]; {
	case c == '{':
		rest, ok := strings.CutPrefix(payload, jsonUID)
		if !ok {
			return ""
		}
		if i := strings.IndexByte(rest, '"'); i >= 0 {
			return rest[:i]
		}
	case c&0xf0 == 0x90:
		return leadingText(payload[1:])
	case c&0xf0 == 0x80:
		if rest, ok := strings.CutPrefix(payload[1:], packUID); ok {
			return leadingText(rest)
		}
	}
	return ""
}

// leadingText returns the MessagePack string of less than 256 bytes at the front
// of s.
func leadingText(s string) string {
	n, at := 0, 1
	switch {
	case len(s) == 0:
		return ""
	case s[0]&0xe0 == 0xa0:
		n = int(s[0] & 0x1f)
	case s[0] == 0xd9 && len(s) > 1:
		n, at = int(s[1]), 2
	}
	if len(s) < at+n {
		return ""
	}
	return s[at : at+n]
}

// probePayload is how a message begins that no node decodes: an array of nothing.
// Behind it stands when it was sent.
var probePayload = msgp.AppendArrayHeader(nil, 0)
