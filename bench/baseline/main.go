// Command baseline is the floor the benchmarks compare with: the least a Go
// server over gorilla/websocket can do and still answer the load's clients. It
// encodes a broadcast once, coalesces writes as the real server does, and has no
// rooms, no acknowledgement bookkeeping, no limits and no polling. It is no
// server to copy.
//
// # Concurrency
//
// One reader goroutine per connection, one flusher while data is pending, one
// timer for the heartbeat. The hub's and a client's lock are leaves.
package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/socketfleet/socketfleet/bench/child"
)

const (
	pingInterval = 25 * time.Second
	maxBatch     = 64 << 10 // bytes per write
)

func main() {
	h := &hub{clients: map[*client]struct{}{}}
	child.Main(h, "bare gorilla/websocket", h.count)
}

type hub struct {
	mu      sync.RWMutex // guards the following
	clients map[*client]struct{}
}

func (h *hub) count() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.clients)
}

var upgrader = websocket.Upgrader{
	ReadBufferSize:  1024,
	WriteBufferPool: &sync.Pool{},
	CheckOrigin:     func(*http.Request) bool { return true },
}

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c := &client{nc: ws.NetConn()}
	c.push(text(fmt.Appendf(nil, `0{"sid":%q,"upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`, rand.Text())))
	// Off the handler's goroutine, so that net/http frees what it holds.
	go h.read(ws, c)
}

func (h *hub) read(ws *websocket.Conn, c *client) {
	ping := time.AfterFunc(pingInterval, c.ping)
	c.mu.Lock()
	c.heartbeat = ping
	c.mu.Unlock()
	defer ws.Close()
	defer c.stop()
	defer h.remove(c)
	for {
		_, p, err := ws.ReadMessage()
		if err != nil {
			return
		}
		h.handle(c, p)
	}
}

func (h *hub) remove(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.clients, c)
}

// handle knows the packets the load sends: CONNECT, pong, "fan", "echo".
func (h *hub) handle(c *client, p []byte) {
	switch {
	case bytes.Equal(p, []byte("40")):
		h.mu.Lock()
		h.clients[c] = struct{}{}
		h.mu.Unlock()
		c.push(text(fmt.Appendf(nil, `40{"sid":%q}`, rand.Text())))
	case bytes.HasPrefix(p, []byte(`42["fan",`)):
		frame := text(p)
		h.mu.RLock()
		defer h.mu.RUnlock()
		for c := range h.clients {
			c.push(frame)
		}
	default:
		id, args, ok := bytes.Cut(p, []byte(`["echo",`))
		if ok && bytes.HasPrefix(id, []byte("42")) {
			c.push(text(fmt.Appendf(nil, "43%s[%s", id[2:], args)))
		}
	}
}

// client is one connection's outbound side.
type client struct {
	nc net.Conn

	mu        sync.Mutex // guards the following
	queue     [][]byte
	flushing  bool
	heartbeat *time.Timer // nil once stopped
}

func (c *client) push(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, frame)
	if !c.flushing {
		c.flushing = true
		go c.flush()
	}
}

var batches = sync.Pool{New: func() any { return new([]byte) }}

// flush writes what is queued, in as few writes as possible, and ends.
func (c *client) flush() {
	batch := batches.Get().(*[]byte)
	defer batches.Put(batch)
	var queue [][]byte
	for {
		c.mu.Lock()
		queue, c.queue = c.queue, queue[:0]
		c.flushing = len(queue) > 0
		if !c.flushing {
			c.queue = nil
		}
		c.mu.Unlock()
		if len(queue) == 0 {
			return
		}
		*batch = (*batch)[:0]
		for _, frame := range queue {
			if len(*batch)+len(frame) > maxBatch {
				c.nc.Write(*batch)
				*batch = (*batch)[:0]
			}
			*batch = append(*batch, frame...)
		}
		if _, err := c.nc.Write(*batch); err != nil {
			c.nc.Close()
		}
	}
}

func (c *client) ping() {
	c.push(text([]byte("2")))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.heartbeat != nil {
		c.heartbeat.Reset(pingInterval)
	}
}

func (c *client) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heartbeat.Stop()
	c.heartbeat = nil
}

// text frames p: a final text frame, not masked.
func text(p []byte) []byte {
	if len(p) < 126 {
		return append([]byte{0x81, byte(len(p))}, p...)
	}
	return append([]byte{0x81, 126, byte(len(p) >> 8), byte(len(p))}, p...)
}
