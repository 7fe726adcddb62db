package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/engineio"
)

var (
	// ErrClosed is returned by a server that has been shut down.
	ErrClosed = adapter.ErrClosed
	// ErrDisconnected is returned for a socket that is no longer connected.
	ErrDisconnected = errors.New("socketio: socket disconnected")
	// ErrAckTimeout is returned when an acknowledgement did not arrive in time. It
	// matches context.DeadlineExceeded.
	ErrAckTimeout = fmt.Errorf("socketio: operation has timed out: %w", context.DeadlineExceeded)
	// ErrQueueFull is returned by an emit to one socket when more is queued for it
	// than Options.MaxQueueBytes, and is then also the cause of its disconnection as
	// a slow consumer; and by a broadcast when the queue of messages to other nodes
	// is full, after the sockets of this node have received it.
	ErrQueueFull = adapter.ErrQueueFull
	// ErrQueuePackets is ErrQueueFull for Options.MaxQueuePackets.
	ErrQueuePackets = errors.New("socketio: too many packets queued")
	// ErrQueueBudget is the cause of the disconnection of a client that had fallen
	// behind furthest when all queues together exceeded Options.MaxTotalQueueBytes.
	ErrQueueBudget = errors.New("socketio: the queues of all clients hold too much")
	// ErrWriteTimeout is the cause of the disconnection of a client that took longer
	// than Options.WriteTimeout to read what was written to it.
	ErrWriteTimeout = errors.New("socketio: write timed out")
	// ErrDropped is returned by TryEmit when the socket was not ready to receive.
	ErrDropped = errors.New("socketio: volatile event dropped")
	// ErrReserved is returned for event names the protocol keeps for itself.
	ErrReserved = errors.New("socketio: reserved event name")
	// ErrTooManyAcks is returned when a socket owes more acknowledgements than
	// Options.MaxPendingAcks.
	ErrTooManyAcks = errors.New("socketio: too many unanswered acknowledgements")
	// ErrTooManyRooms is returned by Join beyond Options.MaxRoomsPerSocket.
	ErrTooManyRooms = errors.New("socketio: too many rooms")
	// ErrRoomName is returned by Join for a room name longer than 256 bytes.
	ErrRoomName = errors.New("socketio: room name too long")
)

// publicError turns the engine's errors into those of this package.
func publicError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, engineio.ErrClosed):
		return ErrDisconnected
	case errors.Is(err, engineio.ErrQueueFull):
		return fmt.Errorf("socketio: slow consumer: %w", ErrQueueFull)
	case errors.Is(err, engineio.ErrQueuePackets):
		return fmt.Errorf("socketio: slow consumer: %w", ErrQueuePackets)
	case errors.Is(err, engineio.ErrBudget):
		return fmt.Errorf("socketio: slow consumer: %w", ErrQueueBudget)
	case errors.Is(err, engineio.ErrWriteTimeout):
		return fmt.Errorf("socketio: slow consumer: %w", ErrWriteTimeout)
	}
	return err
}

// PartialError reports that a cluster-wide request ended without all its
// answers. What did arrive was returned with it.
type PartialError = adapter.PartialError

// DisconnectReason says why a socket disconnected, in the words of the reference
// server.
type DisconnectReason string

const (
	ReasonClientNamespace DisconnectReason = "client namespace disconnect" // the client left this namespace
	ReasonServerNamespace DisconnectReason = "server namespace disconnect" // Disconnect or DisconnectSockets
	ReasonShuttingDown    DisconnectReason = "server shutting down"        // Shutdown or Close
	ReasonTransportClose  DisconnectReason = "transport close"             // the client closed the connection, or it broke
	ReasonTransportError  DisconnectReason = "transport error"             // the connection failed; slow consumers too
	ReasonPingTimeout     DisconnectReason = "ping timeout"                // no answer to a heartbeat
	ReasonParseError      DisconnectReason = "parse error"                 // bytes that are no Engine.IO packet
	ReasonForcedClose     DisconnectReason = "forced close"                // this server closed the connection, for a bad packet for example
)

// DisconnectError is the cause of a socket's cancelled context.
type DisconnectError struct {
	Reason DisconnectReason
	Err    error // the failure behind the reason; nil for an orderly end
}

func (e *DisconnectError) Error() string {
	if e.Err == nil {
		return "socketio: disconnected: " + string(e.Reason)
	}
	return fmt.Sprintf("socketio: disconnected: %s: %v", e.Reason, e.Err)
}

// Unwrap returns the failure behind the reason.
func (e *DisconnectError) Unwrap() error { return e.Err }

// Is reports whether target is ErrDisconnected.
func (e *DisconnectError) Is(target error) bool { return target == ErrDisconnected }

// ConnectError is what a namespace middleware returns to refuse a socket with a
// message and data of its choice. Any other error is sent as its text alone.
type ConnectError struct {
	Message string
	Data    any // sent as error.data when not nil
}

func (e *ConnectError) Error() string { return e.Message }

// connectErrorPayload is the body of the CONNECT_ERROR packet for err
// (socket.io-protocol v5, "Connection to a namespace").
func connectErrorPayload(marshal func(any) ([]byte, error), err error) []byte {
	body := struct {
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data,omitempty"`
	}{Message: err.Error()}
	var ce *ConnectError
	if errors.As(err, &ce) {
		body.Message = ce.Message
		if ce.Data != nil {
			if data, err := marshal(ce.Data); err == nil {
				body.Data = data
			}
		}
	}
	out, err := marshal(body)
	if err != nil {
		return []byte(`{"message":"internal error"}`)
	}
	return out
}
