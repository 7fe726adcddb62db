package core

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/socketfleet/socketfleet/internal/parser"
)

var (
	errReassembly    = errors.New("attachments did not arrive in time")
	errUnknownAcks   = errors.New("too many acknowledgements of events never sent")
	errConnectionAge = errors.New("socketio: the connection has reached its maximum age")
)

// packetLimits are the violations of the protocol that are limits.
var packetLimits = []struct {
	err  error
	name string
}{
	{parser.ErrTooManyAttachments, "attachments"},
	{parser.ErrTooLarge, "packet_bytes"},
	{parser.ErrTooManyTokens, "packet_tokens"},
	{parser.ErrTooDeep, "packet_depth"},
	{errReassembly, "reassembly_timeout"},
	{errUnknownAcks, "unknown_acks"},
}

// violated counts the limit behind a violation, if there is one.
func (c *counters) violated(err error) {
	for _, l := range packetLimits {
		if errors.Is(err, l.err) {
			c.limit(l.name)
			return
		}
	}
}

// strayAck counts an acknowledgement of an event that its namespace has not sent
// to anybody. It is called by the reader goroutine.
func (c *client) strayAck() {
	c.strays++
	if exceeds(c.strays, c.srv.opts.MaxUnknownAcks) {
		c.strays = 0 // one violation ends the connection
		c.violation(errUnknownAcks)
	}
}

// ageLocked bounds the age of the connection. Up to a tenth is taken off, so that
// clients that came together do not go together.
func (c *client) ageLocked() {
	d := c.srv.opts.MaxConnectionAge
	if d <= 0 {
		return
	}
	c.age = time.AfterFunc(d-rand.N(d/10+1), func() {
		c.srv.stats.limit("connection_age")
		c.forceClose(errConnectionAge, true)
	})
}
