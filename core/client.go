package core

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/engineio"
	"github.com/socketfleet/socketfleet/internal/parser"
)

// reassemblyTimeout bounds the wait for the attachments of a packet.
const reassemblyTimeout = 30 * time.Second

// errInboundOverflow is why a client that sends faster than it is served is
// disconnected.
var errInboundOverflow = errors.New("socketio: more events than the inbound queue holds")

// client is one connection: it parses what comes in and tells the sockets of its
// namespaces apart (socket.io lib/client.ts).
type client struct {
	// Immutable after open.
	srv  *Server
	sess *engineio.Session

	pendingAcks atomic.Int64           // answers this server waits for on the connection
	held        atomic.Pointer[Socket] // whose full inbox the reader waits for

	// Owned by the reader goroutine.
	text       parser.Decoder
	dec        packetDecoder // text, or one of Options.Parser
	reassembly *time.Timer   // runs while attachments are awaited
	strays     int           // acknowledgements of what was never sent

	mu      sync.Mutex // guards the following
	entries []entry    // a handful at most: MaxNamespacesPerClient
	left    []string   // namespaces this server ended, whose late packets are ignored
	closed  bool
	connect *time.Timer // ends a connection that joins no namespace
	age     *time.Timer // ends an old connection; nil: never
}

// entry is a namespace the client has joined or is joining.
type entry struct {
	name string
	s    *Socket // nil while a dynamic namespace is being looked up
}

var (
	_ engineio.Receiver        = (*client)(nil)
	_ engineio.UpgradeReceiver = (*client)(nil)
)

// open is the engine's Handler.
func (srv *Server) open(sess *engineio.Session) engineio.Receiver {
	c := &client{srv: srv, sess: sess}
	if p := srv.opts.Parser; p != nil {
		c.dec = p.NewDecoder(&srv.limits)
	} else {
		c.text.Init(&srv.limits)
		c.dec = &c.text
	}
	c.watch()
	if c.v2() {
		c.joinRoot()
	}
	return c
}

// watch makes the client known to the server, which may be closing, and bounds
// the time until it joins a namespace.
func (c *client) watch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = !c.srv.keep(c)
	if !c.closed {
		c.ageLocked()
	}
	if d := c.srv.opts.ConnectTimeout; d > 0 && !c.closed {
		c.connect = time.AfterFunc(d, func() {
			c.srv.stats.connectTimeouts.Add(1)
			c.srv.stats.limit("connect_timeout")
			c.forceClose(nil, true)
		})
	}
}

// Text implements engineio.Receiver.
func (c *client) Text(data []byte) { c.take(c.dec.Text(data)) }

// Binary implements engineio.Receiver.
func (c *client) Binary(data []byte) { c.take(c.dec.Binary(data)) }

// take acts on what the decoder makes of a message.
func (c *client) take(p parser.Packet, done bool, err error) {
	switch {
	case err != nil:
		c.violation(err)
	case done:
		if c.reassembly != nil {
			c.reassembly.Stop()
			c.reassembly = nil
		}
		c.handle(&p)
	case c.reassembly != nil: // more attachments are to come
	case !c.connected():
		c.violation(errors.New("binary packet before a namespace was joined"))
	default:
		c.reassembly = time.AfterFunc(reassemblyTimeout, func() {
			c.violation(errReassembly)
		})
	}
}

// Closed implements engineio.Receiver.
func (c *client) Closed(reason engineio.Reason, err error) {
	if c.reassembly != nil {
		c.reassembly.Stop()
	}
	c.end(DisconnectReason(reason), publicError(err))
	c.srv.drop(c)
}

// end closes the client's sockets, those on their way in too, and ignores what it
// sends from now on. It does not close the connection.
func (c *client) end(reason DisconnectReason, err error) {
	c.mu.Lock()
	c.closed = true
	entries := c.entries
	c.entries = nil
	if c.age != nil {
		c.age.Stop()
	}
	c.stopConnectTimerLocked()
	c.mu.Unlock()
	for _, e := range entries {
		if e.s != nil {
			e.s.close(reason, err)
		}
	}
}

