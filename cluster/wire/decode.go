package wire

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/msgpack"
)

// ErrInvalid says that a message is well-formed and yet no message of this wire.
var ErrInvalid = errors.New("wire: invalid message")

func invalid(what string) error { return fmt.Errorf("%w: %s", ErrInvalid, what) }

// Decode decodes an envelope that is JSON or MessagePack. A message of a type
// from the future has the Kind 0, its sender and namespace, and nothing else.
func Decode(b []byte) (*cluster.Message, error) {
	v, err := msgpack.Parse(b)
	if err != nil {
		return nil, err
	}
	m := new(cluster.Message)
	var data, ext msgpack.Value
	typed := false
	for key, f := range v.Fields() {
		switch string(key) {
		case "type":
			if n, ok := f.Int(); ok && n > 0 {
				typed, m.Kind = true, kindOf(n)
			}
		case "uid":
			m.From, _ = f.Text()
		case "nsp":
			m.Namespace, _ = f.Text()
		case "data":
			data = f
		case "ext":
			ext = f
		}
	}
	if !typed {
		return nil, invalid("type")
	}
	if err := decodeData(m, data); err != nil {
		return nil, err
	}
	readExt(m, ext)
	return m, nil
}

// DecodeEntry decodes the fields of a stream entry but for ext, which is
// ReadExt's.
func DecodeEntry(uid, nsp, typ, data string) (*cluster.Message, error) {
	n, err := strconv.Atoi(typ)
	if err != nil || n < 1 {
		return nil, invalid("type")
	}
	m := &cluster.Message{Kind: kindOf(n), From: uid, Namespace: nsp}
	var v msgpack.Value
	switch {
	case data == "":
	case strings.HasPrefix(data, "{"):
		v, err = msgpack.ParseJSON([]byte(data))
	default:
		var b []byte
		if b, err = base64.StdEncoding.DecodeString(data); err == nil {
			v, err = msgpack.Parse(b)
		}
	}
	if err != nil {
		return nil, err
	}
	return m, decodeData(m, v)
}

func kindOf(n int) cluster.Kind {
	if n < int(cluster.InitialHeartbeat) || n > int(cluster.AdapterClose) {
		return 0
	}
	return cluster.Kind(n)
}

func decodeData(m *cluster.Message, data msgpack.Value) error {
	if !hasData(m.Kind) {
		return nil
	}
	if !data.IsMap() {
		return invalid("data")
	}
	var f fields
	if err := f.read(m, data); err != nil {
		return err
	}
	return f.check(m)
}

// fields notes which members were there.
type fields struct{ packet, opts, rooms, sockets, count bool }

func (f *fields) read(m *cluster.Message, data msgpack.Value) error {
	for key, v := range data.Fields() {
		var err error
		switch string(key) {
		case "requestId":
			m.RequestID, _ = v.Text()
		case "packet":
			err = f.readPacket(m, v)
		case "opts":
			f.opts = true
			m.Target, m.Timeout, err = ReadOptions(v)
		case "rooms":
			f.rooms = true
			m.Rooms, err = ReadRooms(v)
		case "close":
			m.Close = v.True()
		case "sockets":
			f.sockets = true
			m.Sockets, err = ReadSockets(v)
		case "clientCount":
			m.Count, f.count = v.Int()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *fields) readPacket(m *cluster.Message, v msgpack.Value) (err error) {
	f.packet = true
	switch m.Kind {
	case cluster.Broadcast:
		m.Packet, _, err = ReadPacket(v)
	case cluster.ServerSideEmit:
		m.Packet, err = ReadArgs(v)
	case cluster.ServerSideEmitResponse, cluster.BroadcastAck:
		m.Packet, err = ReadOne(v)
	}
	return err
}

func (f *fields) check(m *cluster.Message) error {
	missing := ""
	switch m.Kind {
	case cluster.Broadcast, cluster.ServerSideEmit:
		if !f.packet || (m.Kind == cluster.Broadcast && !f.opts) {
			missing = "packet or opts"
		}
	case cluster.SocketsJoin, cluster.SocketsLeave:
		if !f.opts || !f.rooms {
			missing = "opts or rooms"
		}
	case cluster.DisconnectSockets, cluster.FetchSockets:
		if !f.opts {
			missing = "opts"
		}
	case cluster.FetchSocketsResponse:
		if !f.sockets {
			missing = "sockets"
		}
	case cluster.BroadcastClientCount:
		if !f.count || m.Count < 0 {
			missing = "clientCount"
		}
	case cluster.ServerSideEmitResponse, cluster.BroadcastAck:
		if !f.packet {
			m.Packet, _ = ReadOne(msgpack.Value{})
		}
	}
	if missing == "" && m.RequestID == "" && needsRequest(m.Kind) {
		missing = "requestId"
	}
	if missing != "" {
		return invalid(missing)
	}
	return nil
}

func needsRequest(k cluster.Kind) bool {
	switch k {
	case cluster.FetchSockets, cluster.FetchSocketsResponse, cluster.ServerSideEmitResponse,
		cluster.BroadcastClientCount, cluster.BroadcastAck:
		return true
	}
	return false
}
