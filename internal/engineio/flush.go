package engineio

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/internal/wsframe"
)

// maxBatch is how many bytes one write carries at most. With the default write
// timeout a client must take 6.4 KiB/s.
const maxBatch = 64 << 10

// batch is what a flusher is busy writing.
type batch struct {
	buf   []byte
	msgs  []*Message
	taken int  // bytes of msgs, as the queue counts them
	last  bool // a close frame, or the end in its place, is all that is left
}

var batches = sync.Pool{New: func() any { return new(batch) }}

func (b *batch) reset() {
	clear(b.msgs)
	b.msgs, b.buf, b.taken, b.last = b.msgs[:0], b.buf[:0], 0, false
}

func (b *batch) release() {
	b.reset()
	if cap(b.msgs) > 1024 {
		b.msgs = nil
	}
	if cap(b.buf) > keepBuffer {
		b.buf = nil
	}
	batches.Put(b)
}

// flush is the flusher goroutine. It ends when nothing waits.
func (w *wsConn) flush() {
	defer w.s.release()
	b := batches.Get().(*batch)
	defer b.release()
	for w.fill(b) {
		if b.last && !w.hangUp() {
			b.buf = wsframe.AppendClose(b.buf, w.closeCode)
		}
		if err := w.write(b); err != nil {
			w.writeFailed(err, b.taken)
			return
		}
		if b.last {
			_ = w.nc.SetReadDeadline(time.Now().Add(w.linger()))
		}
	}
}

// fill replaces what b holds by what waits: control frames first, then packets if
// this is the session's transport, and the close frame after all else. It returns
// false, and the flusher has to end, when nothing waits.
func (w *wsConn) fill(b *batch) bool {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.Done(b.taken)
	b.reset()
	b.buf = append(b.buf, w.ctl...)
	w.ctl = nil
	if s.transport == transport(w) {
		b.msgs, b.taken = s.out.Take(b.msgs, maxBatch)
		if len(b.msgs) == 0 && s.state == stateClosing {
			s.endLocked(s.reason, nil)
		}
	}
	if len(b.buf) == 0 && len(b.msgs) == 0 {
		if !w.ending || w.closeSent {
			w.stopFlushingLocked()
			return false
		}
		w.closeSent, b.last = true, true
	}
	return true
}

func (w *wsConn) stopFlushingLocked() {
	w.flushing = false
	if w.idle != nil {
		close(w.idle)
		w.idle = nil
	}
}

// waitIdleLocked waits until the flusher has written all there is.
func (w *wsConn) waitIdleLocked() {
	for w.flushing {
		if w.idle == nil {
			w.idle = make(chan struct{})
		}
		idle := w.idle
		w.s.mu.Unlock()
		<-idle
		w.s.mu.Lock()
	}
}

// write sends a batch: one write, unless it has a message larger than maxBatch.
func (w *wsConn) write(b *batch) error {
	if len(b.buf) == 0 && len(b.msgs) == 1 && len(b.msgs[0].att) == 0 {
		frame := w.textFrame(b.msgs[0])
		w.s.countOne(onWebSocket, b.msgs[0], len(frame))
		return w.writeChunks(frame)
	}
	var t tally
	bytes := len(b.buf)
	for _, m := range b.msgs {
		t.add(m)
		bytes += m.Size()
		if err := w.append(b, m); err != nil {
			return err
		}
	}
	w.s.countOut(onWebSocket, &t, bytes)
	return w.drain(b)
}

// textFrame returns the frame of a message's text.
func (w *wsConn) textFrame(m *Message) []byte {
	if m.deflates(w.deflate) {
		if frame := m.deflated(w.deflate)[0]; frame != nil {
			return frame
		}
	}
	return m.text.frame()
}

// append adds the frames of one message to the batch's buffer.
func (w *wsConn) append(b *batch, m *Message) error {
	if err := w.appendBytes(b, w.textFrame(m)); err != nil {
		return err
	}
	if w.b64 && len(m.att) > 0 {
		for _, p := range m.encoded(w.s.rev) {
			if err := w.appendBytes(b, p.frame()); err != nil {
				return err
			}
		}
		return nil
	}
	for i, a := range m.att {
		if err := w.appendBinary(b, m, i, a); err != nil {
			return err
		}
	}
	return nil
}

// appendBinary adds the frame of one attachment.
func (w *wsConn) appendBinary(b *batch, m *Message, i int, a []byte) error {
	switch {
	case w.s.rev == revision3: // with a type byte, and so never compressed
		b.buf = append(wsframe.AppendHeader(b.buf, wsframe.Binary, 1+len(a)), binaryMessage)
		return w.appendBytes(b, a)
	case m.deflates(w.deflate):
		if frame := m.deflated(w.deflate)[1+i]; frame != nil {
			return w.appendBytes(b, frame)
		}
	}
	b.buf = wsframe.AppendHeader(b.buf, wsframe.Binary, len(a))
	return w.appendBytes(b, a)
}

// appendBytes copies p into the buffer, or writes it directly when it is large.
func (w *wsConn) appendBytes(b *batch, p []byte) error {
	if len(b.buf)+len(p) <= maxBatch {
		b.buf = append(b.buf, p...)
		return nil
	}
	if err := w.drain(b); err != nil {
		return err
	}
	if len(p) <= maxBatch {
		b.buf = append(b.buf, p...)
		return nil
	}
	return w.writeChunks(p)
}

func (w *wsConn) drain(b *batch) error {
	if len(b.buf) == 0 {
		return nil
	}
	err := w.writeChunks(b.buf)
	b.buf = b.buf[:0]
	return err
}

// writeChunks writes p in pieces that each have WriteTimeout.
func (w *wsConn) writeChunks(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), maxBatch)
		if d := w.s.srv.opts.WriteTimeout; d > 0 {
			_ = w.nc.SetWriteDeadline(time.Now().Add(d))
		}
		if _, err := w.nc.Write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// writeFailed gives the connection up, and with it what was being written.
func (w *wsConn) writeFailed(err error, taken int) {
	s := w.s
	s.mu.Lock()
	slow := errors.Is(err, os.ErrDeadlineExceeded)
	if slow {
		err = ErrWriteTimeout
	}
	w.gone = true
	if s.transport == transport(w) && s.state != stateClosed {
		if slow {
			s.slowLocked()
		}
		s.closeLocked(ReasonTransportError, err, false)
	}
	s.out.Done(taken)
	w.stopFlushingLocked()
	s.mu.Unlock()
	_ = w.nc.Close()
}
