package wire

import (
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/msgpack"
)

// event is the type of a packet that holds an event, in socket.io-protocol.
const event = 2

// maxTimeout bounds what a peer may make this node keep, in milliseconds.
const maxTimeout = int(24 * time.Hour / time.Millisecond)

// ReadPacket decodes {type, data, nsp}. The namespace is empty when the member is
// missing.
func ReadPacket(v msgpack.Value) (p *adapter.Packet, nsp string, err error) {
	if !v.IsMap() {
		return nil, "", invalid("packet")
	}
	for key, f := range v.Fields() {
		switch string(key) {
		case "type":
			if n, ok := f.Int(); !ok || n != event {
				return nil, "", invalid("packet type")
			}
		case "data":
			p, err = ReadArgs(f)
		case "nsp":
			nsp, _ = f.Text()
		}
		if err != nil {
			return nil, "", err
		}
	}
	if p == nil {
		return nil, "", invalid("packet data")
	}
	return p, nsp, nil
}

// ReadArgs decodes an array of arguments.
func ReadArgs(v msgpack.Value) (*adapter.Packet, error) {
	if !v.IsArray() {
		return nil, invalid("arguments")
	}
	data, atts, err := v.AppendJSON(nil, nil)
	if err != nil {
		return nil, err
	}
	return &adapter.Packet{Data: data, Attachments: atts}, nil
}

// ReadOne decodes one value into an array that holds it; an absent one gives an
// empty array.
func ReadOne(v msgpack.Value) (*adapter.Packet, error) {
	if v.Absent() {
		return &adapter.Packet{Data: []byte("[]")}, nil
	}
	data, atts, err := v.AppendJSON([]byte("["), nil)
	if err != nil {
		return nil, err
	}
	return &adapter.Packet{Data: append(data, ']'), Attachments: atts}, nil
}

// ReadOptions decodes {rooms, except, flags}. A missing list is empty.
func ReadOptions(v msgpack.Value) (t adapter.Target, timeout time.Duration, err error) {
	if !v.IsMap() {
		return t, 0, invalid("opts")
	}
	for key, f := range v.Fields() {
		switch string(key) {
		case "rooms":
			t.Rooms, err = ReadRooms(f)
		case "except":
			t.Except, err = ReadRooms(f)
		case "flags":
			t.Flags, timeout = readFlags(f)
		}
		if err != nil {
			return t, 0, err
		}
	}
	return t, timeout, nil
}

func readFlags(v msgpack.Value) (flags adapter.Flags, timeout time.Duration) {
	for key, f := range v.Fields() {
		switch string(key) {
		case "volatile":
			if f.True() {
				flags |= adapter.Volatile
			}
		case "compress":
			if f.False() {
				flags |= adapter.NoCompress
			}
		case "timeout":
			if ms, _ := f.Int(); ms > 0 {
				timeout = time.Duration(min(ms, maxTimeout)) * time.Millisecond
			}
		}
	}
	return flags, timeout
}

// ReadRooms decodes an array of room names; null is an empty one. The reference
// lets programs use numbers as names.
func ReadRooms(v msgpack.Value) ([]adapter.Room, error) {
	if v.IsNull() {
		return nil, nil
	}
	if !v.IsArray() {
		return nil, invalid("rooms")
	}
	var rooms []adapter.Room
	for e := range v.Elements() {
		name, ok := e.Text()
		if !ok {
			if _, ok = e.Int(); !ok {
				return nil, invalid("room name")
			}
			text, _, err := e.AppendJSON(nil, nil)
			if err != nil {
				return nil, err
			}
			name = string(text)
		}
		rooms = append(rooms, name)
	}
	return rooms, nil
}

// ReadSockets decodes an array of {id, handshake, rooms, data}; where an element
// is a string, it is the id.
func ReadSockets(v msgpack.Value) ([]adapter.Remote, error) {
	if !v.IsArray() {
		return nil, invalid("sockets")
	}
	list := []adapter.Remote{}
	for e := range v.Elements() {
		s, err := readSocket(e)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

func readSocket(v msgpack.Value) (s adapter.Remote, err error) {
	if id, ok := v.Text(); ok {
		return adapter.Remote{ID: id}, nil
	}
	for key, f := range v.Fields() {
		switch string(key) {
		case "id":
			s.ID, _ = f.Text()
		case "handshake":
			s.Handshake, err = f.AppendPlainJSON(nil)
		case "rooms":
			s.Rooms, err = ReadRooms(f)
		case "data":
			s.Data, err = f.AppendPlainJSON(nil)
		}
		if err != nil {
			return s, err
		}
	}
	if s.ID == "" {
		return s, invalid("socket")
	}
	return s, nil
}