// forceClose ends the connection from this side. Its sockets end at once, even
// where a polling client has yet to fetch what is queued for it.
func (c *client) forceClose(err error, flush bool) {
	c.end(ReasonForcedClose, err)
	c.sess.Close(engineio.Reason(ReasonForcedClose), flush)
}

// violation ends the connection of a client that broke the protocol.
func (c *client) violation(err error) {
	c.srv.stats.protocolErrors.Add(1)
	c.srv.stats.violated(err)
	c.srv.log.Debug("socketio: bad packet", "event", "packet.refused", "address", c.sess.Request().RemoteAddr(), "error", err)
	c.forceClose(err, true)
}

// send writes a packet that is no event. The client may have gone: a failure
// closes the connection, which ends its sockets too.
func (c *client) send(t parser.Type, nsp string, data []byte) {
	m, err := c.srv.encode(t, nsp, 0, false, data, nil)
	if err != nil {
		c.srv.log.Error("socketio: cannot encode a packet", "event", "packet.unencodable", "type", t.String(), "namespace", nsp, "error", err)
		c.srv.work.Add(1)
		go func() { // the caller may hold a lock that closing takes
			defer c.srv.work.Done()
			c.forceClose(err, true)
		}()
		return
	}
	_ = c.write(m)
}

func (c *client) write(m *engineio.Message) error { return publicError(c.sess.Send(m)) }

// connected reports whether a namespace has been joined.
func (c *client) connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.entries, func(e entry) bool { return e.s != nil && e.s.Connected() })
}

// find returns the client's socket of a namespace, and whether it has joined or
// is joining it.
func (c *client) find(name string) (s *Socket, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		if e.name == name {
			return e.s, true
		}
	}
	return nil, false
}

// handle acts on one packet. What does not fit the state of its namespace closes
// the connection.
func (c *client) handle(p *parser.Packet) {
	if c.v2() {
		resolveV2(p)
	}
	s, found := c.find(p.Namespace)
	if p.Type == parser.Connect && !found {
		c.join(p)
		return
	}
	if s == nil || !s.Connected() {
		if s != nil && s.closed() || c.hasLeft(p.Namespace) {
			return // it crossed our own disconnect on the wire
		}
		if s != nil && p.Type == parser.Ack {
			s.onAck(p) // a middleware asked
			return
		}
		c.violation(fmt.Errorf("%v packet for a namespace not joined", p.Type))
		return
	}
	s.confirm()
	switch p.Type {
	case parser.Event:
		if !s.receive(p) {
			c.srv.stats.inboundOverflows.Add(1)
			c.srv.stats.limit("inbound_bytes")
			c.forceClose(errInboundOverflow, false)
		}
	case parser.Ack:
		s.onAck(p)
	case parser.Disconnect:
		c.drop(s)
		s.close(ReasonClientNamespace, nil)
	default:
		c.violation(fmt.Errorf("%v packet for a namespace joined already", p.Type))
	}
}

// hasLeft reports whether this server ended the namespace, or all of them.
func (c *client) hasLeft(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed || slices.Contains(c.left, name)
}

