package engineio

import (
	"encoding/binary"
	"net"
	"time"

	"github.com/socketfleet/socketfleet/internal/wsframe"
)

// wire is the connection as gorilla sees it. It gives back what the client sent
// before the upgrade was done, bounds the time a message takes, and sends gorilla's
// control frames through the flusher, so that all writes come from there.
type wire struct {
	net.Conn
	w *wsConn // nil until the upgrade is done

	// The 101 response of a new session is held back, to leave with the session's
	// first packet in one write.
	hold bool
	held []byte

	// Owned by the reader.
	early     []byte
	inMessage bool // the next read continues a message
	armed     bool // a read deadline is set
}

func (c *wire) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		if c.early = c.early[n:]; len(c.early) == 0 {
			c.early = nil
		}
		return n, nil
	}
	if c.inMessage && !c.armed {
		c.armed = true
		c.w.arm()
	}
	return c.Conn.Read(p)
}

func (c *wire) Write(p []byte) (int, error) {
	switch {
	case c.w != nil:
	case c.hold:
		c.held = append(c.held, p...)
		return len(p), nil
	default:
		return c.Conn.Write(p)
	}
	if len(p) < 2 {
		return len(p), nil
	}
	switch op, payload := p[0]&0xf, p[2:]; op {
	case wsframe.Close:
		code := 0
		if len(payload) >= 2 {
			code = int(binary.BigEndian.Uint16(payload))
		}
		c.w.farewell(code)
	case wsframe.Pong:
		c.w.control(op, payload)
	}
	return len(p), nil
}

// SetWriteDeadline belongs to the flusher once the upgrade is done.
func (c *wire) SetWriteDeadline(t time.Time) error {
	if c.w != nil {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}
