package engineio

import (
	"errors"
	"net/http"
)

// Code is an Engine.IO error code, as clients get it.
type Code int

// The reference's error codes (engine.io server.ts).
const (
	CodeTransportUnknown Code = iota
	CodeSessionUnknown
	CodeBadMethod
	CodeBadRequest
	CodeForbidden
	CodeUnsupportedProtocol

	codes // their number
)

var codeText = [codes]string{
	"Transport unknown",
	"Session ID unknown",
	"Bad handshake method",
	"Bad request",
	"Forbidden",
	"Unsupported protocol version",
}

// String returns the text that clients get with the code.
func (c Code) String() string {
	if c < 0 || c >= codes {
		return "Unknown"
	}
	return codeText[c]
}

// ConnectionError says why a request was refused.
type ConnectionError struct {
	Request *http.Request // valid during the call only
	Code    Code
	Message string // what the client was told
	Context string // the reference's context name, such as "TRANSPORT_MISMATCH"
	Err     error  // what AllowRequest or GenerateID returned
	Check   string // which check refused, one of CheckTransport and so on
	Limit   string // the name of the limit of CheckLimit
	Status  int    // of the response; 0: there is none
}

func (e *ConnectionError) Error() string {
	msg := "engineio: " + e.Message
	if e.Context != "" {
		msg += " (" + e.Context + ")"
	}
	return msg
}

func (e *ConnectionError) Unwrap() error { return e.Err }

// Reason says why a session ended, in the words of the reference.
type Reason string

// Reasons. What a client does wrong on the transport, and a client too slow to be
// served, is ReasonTransportError; the error tells them apart.
const (
	ReasonTransportClose Reason = "transport close"
	ReasonTransportError Reason = "transport error"
	ReasonForcedClose    Reason = "forced close"
	ReasonPingTimeout    Reason = "ping timeout"
	ReasonParseError     Reason = "parse error"
	ReasonShutdown       Reason = "server shutting down"
)

// Errors that Send, Receiver.Closed and Server methods report.
var (
	ErrClosed       = errors.New("engineio: session closed")
	ErrQueueFull    = errors.New("engineio: slow consumer: outbound queue full")
	ErrQueuePackets = errors.New("engineio: slow consumer: too many packets queued")
	ErrBudget       = errors.New("engineio: slow consumer: the queues of all clients hold too much")
	ErrWriteTimeout = errors.New("engineio: slow consumer: write timed out")
	ErrPanic        = errors.New("engineio: handler panicked")
	ErrServerClosed = errors.New("engineio: server closed")
)

// Why a session ended with ReasonTransportError or ReasonParseError.
var (
	errPollOverlap    = errors.New("engineio: overlap from client")
	errPostOverlap    = errors.New("engineio: data request overlap from client")
	errPollAborted    = errors.New("engineio: poll connection closed prematurely")
	errPostAborted    = errors.New("engineio: data request connection closed prematurely")
	errInvalidContent = errors.New("engineio: invalid content")
	errHeartbeat      = errors.New("engineio: invalid heartbeat direction")
	errParser         = errors.New("engineio: parser error")
	errTooManyPackets = errors.New("engineio: too many packets in one payload")
	errEmptyFrame     = errors.New("engineio: frame without a payload")
	errFirstPacket    = errors.New("engineio: first packet is not an open packet")
	errUnknownSession = errors.New("engineio: session unknown")
	errNoUpgrade      = errors.New("engineio: session cannot be upgraded")
	errInvalidText    = errors.New("engineio: text message is not UTF-8")
	errTooBig         = errors.New("engineio: message too big")
	errFragments      = errors.New("engineio: too many fragments")
	errRequestRate    = errors.New("engineio: too many requests")
	errPongTimeout    = errors.New("engineio: no pong")
	errFlushTimeout   = errors.New("engineio: closing took too long")
)

// errSubprotocol has the words that clients get.
//
//lint:ignore ST1005 the text is part of the wire
var errSubprotocol = errors.New("Invalid Sec-WebSocket-Protocol header")
