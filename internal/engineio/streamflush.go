package engineio

import (
	"errors"
	"os"
	"time"
)

// flush is the flusher goroutine of a stream. It ends when nothing waits.
func (c *streamConn) flush() {
	defer c.s.release()
	b := batches.Get().(*batch)
	defer b.release()
	for c.fill(b) {
		if b.last {
			c.closeWrite()
			continue
		}
		if err := c.write(b); err != nil {
			c.writeFailed(err, b.taken)
			return
		}
	}
}

// fill replaces what b holds by what waits, as that of a WebSocket does.
func (c *streamConn) fill(b *batch) bool {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.Done(b.taken)
	if len(b.msgs) > 0 || len(b.buf) > 0 {
		c.wrote = time.Now()
	}
	b.reset()
	b.buf = append(b.buf, c.ctl...)
	c.ctl = nil
	if s.transport == transport(c) {
		b.msgs, b.taken = s.out.Take(b.msgs, maxBatch)
		if len(b.msgs) == 0 && s.state == stateClosing {
			s.endLocked(s.reason, nil)
		}
	}
	if len(b.buf) == 0 && len(b.msgs) == 0 {
		if !c.ending || c.finished {
			c.stopFlushingLocked()
			return false
		}
		c.finished, b.last = true, true
	}
	return true
}

// closeWrite tells the client that no more comes, and gives it a moment to take what
// it has not yet: closing a WebTransport session drops what is on its way, and
// nothing tells when it has arrived.
func (c *streamConn) closeWrite() {
	_ = c.st.CloseWrite()
	c.s.mu.Lock()
	until := c.wrote.Add(shortLinger)
	c.s.mu.Unlock()
	_ = c.st.SetReadDeadline(until) // the reader ends the stream then
}

func (c *streamConn) stopFlushingLocked() {
	c.flushing = false
	if c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

// waitIdleLocked waits until the flusher has written all there is.
func (c *streamConn) waitIdleLocked() {
	for c.flushing {
		if c.idle == nil {
			c.idle = make(chan struct{})
		}
		idle := c.idle
		c.s.mu.Unlock()
		<-idle
		c.s.mu.Lock()
	}
}

// write sends a batch: one write, unless it has a message larger than maxBatch.
func (c *streamConn) write(b *batch) error {
	var t tally
	bytes := len(b.buf)
	for _, m := range b.msgs {
		t.add(m)
		bytes += m.Size()
		if err := c.append(b, m); err != nil {
			return err
		}
	}
	c.s.countOut(onStream, &t, bytes)
	return c.writeChunks(b.buf)
}

// append adds the frames of one message to the batch's buffer.
func (c *streamConn) append(b *batch, m *Message) error {
	if m.text.buf != nil {
		if err := c.appendBytes(b, streamFrame(m.text.frame())); err != nil {
			return err
		}
	}
	for _, a := range m.att {
		b.buf = appendStreamBinary(b.buf, len(a))
		if err := c.appendBytes(b, a); err != nil {
			return err
		}
	}
	return nil
}

// appendBytes copies p into the buffer, or writes it directly when it is large.
func (c *streamConn) appendBytes(b *batch, p []byte) error {
	if len(b.buf)+len(p) <= maxBatch {
		b.buf = append(b.buf, p...)
		return nil
	}
	if err := c.writeChunks(b.buf); err != nil {
		return err
	}
	b.buf = b.buf[:0]
	if len(p) <= maxBatch {
		b.buf = append(b.buf, p...)
		return nil
	}
	return c.writeChunks(p)
}

// writeChunks writes p in pieces that each have WriteTimeout.
func (c *streamConn) writeChunks(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), maxBatch)
		if d := c.s.srv.opts.WriteTimeout; d > 0 {
			_ = c.st.SetWriteDeadline(time.Now().Add(d))
		}
		if _, err := c.st.Write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// writeFailed gives the stream up, and with it what was being written.
func (c *streamConn) writeFailed(err error, taken int) {
	s := c.s
	s.mu.Lock()
	slow := errors.Is(err, os.ErrDeadlineExceeded)
	if slow {
		err = ErrWriteTimeout
	}
	c.finished = true
	if s.transport == transport(c) && s.state != stateClosed {
		if slow {
			s.slowLocked()
		}
		s.closeLocked(ReasonTransportError, err, false)
	}
	s.out.Done(taken)
	c.stopFlushingLocked()
	s.mu.Unlock()
	_ = c.st.Close("")
}
