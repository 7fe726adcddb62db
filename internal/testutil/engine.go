package testutil

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Engine.IO 4 packet types as they stand on the wire.
const (
	PacketOpen    = '0'
	PacketClose   = '1'
	PacketPing    = '2'
	PacketPong    = '3'
	PacketMessage = '4'
	PacketUpgrade = '5'
	PacketNoop    = '6'
)

// EnginePacket is one Engine.IO packet.
type EnginePacket struct {
	Type   byte
	Data   []byte
	Binary bool // always a message
}

func (p EnginePacket) text() string { return string(p.Type) + string(p.Data) }

// Message and BinaryMessage make the packets that carry user data.
func Message(text string) EnginePacket { return EnginePacket{Type: PacketMessage, Data: []byte(text)} }

// BinaryMessage is Message for bytes.
func BinaryMessage(b []byte) EnginePacket {
	return EnginePacket{Type: PacketMessage, Data: b, Binary: true}
}

// EngineOptions configure DialEngine.
type EngineOptions struct {
	// Transports in order: "websocket", "polling", or both with "polling" first,
	// which upgrades. Default: "websocket".
	Transports []string
	Path       string // default "/socket.io/"
	Query      url.Values
	Header     http.Header
	// NoPong leaves the server's pings unanswered.
	NoPong bool

	receive func(EnginePacket) // instead of Read
}

// Handshake is what the server's open packet says.
type Handshake struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int      `json:"pingInterval"` // ms
	PingTimeout  int      `json:"pingTimeout"`  // ms
	MaxPayload   int      `json:"maxPayload"`
}

// HTTPError is a refusal by the server, before or instead of a session.
type HTTPError struct {
	Status int
	Header http.Header
	Body   string
}

func (e *HTTPError) Error() string {
	return fmt.Sprintf("testutil: HTTP status %d: %s", e.Status, e.Body)
}

// CloseError says why a connection ended, in the words of the official client.
type CloseError struct {
	Reason string
	Err    error
}

func (e *CloseError) Error() string {
	if e.Err == nil {
		return "testutil: " + e.Reason
	}
	return "testutil: " + e.Reason + ": " + e.Err.Error()
}

func (e *CloseError) Unwrap() error { return e.Err }

// inbox is how many packets an Engine holds for Read before it stops reading.
const inbox = 1024

const closeTimeout = 5 * time.Second

// Engine is an Engine.IO 4 connection. It answers pings and performs the upgrade;
// everything else is up to the caller.
type Engine struct {
	// Immutable after DialEngine.
	Handshake Handshake
	opts      EngineOptions
	base      *url.URL // with path and query, without transport and sid
	http      *http.Client
	packets   chan EnginePacket
	ctx       context.Context // ends with the connection; its cause says why
	cancel    context.CancelCauseFunc
	upgraded  chan struct{}
	upgrade   chan *websocket.Conn // a probed connection, ready for '5'
	wg        sync.WaitGroup

	ping *time.Timer // closes the connection when no ping comes

	send sync.Mutex // held while packets are written, so that they stay together

	mu sync.Mutex // guards the following; leaf lock
	ws *websocket.Conn
}

// DialEngine opens a connection to the server at rawURL, http:// or https://.
// ctx bounds the opening only. A refusal is an *HTTPError.
func DialEngine(ctx context.Context, rawURL string, opts EngineOptions) (*Engine, error) {
	e, err := newEngine(rawURL, opts)
	if err != nil {
		return nil, err
	}
	if e.opts.Transports[0] == "websocket" {
		err = e.openWebSocket(ctx)
	} else {
		err = e.openPolling(ctx)
	}
	if err != nil {
		e.cancel(err)
		e.http.CloseIdleConnections()
		return nil, err
	}
	if d := e.silence(); d > 0 {
		e.ping = time.AfterFunc(d, func() { e.end("ping timeout", nil) })
	}
	e.wg.Go(e.run)
	return e, nil
}

func newEngine(rawURL string, opts EngineOptions) (*Engine, error) {
	base, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("testutil: dial: %w", err)
	}
	if len(opts.Transports) == 0 {
		opts.Transports = []string{"websocket"}
	}
	if opts.Path == "" {
		opts.Path = "/socket.io/"
	}
	base.Path = opts.Path
	base.Scheme = strings.Replace(base.Scheme, "ws", "http", 1)
	q := base.Query()
	for k, v := range opts.Query {
		q[k] = v
	}
	if !q.Has("EIO") {
		q.Set("EIO", "4")
	}
	base.RawQuery = q.Encode()
	e := &Engine{opts: opts, base: base, http: &http.Client{Transport: &http.Transport{}},
		packets: make(chan EnginePacket, inbox), upgraded: make(chan struct{}), upgrade: make(chan *websocket.Conn, 1)}
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	return e, nil
}

// silence is how long the server may be silent.
func (e *Engine) silence() time.Duration {
	return time.Duration(e.Handshake.PingInterval+e.Handshake.PingTimeout) * time.Millisecond
}

// URL returns the address of one transport of this session.
func (e *Engine) URL(transport string) string {
	u := *e.base
	q := u.Query()
	q.Set("transport", transport)
	if e.Handshake.SID != "" {
		q.Set("sid", e.Handshake.SID)
	}
	u.RawQuery = q.Encode()
	if transport == "websocket" {
		u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	}
	return u.String()
}

// Transport returns the name of the transport in use.
func (e *Engine) Transport() string {
	if e.WebSocket() != nil {
		return "websocket"
	}
	return "polling"
}

