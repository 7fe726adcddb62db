package core

import (
	"encoding/json"
	"fmt"
)

// socketData is the data attribute: the value for this node, its JSON for the
// others.
type socketData struct {
	value any
	json  json.RawMessage
	saved bool // of a recovered session: value is not set
}

// SetData sets the socket's data attribute, which Data returns and FetchSockets
// shows on every node. It fails for a value encoding/json cannot encode. The
// value must not be changed afterwards.
func (s *Socket) SetData(v any) error {
	text, err := s.nsp.srv.marshal(v)
	if err != nil {
		return fmt.Errorf("socketio: set data: %w", err)
	}
	s.storeData(&socketData{value: v, json: text})
	s.nsp.updated(s, DataUpdated)
	return nil
}

func (s *Socket) storeData(d *socketData) {
	if s.lease == nil {
		s.data.Store(d)
		return
	}
	s.members.Lock() // so that what is kept last is what was set last
	defer s.members.Unlock()
	s.data.Store(d)
	s.keep()
}

// Data returns the socket's data attribute, if it is set and is a T. That of a
// recovered socket is decoded from JSON, into any T that fits.
func Data[T any](s *Socket) (T, bool) {
	var zero T
	d := s.data.Load()
	if d == nil {
		return zero, false
	}
	if d.saved {
		return savedData[T](d)
	}
	v, ok := d.value.(T)
	return v, ok
}

// dataJSON returns the data attribute for other nodes: {} when it is not set, as
// in the reference.
func (s *Socket) dataJSON() json.RawMessage {
	if d := s.data.Load(); d != nil {
		return d.json
	}
	return json.RawMessage("{}")
}
