package core

import (
	"slices"

	"github.com/socketfleet/socketfleet/internal/engineio"
)

// Decision is what Options.OnSlowConsumer wants done.
type Decision uint8

const (
	// Disconnect ends the connection with the cause of the SlowConsumer.
	Disconnect Decision = iota
	// DropVolatile keeps the connection: volatile events are dropped until the
	// client has caught up, all others are queued up to twice the bound, where the
	// client is disconnected without another question.
	DropVolatile
)

// SlowConsumer is a client that does not read what is sent to it.
type SlowConsumer struct {
	// Sockets are the client's sockets, one per namespace it has joined.
	Sockets []*Socket
	Bytes   int // queued for the client or being written to it
	Packets int // queued
	// Cause is ErrQueueFull or ErrQueuePackets.
	Cause error
}

// QueuedBytes returns how many bytes wait to be sent to the client or are being
// written, for all its namespaces together.
func (s *Socket) QueuedBytes() int {
	n, _ := s.client.sess.Queued()
	return n
}

// askSlow asks the program about a client whose queue has reached a bound. A
// failing program keeps nobody.
func (srv *Server) askSlow(r engineio.Receiver, slow engineio.Slow) (keep bool) {
	c := r.(*client)
	sc := SlowConsumer{Bytes: slow.Bytes, Packets: slow.Packets, Cause: publicError(slow.Cause)}
	for _, e := range c.joinedEntries() {
		sc.Sockets = append(sc.Sockets, e.s)
	}
	srv.work.Add(1)
	defer srv.work.Done()
	srv.failed("OnSlowConsumer", srv.Namespace, guard(func() error {
		keep = srv.opts.OnSlowConsumer(sc) == DropVolatile
		return nil
	}))
	return keep
}

// joinedEntries returns the namespaces that the client is a member of.
func (c *client) joinedEntries() []entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.entries), func(e entry) bool { return e.s == nil || !e.s.Connected() })
}
