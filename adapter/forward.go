package adapter

import (
	"log/slog"
	"time"
)

// ForwardNode is this process as one that forwards requests to other nodes and
// takes theirs: what the core tells a forwarder. All of it is set.
type ForwardNode struct {
	// Owner is the name that the session ids of this process carry, for all time:
	// its node id, a dot and an epoch.
	Owner string
	// Secret is known to the nodes of the deployment only.
	Secret string
	// URL is where other nodes reach this one: scheme, host and port.
	URL string
	// Provider is the server's; it may know where other nodes are.
	Provider Provider

	// MaxPayload bounds a request body in bytes; zero or less is no bound.
	MaxPayload int64
	// BodyTimeout bounds the reading of a request body; zero or less is no bound.
	BodyTimeout time.Duration
	// PollTimeout is how long a node may take to answer a poll; zero or less is no
	// bound.
	PollTimeout time.Duration
	// WriteTimeout bounds one write to a client; zero or less is no bound.
	WriteTimeout time.Duration
	Logger       *slog.Logger
}
