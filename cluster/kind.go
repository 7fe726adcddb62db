package cluster

import "strconv"

var kindNames = [...]string{
	InitialHeartbeat:       "INITIAL_HEARTBEAT",
	Heartbeat:              "HEARTBEAT",
	Broadcast:              "BROADCAST",
	SocketsJoin:            "SOCKETS_JOIN",
	SocketsLeave:           "SOCKETS_LEAVE",
	DisconnectSockets:      "DISCONNECT_SOCKETS",
	FetchSockets:           "FETCH_SOCKETS",
	FetchSocketsResponse:   "FETCH_SOCKETS_RESPONSE",
	ServerSideEmit:         "SERVER_SIDE_EMIT",
	ServerSideEmitResponse: "SERVER_SIDE_EMIT_RESPONSE",
	BroadcastClientCount:   "BROADCAST_CLIENT_COUNT",
	BroadcastAck:           "BROADCAST_ACK",
	AdapterClose:           "ADAPTER_CLOSE",
	AllRooms:               "ALL_ROOMS",
	AllRoomsResponse:       "ALL_ROOMS_RESPONSE",
	Sockets:                "SOCKETS",
	SocketsResponse:        "SOCKETS_RESPONSE",
	Takeover:               "TAKEOVER",
	Hole:                   "HOLE",
	Hello:                  "HELLO",
	Position:               "POSITION",
	place:                  "PLACE",
	refill:                 "REFILL",
}

// Known reports whether k is one of the declared kinds.
func (k Kind) Known() bool { return int(k) < len(kindNames) && kindNames[k] != "" }

// String returns the reference's name of k.
func (k Kind) String() string {
	if !k.Known() {
		return "KIND_" + strconv.Itoa(int(k))
	}
	return kindNames[k]
}
