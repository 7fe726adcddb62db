package testutil

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/internal/parser"
)

// ClientOptions configure Dial.
type ClientOptions struct {
	// Transports, Path, Query and Header are as in EngineOptions.
	Transports []string
	Path       string
	Query      url.Values
	Header     http.Header
	NoPong     bool

	// Namespace to join; default "/".
	Namespace string
	// Auth is the payload of CONNECT; nil for none.
	Auth any
	// Reconnect dials again when the connection is lost, and rejoins all
	// namespaces with their pid and offset.
	Reconnect bool
	// ReconnectDelay is the pause between attempts. Default 50 ms.
	ReconnectDelay time.Duration
}

// Client is a Socket.IO client with one connection. The embedded Socket is the
// namespace it was dialed with.
type Client struct {
	*Socket

	// Immutable after Dial.
	url    string
	opts   ClientOptions
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	jobs   chan func() // what handlers have to do, in order
	wg     sync.WaitGroup

	mu      sync.Mutex // guards the following; taken before Socket.mu
	engine  *Engine
	sockets map[string]*Socket
}

// maxJobs is how many events wait for handlers before reading stops.
const maxJobs = 4096

// Dial connects to the server at rawURL, http:// or https://, and joins a
// namespace. ctx bounds this only. A refusal is an *HTTPError or a *ConnectError.
func Dial(ctx context.Context, rawURL string, opts ClientOptions) (*Client, error) {
	if opts.Namespace == "" {
		opts.Namespace = "/"
	}
	if opts.ReconnectDelay <= 0 {
		opts.ReconnectDelay = 50 * time.Millisecond
	}
	c := &Client{url: rawURL, opts: opts, jobs: make(chan func(), maxJobs), sockets: make(map[string]*Socket)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	e, err := c.dial(ctx)
	if err != nil {
		c.cancel()
		return nil, err
	}
	c.wg.Go(func() { c.watch(e) })
	c.wg.Go(c.runHandlers)
	if c.Socket, err = c.Of(ctx, opts.Namespace, opts.Auth); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// MustDial is Dial for tests: it fails the test on an error, and closes the
// client when the test ends.
func MustDial(tb testing.TB, rawURL string, opts ClientOptions) *Client {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), expectTimeout)
	defer cancel()
	c, err := Dial(ctx, rawURL, opts)
	if err != nil {
		tb.Fatalf("testutil: dial %s: %v", rawURL, err)
	}
	tb.Cleanup(c.Close)
	return c
}

// dial opens an engine and makes it the client's. The decoder is used by the
// engine's reading goroutine only.
func (c *Client) dial(ctx context.Context) (*Engine, error) {
	o := c.opts
	r := &receiver{client: c, ready: make(chan struct{})}
	e, err := DialEngine(ctx, c.url, EngineOptions{Transports: o.Transports, Path: o.Path, Query: o.Query, Header: o.Header,
		NoPong: o.NoPong, receive: r.receive})
	if err != nil {
		return nil, err
	}
	r.engine = e
	close(r.ready)
	c.mu.Lock()
	c.engine = e
	c.mu.Unlock()
	return e, nil
}

// receiver takes the messages of one engine.
type receiver struct {
	client  *Client
	engine  *Engine
	ready   chan struct{} // closed when engine is set
	decoder parser.Decoder
}

func (r *receiver) receive(p EnginePacket) {
	<-r.ready
	decode := r.decoder.Text
	if p.Binary {
		decode = r.decoder.Binary
	}
	packet, done, err := decode(p.Data)
	if err != nil {
		r.engine.end("parse error", err)
		return
	}
	if !done {
		return
	}
	if s := r.client.socket(packet.Namespace); s != nil {
		s.take(packet)
	}
}

func (c *Client) socket(nsp string) *Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sockets[nsp]
}

func (c *Client) all() []*Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*Socket, 0, len(c.sockets))
	for _, s := range c.sockets {
		all = append(all, s)
	}
	return all
}

// Of joins one more namespace over the same connection, or the same one again
// after it was left. A refusal is a *ConnectError.
func (c *Client) Of(ctx context.Context, nsp string, auth any) (*Socket, error) {
	s := c.socket(nsp)
	if s == nil {
		s = newSocket(c, nsp, auth)
		c.mu.Lock()
		c.sockets[nsp] = s
		c.mu.Unlock()
	}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	return s, s.WaitConnected(ctx)
}

// Engine returns the present connection, for tests that misbehave on it.
func (c *Client) Engine() *Engine {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engine
}

// Close leaves all namespaces by ending the connection, and waits for everything
// the client started. It must not be called from a handler.
func (c *Client) Close() {
	c.cancel()
	_ = c.Engine().Close()
	c.wg.Wait()
}

// watch tells the sockets when the connection has ended, and dials again when
// that is wanted.
func (c *Client) watch(e *Engine) {
	for e != nil {
		<-e.Done()
		_ = e.Close()
		var why *CloseError
		errors.As(e.Err(), &why)
		for _, s := range c.all() {
			s.lost(why.Reason)
		}
		e = c.redial()
	}
}

// redial returns a new engine, or nil when there is to be none.
func (c *Client) redial() *Engine {
	for c.opts.Reconnect && c.ctx.Err() == nil {
		select {
		case <-c.ctx.Done():
			return nil
		case <-time.After(c.opts.ReconnectDelay):
		}
		e, err := c.dial(c.ctx)
		if err != nil {
			continue
		}
		if c.ctx.Err() != nil { // Close may have seen the engine before this one
			_ = e.Close()
			return nil
		}
		for _, s := range c.all() {
			if s.wantsReconnect() {
				_ = s.connect(c.ctx)
			}
		}
		return e
	}
	return nil
}

func (c *Client) runHandlers() {
	for {
		select {
		case job := <-c.jobs:
			job()
		case <-c.ctx.Done():
			return
		}
	}
}

// later queues a handler's work.
func (c *Client) later(job func()) {
	select {
	case c.jobs <- job:
	case <-c.ctx.Done():
	}
}

// sendPacket writes one Socket.IO packet and its attachments.
func (c *Client) sendPacket(ctx context.Context, nsp string, t parser.Type, id uint64, hasID bool, data []byte, atts []parser.Attachment) error {
	text := append(parser.AppendHeader(nil, t, len(atts), nsp, id, hasID), data...)
	packets := []EnginePacket{{Type: PacketMessage, Data: text}}
	for _, a := range atts {
		packets = append(packets, BinaryMessage(a.Data))
	}
	return c.Engine().Send(ctx, packets...)
}

// ConnectError is the server's refusal of a namespace.
type ConnectError struct {
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data"`
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("testutil: connect error: %s %s", e.Message, e.Data)
}
