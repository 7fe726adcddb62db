package core

import "github.com/socketfleet/socketfleet/internal/parser"

// A socket's inbox is the queue between the goroutine that reads its connection
// and the one that runs its handlers. That second goroutine, the dispatcher,
// exists only while something is queued.

// task is one thing for the dispatcher to do. Exactly one of its fields is set.
type task struct {
	event *inbound
	do    func()
}

// inbound is an event that waits for its handlers. It owns its bytes.
type inbound struct {
	data  []byte
	atts  []parser.Attachment
	id    uint64
	hasID bool
}

// overhead is what a queued event counts beside its bytes.
const overhead = 128

func (e *inbound) size() int {
	n := overhead + len(e.data)
	for _, a := range e.atts {
		n += len(a.Data)
	}
	return n
}

// hardInbound is how many times MaxInboundBytes may be queued while this server
// waits for an acknowledgement on the connection.
const hardInbound = 4

// receive queues an event. It blocks, and with it the reading of the connection,
// while the inbox is full. It reports false when the client sent more than the
// server can hold while it must keep reading.
func (s *Socket) receive(p *parser.Packet) bool {
	s.pace()
	e := &inbound{data: ownData(p), atts: p.Attachments, id: p.ID, hasID: p.HasID}
	limit := s.nsp.srv.opts.MaxInboundBytes
	size := e.size()
	s.mu.Lock()
	for s.inboxBytes > 0 && exceeds(s.inboxBytes+size, limit) && !s.closed() {
		if s.client.pendingAcks.Load() > 0 {
			if exceeds(s.inboxBytes+size, hardInbound*limit) {
				s.mu.Unlock()
				return false
			}
			break
		}
		if gone := s.holdReaderLocked(); gone {
			break // this one event more, then the connection's end is reported
		}
	}
	if s.Connected() {
		s.inboxBytes += size
		s.queueLocked(task{event: e})
	}
	s.mu.Unlock()
	return true
}

// holdReaderLocked blocks the reader until there is reason to look again, or
// until the connection has gone, which it reports. The second look at pendingAcks
// is for expectAck, which adds to it and then looks for a reader that is held,
// maybe by another namespace.
func (s *Socket) holdReaderLocked() (gone bool) {
	wake := make(chan struct{})
	s.wakeReader = wake
	s.client.held.Store(s)
	if s.client.pendingAcks.Load() == 0 {
		s.mu.Unlock()
		select {
		case <-wake:
		case <-s.client.sess.Done():
			gone = true
		}
		s.mu.Lock()
	}
	s.client.held.Store(nil)
	return gone
}

// wakeReader lets the connection's reader look again, if it is held.
func (c *client) wakeReader() {
	s := c.held.Load()
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakeReaderLocked()
}

// wakeReaderLocked lets a blocked receive look again.
func (s *Socket) wakeReaderLocked() {
	if s.wakeReader != nil {
		close(s.wakeReader)
		s.wakeReader = nil
	}
}

// queueLocked appends t and starts the dispatcher if there is none.
func (s *Socket) queueLocked(t task) {
	s.inbox = append(s.inbox, t)
	if !s.dispatching {
		s.dispatching = true
		s.nsp.srv.work.Add(1)
		go s.dispatchInbox()
	}
}

// keepInbox is the capacity an idle inbox keeps.
const keepInbox = 4

// dispatchInbox runs what is queued, in order, until nothing is.
func (s *Socket) dispatchInbox() {
	defer s.nsp.srv.work.Done()
	var batch []task
	for {
		s.mu.Lock()
		if len(s.inbox) == 0 {
			s.dispatching = false
			if cap(batch) <= keepInbox {
				s.inbox = batch[:0]
			}
			s.mu.Unlock()
			return
		}
		batch, s.inbox = s.inbox, batch[:0]
		s.mu.Unlock()
		for i, t := range batch {
			batch[i] = task{}
			if t.do != nil {
				t.do()
			} else {
				s.handle(t.event)
			}
		}
	}
}

// handle runs one event's handlers and gives its room in the inbox back.
func (s *Socket) handle(in *inbound) {
	defer s.handled(in.size())
	if s.discards() {
		return
	}
	name, _, ok := parser.EventName(in.data)
	if !ok {
		return // an event without a name: the reference accepts it and nothing can listen to it
	}
	s.nsp.srv.stats.events.Add(1)
	s.nsp.group.events.Add(1)
	s.run(&Event{
		Name:  name,
		Args:  newArgs(s.nsp.srv.codec, in.data, in.atts, 1),
		s:     s,
		id:    in.id,
		hasID: in.hasID,
	})
}

func (s *Socket) handled(size int) {
	s.mu.Lock()
	s.inboxBytes -= size
	if !exceeds(2*s.inboxBytes, s.nsp.srv.opts.MaxInboundBytes) {
		s.wakeReaderLocked()
	}
	s.mu.Unlock()
}

// discards reports whether events that are still queued are void: this server
// ended the namespace.
func (s *Socket) discards() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause != nil && s.cause.Reason == ReasonServerNamespace
}