// join starts a client's way into a namespace.
func (c *client) join(p *parser.Packet) {
	h := Handshake{req: c.sess.Request(), auth: json.RawMessage("{}"), at: time.Now()}
	if p.Data != nil {
		h.auth = append(json.RawMessage(nil), p.Data...)
	}
	name := p.Namespace
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	if exceeds(len(c.entries)+1, c.srv.opts.MaxNamespacesPerClient) {
		c.mu.Unlock()
		c.srv.stats.limit("namespaces_per_client")
		c.refuse(name, errTooManyNamespaces)
		return
	}
	c.entries = append(c.entries, entry{name: name})
	c.left = slices.DeleteFunc(c.left, func(n string) bool { return n == name })
	c.mu.Unlock()

	if n, ok := c.srv.acquire(name); ok {
		c.admit(n, h)
		return
	}
	// The lookup runs user code, which must not hold up the reader.
	c.srv.work.Add(1)
	go func() {
		defer c.srv.work.Done()
		n, err := c.srv.acquireDynamic(c.sess.Context(), name, h.auth)
		if err != nil {
			if c.forget(name) {
				c.refuse(name, err)
			}
			return
		}
		c.enter(n, h, c.claim(n, h.auth))
	}()
}

// enter takes a client through the middlewares of a namespace it holds a
// reference to.
func (c *client) enter(n *Namespace, h Handshake, l *lease) {
	s := newSocket(n, c, h)
	s.take(l)
	if !c.bind(s) {
		l.release()
		n.release()
		return
	}
	if !n.runsOnConnect() {
		s.admitUnasked()
		return
	}
	s.mu.Lock()
	s.queueLocked(task{do: s.runConnect})
	s.mu.Unlock()
}

// bind makes s the client's socket of its namespace, unless the client has gone.
func (c *client) bind(s *Socket) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	for i := range c.entries {
		if c.entries[i].name == s.nsp.name {
			c.entries[i].s = s
		}
	}
	return true
}

// forget removes the entry of a namespace that could not be joined. It reports
// false when the client has gone meanwhile.
func (c *client) forget(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = slices.DeleteFunc(c.entries, func(e entry) bool { return e.name == name })
	return !c.closed
}

// drop removes s from the client's sockets.
func (c *client) drop(s *Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = slices.DeleteFunc(c.entries, func(e entry) bool { return e.s == s })
}

// refuse answers a CONNECT with an error; the connection stays.
func (c *client) refuse(name string, err error) {
	c.srv.namespaceRefused(c.sess.Request(), name, nil, err)
	c.srv.refused(name, err)
	c.send(parser.ConnectError, name, connectErrorPayload(c.srv.marshal, err))
}

// turnAway is refuse for a socket that did not pass the middlewares.
func (c *client) turnAway(name string, err error) {
	payload := connectErrorPayload
	if c.v2() {
		payload = middlewareErrorV2
	}
	c.srv.refused(name, err)
	c.send(parser.ConnectError, name, payload(c.srv.marshal, err))
}

// joined is called when a socket has been accepted.
func (c *client) joined() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopConnectTimerLocked()
}

func (c *client) stopConnectTimerLocked() {
	if c.connect != nil {
		c.connect.Stop()
		c.connect = nil
	}
}

// disconnect ends one namespace and tells the client. err, which may be nil, goes
// into the cause of the socket's context.
func (c *client) disconnect(s *Socket, err error) {
	if !s.Connected() {
		return
	}
	c.mu.Lock()
	if !slices.Contains(c.left, s.nsp.name) {
		c.left = append(c.left, s.nsp.name)
		if exceeds(len(c.left), c.srv.opts.MaxNamespacesPerClient) {
			c.left = slices.Delete(c.left, 0, 1)
		}
	}
	c.entries = slices.DeleteFunc(c.entries, func(e entry) bool { return e.s == s })
	c.mu.Unlock()
	if f, ok := s.nsp.adapter.(adapter.Flusher); ok {
		f.Flush(s)
	}
	if s.close(ReasonServerNamespace, err) {
		c.send(parser.Disconnect, s.nsp.name, nil)
	}
}

// disconnectAll ends every namespace, then the connection.
func (c *client) disconnectAll() {
	c.mu.Lock()
	entries := slices.Clone(c.entries)
	c.mu.Unlock()
	for _, e := range entries {
		if e.s != nil {
			c.disconnect(e.s, nil)
		}
	}
	c.forceClose(nil, true)
}
