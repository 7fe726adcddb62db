package redis

import (
	"errors"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/cluster/wire"
	"github.com/socketfleet/socketfleet/internal/msgpack"
)

var (
	errInvalid   = errors.New("redis: no message of the classic adapter")
	errElsewhere = errors.New("redis: message of another namespace")
)

// decodeBroadcast decodes [uid, packet, opts], and the extension behind it.
func decodeBroadcast(namespace string, b []byte) (*cluster.Message, error) {
	v, err := msgpack.Parse(b)
	if err != nil {
		return nil, err
	}
	m := &cluster.Message{Kind: cluster.Broadcast, Namespace: namespace}
	n, ext := 0, ""
	for e := range v.Elements() {
		switch n {
		case 0:
			m.From, _ = e.Text()
		case 1:
			m.Packet, err = readPacket(namespace, e)
		case 2:
			m.Target, m.Timeout, err = wire.ReadOptions(e)
		case 3:
			ext, _ = e.Text()
		}
		if err != nil {
			return nil, err
		}
		n++
	}
	if n < 3 {
		return nil, errInvalid
	}
	wire.ReadExt(m, ext)
	return m, nil
}

func readPacket(namespace string, v msgpack.Value) (*adapter.Packet, error) {
	p, nsp, err := wire.ReadPacket(v)
	if err != nil {
		return nil, err
	}
	if nsp == "" {
		nsp = "/"
	}
	if nsp != namespace {
		return nil, errElsewhere
	}
	return p, nil
}

// legacy is what requests of version 5 and older have instead of opts.
type legacy struct {
	sid, room string
}

// requestFields are the members of a request.
type requestFields struct {
	number             int
	opts, data, packet msgpack.Value
	rooms              msgpack.Value
	ext                string
	old                legacy
}

// decodeRequest decodes what travels on a request channel. old is set for a
// request about one socket in the old form, whose sender waits for an answer
// without content.
func decodeRequest(namespace string, b []byte) (m *cluster.Message, old legacy, err error) {
	v, err := msgpack.Parse(b)
	if err != nil {
		return nil, old, err
	}
	m = &cluster.Message{Namespace: namespace}
	f := requestFields{number: -1}
	for key, val := range v.Fields() {
		f.read(m, string(key), val)
	}
	if err := f.fill(m); err != nil {
		return nil, old, err
	}
	wire.ReadExt(m, f.ext)
	return m, f.old, nil
}

func (f *requestFields) read(m *cluster.Message, key string, v msgpack.Value) {
	switch key {
	case "uid":
		m.From, _ = v.Text()
	case "requestId":
		m.RequestID, _ = v.Text()
	case "type":
		if n, ok := v.Int(); ok {
			f.number = n
		}
	case "opts":
		f.opts = v
	case "data":
		f.data = v
	case "packet":
		f.packet = v
	case "rooms":
		f.rooms = v
	case "ext":
		f.ext, _ = v.Text()
	case "close":
		m.Close = v.True()
	case "sid":
		f.old.sid, _ = v.Text()
	case "room":
		f.old.room, _ = v.Text()
	}
}

func (f *requestFields) fill(m *cluster.Message) (err error) {
	needsID := false
	switch f.number {
	case reqSockets:
		m.Kind, needsID = cluster.Sockets, true
		m.Rooms, err = wire.ReadRooms(f.rooms)
	case reqAllRooms:
		m.Kind, needsID = cluster.AllRooms, true
	case reqRemoteJoin, reqRemoteLeave:
		m.Kind = cluster.SocketsJoin
		if f.number == reqRemoteLeave {
			m.Kind = cluster.SocketsLeave
		}
		if m.Rooms, err = wire.ReadRooms(f.rooms); err == nil {
			err = f.target(m)
		}
		if f.old.sid != "" {
			m.Rooms = []adapter.Room{f.old.room}
		}
	case reqRemoteDisconnect:
		m.Kind = cluster.DisconnectSockets
		err = f.target(m)
	case reqRemoteFetch:
		m.Kind, needsID = cluster.FetchSockets, true
		m.Target, _, err = wire.ReadOptions(f.opts)
	case reqServerSideEmit:
		m.Kind = cluster.ServerSideEmit
		m.Packet, err = wire.ReadArgs(f.data)
	case reqBroadcast:
		m.Kind, needsID = cluster.Broadcast, true
		if m.Packet, err = readPacket(m.Namespace, f.packet); err == nil {
			m.Target, m.Timeout, err = wire.ReadOptions(f.opts)
		}
	case reqNode + int(cluster.InitialHeartbeat), reqNode + int(cluster.Heartbeat), reqNode + int(cluster.AdapterClose):
		m.Kind = cluster.Kind(f.number - reqNode)
	default:
		if f.number <= reqBroadcastAck || f.number > maxFuture {
			return errInvalid
		}
		m.RequestID = "" // a request of the future is counted, and nobody answers it
	}
	if needsID && m.RequestID == "" {
		return errInvalid
	}
	return err
}