// WebSocket returns the connection below, for tests that write frames
// themselves; nil while polling.
func (e *Engine) WebSocket() *websocket.Conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ws
}

// Upgraded is closed when polling has been left for WebSocket.
func (e *Engine) Upgraded() <-chan struct{} { return e.upgraded }

// Done is closed when the connection has ended.
func (e *Engine) Done() <-chan struct{} { return e.ctx.Done() }

// Err returns a *CloseError once the connection has ended, else nil.
func (e *Engine) Err() error {
	if e.ctx.Err() == nil {
		return nil
	}
	return context.Cause(e.ctx)
}

// Read returns the next packet other than a ping. It fails when the connection
// has ended and nothing is left. The Engine stops reading from the network while
// nobody reads from it.
func (e *Engine) Read(ctx context.Context) (EnginePacket, error) {
	select {
	case p := <-e.packets:
		return p, nil
	default:
	}
	select {
	case p := <-e.packets:
		return p, nil
	case <-ctx.Done():
		return EnginePacket{}, fmt.Errorf("testutil: read: %w", ctx.Err())
	case <-e.ctx.Done():
	}
	select { // what arrived just before the end
	case p := <-e.packets:
		return p, nil
	default:
		return EnginePacket{}, e.Err()
	}
}

// Send writes packets, which are not checked in any way, one directly after the
// other.
func (e *Engine) Send(ctx context.Context, packets ...EnginePacket) error {
	e.send.Lock()
	defer e.send.Unlock()
	if err := e.Err(); err != nil {
		return err
	}
	if ws := e.WebSocket(); ws != nil {
		return e.writeWebSocket(ws, packets)
	}
	return e.post(ctx, packets)
}

// Close ends the connection as the official client does and waits for its
// goroutines. A connection that has ended already is no error.
func (e *Engine) Close() error {
	if e.Err() == nil && e.Transport() == "polling" {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		_ = e.Send(ctx, EnginePacket{Type: PacketClose})
		cancel()
	}
	e.end("io client disconnect", nil)
	e.wg.Wait()
	return nil
}

// Abort ends the connection without a closing packet or frame; a poll that waits
// is cut.
func (e *Engine) Abort() {
	if ws := e.WebSocket(); ws != nil {
		ws.NetConn().Close()
	}
	e.end("transport close", errors.New("aborted"))
	e.wg.Wait()
}

// end ends the connection; the first reason counts.
func (e *Engine) end(reason string, err error) {
	e.cancel(&CloseError{Reason: reason, Err: err})
	if ws := e.WebSocket(); ws != nil {
		closeFrame := websocket.FormatCloseMessage(websocket.CloseNoStatusReceived, "")
		_ = ws.WriteControl(websocket.CloseMessage, closeFrame, time.Now().Add(time.Second))
		ws.Close()
	}
	e.dropUpgrade()
}

// dropUpgrade closes a probed connection nobody will take any more.
func (e *Engine) dropUpgrade() {
	select {
	case ws := <-e.upgrade:
		ws.Close()
	default:
	}
}

// run reads until the connection ends. It is the only reader.
func (e *Engine) run() {
	if e.WebSocket() == nil {
		e.poll()
	}
	if e.WebSocket() != nil {
		e.readWebSocket()
	}
	if e.ping != nil {
		e.ping.Stop()
	}
	e.http.CloseIdleConnections()
}

// handle takes one packet from the server; false ends the reading.
func (e *Engine) handle(p EnginePacket) bool {
	switch {
	case p.Type == PacketPing && !p.Binary:
		if e.ping != nil {
			e.ping.Reset(e.silence())
		}
		if !e.opts.NoPong {
			_ = e.Send(e.ctx, EnginePacket{Type: PacketPong, Data: p.Data})
		}
		return e.ctx.Err() == nil
	case p.Type == PacketClose:
		e.end("transport close", nil)
		return false
	case p.Type == PacketNoop:
		return true
	}
	if e.opts.receive != nil {
		if p.Type == PacketMessage {
			e.opts.receive(p)
		}
		return e.ctx.Err() == nil
	}
	select {
	case e.packets <- p:
		return true
	case <-e.ctx.Done():
		return false
	}
}

// opened takes the server's first packet.
func (e *Engine) opened(p EnginePacket, err error) error {
	if err != nil {
		return err
	}
	if p.Type != PacketOpen || p.Binary {
		return fmt.Errorf("testutil: dial: the first packet is %q", p.text())
	}
	if err := json.Unmarshal(p.Data, &e.Handshake); err != nil {
		return fmt.Errorf("testutil: dial: open packet: %w", err)
	}
	return nil
}

func (e *Engine) wantsUpgrade() bool {
	return slices.Contains(e.opts.Transports, "websocket") && slices.Contains(e.Handshake.Upgrades, "websocket")
}

// parsePacket reads a packet in text form.
func parsePacket(s string) (EnginePacket, error) {
	if s == "" {
		return EnginePacket{}, errors.New("empty packet")
	}
	if s[0] == 'b' {
		b, err := decodeBase64(s[1:])
		return EnginePacket{Type: PacketMessage, Data: b, Binary: true}, err
	}
	if s[0] < PacketOpen || s[0] > PacketNoop {
		return EnginePacket{}, fmt.Errorf("unknown packet %.20q", s)
	}
	return EnginePacket{Type: s[0], Data: []byte(s[1:])}, nil
}
