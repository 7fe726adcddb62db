package emitter

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/socketfleet/socketfleet/adapter"
)

// RemoteSocket is a socket on any node, known by its id. It is a value.
type RemoteSocket struct {
	all  Operator // of the namespace
	info adapter.Remote
}

// RemoteSocket returns the socket with the given id in the operator's namespace. It
// does no I/O: whether the socket exists shows only in an answer.
func (o Operator) RemoteSocket(id string) RemoteSocket {
	return RemoteSocket{all: o.Of(o.namespace), info: adapter.Remote{ID: id}}
}

// ID returns the socket's id.
func (r RemoteSocket) ID() string { return r.info.ID }

// Node returns the node the socket lives on, where FetchSockets could tell.
func (r RemoteSocket) Node() string { return r.info.Node }

// Rooms returns the rooms the socket was in when FetchSockets described it; nil
// for one that was only named by its id.
func (r RemoteSocket) Rooms() []string { return r.info.Rooms }

// Data decodes the socket's data attribute, as FetchSockets found it, into v.
func (r RemoteSocket) Data(v any) error {
	if len(r.info.Data) == 0 {
		return nil
	}
	if err := json.Unmarshal(r.info.Data, v); err != nil {
		return fmt.Errorf("socketio: emitter: data of a socket: %w", err)
	}
	return nil
}

// Handshake returns the socket's handshake as JSON, as FetchSockets found it.
func (r RemoteSocket) Handshake() json.RawMessage { return r.info.Handshake }

// self selects the one socket.
func (r RemoteSocket) self() Operator { return r.all.To(r.info.ID) }

// Emit sends an event to the socket. It never blocks; an unknown id is no error.
func (r RemoteSocket) Emit(event string, args ...any) error { return r.self().Emit(event, args...) }

// Join adds the socket to rooms.
func (r RemoteSocket) Join(ctx context.Context, rooms ...string) error {
	return r.self().SocketsJoin(ctx, rooms...)
}

// Leave removes the socket from rooms.
func (r RemoteSocket) Leave(ctx context.Context, rooms ...string) error {
	return r.self().SocketsLeave(ctx, rooms...)
}

// Disconnect disconnects the socket; closeConn ends its whole connection.
func (r RemoteSocket) Disconnect(ctx context.Context, closeConn bool) error {
	return r.self().DisconnectSockets(ctx, closeConn)
}