// target reads whom a request is about: opts, or in the old form one socket.
func (f *requestFields) target(m *cluster.Message) (err error) {
	if !f.opts.IsNull() {
		f.old = legacy{}
		m.Target, _, err = wire.ReadOptions(f.opts)
		return err
	}
	if f.old.sid == "" {
		return errInvalid
	}
	m.Target.Rooms = []adapter.Room{f.old.sid}
	return nil
}

// decodeResponse decodes what travels on a response channel. Only nodes of this
// kind say who they are.
func decodeResponse(namespace string, b []byte) (*cluster.Message, error) {
	v, err := msgpack.Parse(b)
	if err != nil {
		return nil, err
	}
	m := &cluster.Message{Namespace: namespace}
	f := responseFields{number: -1}
	for key, val := range v.Fields() {
		f.read(m, string(key), val)
	}
	if f.number == reqNode+int(cluster.Heartbeat) {
		m.Kind = cluster.Heartbeat
		wire.ReadExt(m, f.ext)
		return m, nil
	}
	if err := f.fill(m); err != nil {
		return nil, err
	}
	if m.RequestID == "" || m.Kind == 0 {
		return nil, errInvalid
	}
	return m, nil
}

type responseFields struct {
	number                                int
	ext                                   string
	sockets, rooms, data, packet, clients msgpack.Value
}

func (f *responseFields) read(m *cluster.Message, key string, v msgpack.Value) {
	switch key {
	case "uid":
		m.From, _ = v.Text()
	case "ext":
		f.ext, _ = v.Text()
	case "requestId":
		m.RequestID, _ = v.Text()
	case "type":
		if n, ok := v.Int(); ok {
			f.number = n
		}
	case "sockets":
		f.sockets = v
	case "rooms":
		f.rooms = v
	case "data":
		f.data = v
	case "packet":
		f.packet = v
	case "clientCount":
		f.clients = v
	}
}

func (f *responseFields) fill(m *cluster.Message) (err error) {
	switch {
	case f.number == reqServerSideEmit:
		m.Kind = cluster.ServerSideEmitResponse
		m.Packet, err = wire.ReadOne(f.data)
	case f.number == reqBroadcastClientCount:
		m.Kind = cluster.BroadcastClientCount
		ok := false
		if m.Count, ok = f.clients.Int(); !ok || m.Count < 0 {
			return errInvalid
		}
	case f.number == reqBroadcastAck:
		m.Kind = cluster.BroadcastAck
		m.Packet, err = wire.ReadOne(f.packet)
	case f.sockets.IsArray():
		m.Kind = cluster.FetchSocketsResponse
		m.Sockets, err = wire.ReadSockets(f.sockets)
		if len(m.Sockets) > 0 && firstIsText(f.sockets) {
			m.Kind = cluster.SocketsResponse
		}
	case f.rooms.IsArray():
		m.Kind = cluster.AllRoomsResponse
		m.Rooms, err = wire.ReadRooms(f.rooms)
	}
	return err
}

func firstIsText(v msgpack.Value) bool {
	for e := range v.Elements() {
		return e.IsText()
	}
	return false
}
