package redis

import (
	"fmt"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/cluster/wire"
)

// Numbers of requests and their answers, RequestType in the classic adapter.
const (
	reqSockets = iota
	reqAllRooms
	reqRemoteJoin
	reqRemoteLeave
	reqRemoteDisconnect
	reqRemoteFetch
	reqServerSideEmit
	reqBroadcast
	reqBroadcastClientCount
	reqBroadcastAck

	// reqNode and above are requests of nodes of this kind: it is added to the Kind.
	// The classic adapter ignores request numbers it does not know.
	reqNode = 64
	// maxFuture bounds the numbers that may be requests of the future.
	maxFuture = 1 << 10
)

// encode returns what the classic adapter publishes for a message that is no
// answer.
func encode(m *cluster.Message) ([]byte, error) {
	var t wire.Text
	if m.Kind == cluster.Broadcast && m.RequestID == "" {
		t.Raw("[").Quote(m.From).Raw(",")
		packet(&t, m)
		t.Raw(",").Options(m.Target, m.Timeout, true)
		if wire.HasExt(m) {
			t.Raw(",").Quote(wire.Ext(m))
		}
		t.Raw("]")
		return t.AppendPacked(nil)
	}
	t.Raw(jsonUID[:len(jsonUID)-1]).Quote(m.From)
	if err := request(&t, m); err != nil {
		return nil, err
	}
	if wire.HasExt(m) {
		t.Raw(`,"ext":`).Quote(wire.Ext(m))
	}
	t.Raw("}")
	if m.Kind == cluster.Broadcast || t.Binary() {
		return t.AppendPacked(nil)
	}
	return t.Text(), nil
}

func packet(t *wire.Text, m *cluster.Message) {
	t.Raw(`{"type":2,"data":`).Args(m.Packet).Raw(`,"nsp":`).Quote(m.Namespace).Raw("}")
}

// request appends the members after uid, in the reference's order.
func request(t *wire.Text, m *cluster.Message) error {
	if m.RequestID != "" {
		t.Raw(`,"requestId":`).Quote(m.RequestID)
	}
	t.Raw(`,"type":`)
	switch m.Kind {
	case cluster.Sockets:
		t.Int(reqSockets).Raw(`,"rooms":`).List(m.Rooms)
	case cluster.AllRooms:
		t.Int(reqAllRooms)
	case cluster.SocketsJoin:
		options(t.Int(reqRemoteJoin), m).Raw(`,"rooms":`).List(m.Rooms)
	case cluster.SocketsLeave:
		options(t.Int(reqRemoteLeave), m).Raw(`,"rooms":`).List(m.Rooms)
	case cluster.DisconnectSockets:
		options(t.Int(reqRemoteDisconnect), m).Raw(`,"close":`).Bool(m.Close)
	case cluster.FetchSockets:
		options(t.Int(reqRemoteFetch), m)
	case cluster.ServerSideEmit:
		t.Int(reqServerSideEmit).Raw(`,"data":`).Args(m.Packet)
	case cluster.Broadcast:
		packet(t.Int(reqBroadcast).Raw(`,"packet":`), m)
		t.Raw(`,"opts":`).Options(m.Target, m.Timeout, true)
	case cluster.InitialHeartbeat, cluster.Heartbeat, cluster.AdapterClose:
		t.Int(reqNode + int(m.Kind))
	default:
		return fmt.Errorf("redis: no form for %v", m.Kind)
	}
	return nil
}

func options(t *wire.Text, m *cluster.Message) *wire.Text {
	return t.Raw(`,"opts":`).Options(m.Target, 0, false)
}

// encodeAnswer returns what the classic adapter publishes for an answer, and in
// front of it, as an extension, who answers.
func encodeAnswer(m *cluster.Message) ([]byte, error) {
	if m.Kind == cluster.Heartbeat {
		return encode(m)
	}
	var t wire.Text
	t.Raw(`{`)
	if m.Ext.Version > 0 {
		t.Raw(`"uid":`).Quote(m.From).Raw(",")
	}
	switch m.Kind {
	case cluster.ServerSideEmitResponse:
		t.Raw(`"type":`).Int(reqServerSideEmit).Raw(",")
	case cluster.BroadcastClientCount:
		t.Raw(`"type":`).Int(reqBroadcastClientCount).Raw(",")
	case cluster.BroadcastAck:
		t.Raw(`"type":`).Int(reqBroadcastAck).Raw(",")
	}
	t.Raw(`"requestId":`).Quote(m.RequestID)
	switch m.Kind {
	case cluster.FetchSocketsResponse:
		t.Raw(`,"sockets":`).Sockets(m.Sockets)
	case cluster.SocketsResponse:
		t.Raw(`,"sockets":`).List(ids(m.Sockets))
	case cluster.AllRoomsResponse:
		t.Raw(`,"rooms":`).List(m.Rooms)
	case cluster.ServerSideEmitResponse:
		t.One("data", m.Packet)
	case cluster.BroadcastClientCount:
		t.Raw(`,"clientCount":`).Int(m.Count)
	case cluster.BroadcastAck:
		t.One("packet", m.Packet)
	default:
		return nil, fmt.Errorf("redis: no form for %v", m.Kind)
	}
	t.Raw("}")
	if m.Kind == cluster.BroadcastAck || t.Binary() {
		return t.AppendPacked(nil)
	}
	return t.Text(), nil
}

func ids(list []adapter.Remote) []string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = list[i].ID
	}
	return out
}

// encodeLegacy answers a request in the form of version 5.
func encodeLegacy(requestID string) []byte {
	var t wire.Text
	return t.Raw(`{"requestId":`).Quote(requestID).Raw("}").Text()
}
