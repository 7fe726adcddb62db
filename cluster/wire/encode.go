package wire

import (
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/socketfleet/socketfleet/cluster"
)

// Append appends m as the sharded Redis adapter sends it: MessagePack when m
// carries binary, JSON otherwise. It fails for kinds above 13. What m.Packet
// and m.Sockets hold as JSON is trusted to be JSON.
func Append(dst []byte, m *cluster.Message) ([]byte, error) {
	t, err := envelope(m)
	if err != nil {
		return dst, err
	}
	if t.Binary() {
		return t.AppendPacked(dst)
	}
	return append(dst, t.b...), nil
}

// AppendPacked appends m as MessagePack whatever it carries, as the streams
// adapter sends what it does not put into its stream.
func AppendPacked(dst []byte, m *cluster.Message) ([]byte, error) {
	t, err := envelope(m)
	if err != nil {
		return dst, err
	}
	return t.AppendPacked(dst)
}

// Entry returns two of the fields of m's stream entry, the others being uid,
// nsp, and ext where HasExt says so; data is empty for a message that has none.
func Entry(m *cluster.Message) (typ, data string, err error) {
	typ = strconv.Itoa(int(m.Kind))
	if !hasData(m.Kind) {
		return typ, "", known(m.Kind)
	}
	var t Text
	if err := t.data(m); err != nil {
		return "", "", err
	}
	if !t.Binary() {
		return typ, string(t.b), nil
	}
	packed, err := t.AppendPacked(nil)
	return typ, base64.StdEncoding.EncodeToString(packed), err
}

func envelope(m *cluster.Message) (*Text, error) {
	if err := known(m.Kind); err != nil {
		return nil, err
	}
	t := new(Text)
	t.Raw(`{"type":`).Int(int(m.Kind)).Raw(",").ext(m)
	if hasData(m.Kind) {
		t.Raw(`"data":`)
		if err := t.data(m); err != nil {
			return nil, err
		}
		t.Raw(",")
	}
	t.Raw(`"uid":`).Quote(m.From).Raw(`,"nsp":`).Quote(m.Namespace).Raw("}")
	return t, nil
}

func known(k cluster.Kind) error {
	if k < cluster.InitialHeartbeat || k > cluster.AdapterClose {
		return fmt.Errorf("wire: no form for %v", k)
	}
	return nil
}

func hasData(k cluster.Kind) bool {
	return k >= cluster.Broadcast && k <= cluster.BroadcastAck
}

// data appends the member "data", with the keys in the reference's order.
func (t *Text) data(m *cluster.Message) error {
	switch m.Kind {
	case cluster.Broadcast:
		t.Raw(`{"packet":{"type":2,"data":`).Args(m.Packet).Raw(`}`)
		if m.RequestID != "" {
			t.Raw(`,"requestId":`).Quote(m.RequestID)
		}
		t.opts(`,"opts":`, m)
	case cluster.SocketsJoin, cluster.SocketsLeave:
		t.opts(`{"opts":`, m).Raw(`,"rooms":`).List(m.Rooms)
	case cluster.DisconnectSockets:
		t.opts(`{"opts":`, m).Raw(`,"close":`).Bool(m.Close)
	case cluster.FetchSockets:
		t.opts(`{"opts":`, m).Raw(`,"requestId":`).Quote(m.RequestID)
	case cluster.FetchSocketsResponse:
		t.Raw(`{"requestId":`).Quote(m.RequestID).Raw(`,"sockets":`).Sockets(m.Sockets)
	case cluster.ServerSideEmit:
		t.Raw(`{`)
		if m.RequestID != "" {
			t.Raw(`"requestId":`).Quote(m.RequestID).Raw(`,`)
		}
		t.Raw(`"packet":`).Args(m.Packet)
	case cluster.ServerSideEmitResponse, cluster.BroadcastAck:
		t.Raw(`{"requestId":`).Quote(m.RequestID).One("packet", m.Packet)
	case cluster.BroadcastClientCount:
		t.Raw(`{"requestId":`).Quote(m.RequestID).Raw(`,"clientCount":`).Int(m.Count)
	default:
		return known(m.Kind)
	}
	t.Raw("}")
	return nil
}

func (t *Text) opts(name string, m *cluster.Message) *Text {
	return t.Raw(name).Options(m.Target, m.Timeout, true)
}
