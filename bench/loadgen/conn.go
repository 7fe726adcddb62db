package loadgen

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// readBuffer bounds the frames a client can take, in bytes.
	readBuffer = 4096
	// ioTimeout bounds the handshake and each write.
	ioTimeout = 20 * time.Second

	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// conn is one client.
type conn struct {
	nc net.Conn

	// Owned by the dialing goroutine, then by the reader.
	br *bufio.Reader

	mu  sync.Mutex // guards writes
	out []byte
}

// dial opens the WebSocket and joins the default namespace.
func dial(ctx context.Context, addr string) (*conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &conn{nc: nc, br: bufio.NewReaderSize(nc, readBuffer)}
	nc.SetDeadline(time.Now().Add(ioTimeout))
	if err := c.handshake(addr); err != nil {
		nc.Close()
		return nil, err
	}
	nc.SetDeadline(time.Time{})
	return c, nil
}

func (c *conn) handshake(addr string) error {
	_, err := fmt.Fprintf(c.nc, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s\r\n"+
		"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: c29ja2V0ZmxlZXRiZW5jaA==\r\n\r\n", addr)
	if err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("handshake answered %s", resp.Status)
	}
	if err := c.expect("0{"); err != nil {
		return err
	}
	if err := c.send([]byte("40")); err != nil {
		return err
	}
	return c.expect("40")
}

func (c *conn) expect(prefix string) error {
	op, payload, err := c.read()
	if err != nil {
		return err
	}
	if op != opText || !bytes.HasPrefix(payload, []byte(prefix)) {
		return fmt.Errorf("got frame %d %.80q, want a packet that begins with %q", op, payload, prefix)
	}
	return nil
}

// read returns the next frame; payload is valid until the next read.
func (c *conn) read() (op byte, payload []byte, err error) {
	head, err := c.br.Peek(2)
	if err != nil {
		return 0, nil, err
	}
	op, size, skip := head[0]&0x0f, int(head[1]&0x7f), 2
	if head[0]&0xf0 != 0x80 || head[1]&0x80 != 0 {
		return 0, nil, errors.New("fragmented, compressed or masked frame")
	}
	if size == 126 {
		if head, err = c.br.Peek(4); err != nil {
			return 0, nil, err
		}
		size, skip = int(binary.BigEndian.Uint16(head[2:])), 4
	}
	if size+skip > readBuffer {
		return 0, nil, fmt.Errorf("frame larger than %d bytes", readBuffer)
	}
	frame, err := c.br.Peek(skip + size)
	if err != nil {
		return 0, nil, err
	}
	c.br.Discard(skip + size)
	return op, frame[skip:], nil
}

// drained reports whether everything received has been read.
func (c *conn) drained() bool { return c.br.Buffered() == 0 }

// send writes text frames in one write.
func (c *conn) send(packets ...[]byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = c.out[:0]
	for _, p := range packets {
		c.out = appendFrame(c.out, opText, p)
	}
	return c.writeLocked()
}

func (c *conn) sendControl(op byte, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = appendFrame(c.out[:0], op, payload)
	return c.writeLocked()
}

func (c *conn) writeLocked() error {
	c.nc.SetWriteDeadline(time.Now().Add(ioTimeout))
	_, err := c.nc.Write(c.out)
	return err
}

// appendFrame appends a client's frame. Its mask is zero: legal, and nothing to
// compute.
func appendFrame(b []byte, op byte, payload []byte) []byte {
	b = append(b, 0x80|op)
	if len(payload) < 126 {
		b = append(b, 0x80|byte(len(payload)))
	} else {
		b = append(b, 0x80|126, byte(len(payload)>>8), byte(len(payload)))
	}
	b = append(b, 0, 0, 0, 0)
	return append(b, payload...)
}

// closed reports whether err is how a connection ends that was asked to.
func closed(err error) bool {
	var ne net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &ne) && ne.Timeout()
}
