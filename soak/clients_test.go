package soak

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/socketfleet/socketfleet/internal/testutil"
)

// kinds are the clients of a run, with the number of workers that play them. Of
// those that must work more than half have to: on a busy machine some miss the
// server's short heartbeat.
var kinds = []struct {
	name     string
	workers  int
	mustWork bool
	play     func(p *player, ctx context.Context) error // a method expression
}{
	{"websocket", 4, true, func(p *player, ctx context.Context) error { return p.visit(ctx, "websocket") }},
	{"polling", 4, true, func(p *player, ctx context.Context) error { return p.visit(ctx, "polling") }},
	{"upgrade", 4, true, func(p *player, ctx context.Context) error { return p.visit(ctx, "polling", "websocket") }},
	{"namespaces", 3, true, (*player).namespaces},
	{"flood", 2, false, (*player).flood},
	{"vanish", 3, false, (*player).vanish},
	{"slow reader", 8, false, (*player).slow},
	{"abandoned poll", 3, false, (*player).abandon},
	{"cut upgrade", 3, false, (*player).cutUpgrade},
	{"malformed", 4, false, (*player).malformed},
}

// patience bounds what one client waits for.
const patience = 30 * time.Second

// player plays clients, one at a time.
type player struct {
	url string
	rnd *rand.Rand // owned by the player's goroutine
}

func newPlayer(url string, seed int64) *player { return &player{url, rand.New(rand.NewSource(seed))} }

func (p *player) dial(ctx context.Context, nsp string, transports ...string) (*testutil.Client, error) {
	return testutil.Dial(ctx, p.url, testutil.ClientOptions{Namespace: nsp, Transports: transports})
}

// visit connects, is answered and leaves.
func (p *player) visit(ctx context.Context, transports ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := p.dial(ctx, "/", transports...)
	if err != nil {
		return err
	}
	defer c.Close()
	return echo(ctx, c.Socket, strings.Repeat("x", p.rnd.Intn(5000)))
}

func echo(ctx context.Context, s *testutil.Socket, text string) error {
	got, err := s.EmitWithAck(ctx, "echo", text)
	if err == nil && got.At(0) != text {
		err = errors.New("another echo")
	}
	return err
}

// namespaces joins and leaves namespaces that are made for it.
func (p *player) namespaces(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := p.dial(ctx, "/")
	if err != nil {
		return err
	}
	defer c.Close()
	for _, room := range p.rnd.Perm(100)[:3] {
		s, err := c.Of(ctx, fmt.Sprintf("/room-%d", room), nil)
		if err != nil {
			return err
		}
		if err := echo(ctx, s, "x"); err != nil {
			return err
		}
		if p.rnd.Intn(2) == 0 {
			_ = s.Disconnect()
		}
	}
	return nil
}

// flood sends more than it lets be answered.
func (p *player) flood(ctx context.Context) error {
	c, err := p.dial(ctx, "/")
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range 500 {
		if err := c.EmitID(uint64(i), "echo", strings.Repeat("f", 500)); err != nil {
			return err
		}
	}
	return nil
}

// vanish joins a room and loses its connection; its session could be resumed.
func (p *player) vanish(ctx context.Context) error {
	c, err := p.dial(ctx, "/", [...]string{"websocket", "polling"}[p.rnd.Intn(2)])
	if err != nil {
		return err
	}
	defer c.Close()
	err = c.Emit("join", "slow")
	c.Engine().Abort()
	return err
}

// slow joins the room that is sent most, and does not read.
func (p *player) slow(ctx context.Context) error {
	c, err := p.upgrade("")
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.text("40", `42["join","slow"]`); err != nil {
		return err
	}
	timer := time.NewTimer(time.Duration(500+p.rnd.Intn(3000)) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

// abandon opens a polling session and never comes back, or leaves in mid-poll.
func (p *player) abandon(ctx context.Context) error {
	sid, err := p.handshake(ctx)
	if err != nil || p.rnd.Intn(2) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, _ = p.request(ctx, "POST", "&sid="+sid, "40")
	_, _ = p.request(ctx, "GET", "&sid="+sid, "")
	_, _ = p.request(ctx, "GET", "&sid="+sid, "")
	return nil
}

// cutUpgrade breaks an upgrade off at any byte, with a reset or an orderly end.
func (p *player) cutUpgrade(ctx context.Context) error {
	sid, err := p.handshake(ctx)
	if err != nil {
		return err
	}
	c, err := p.upgrade("&sid=" + sid)
	if err != nil {
		return err
	}
	defer c.Close()
	said := frame(0x81, "2probe") + frame(0x81, "5") + frame(0x81, "40")
	if _, err := io.WriteString(c, said[:p.rnd.Intn(len(said)+1)]); err != nil {
		return err
	}
	if p.rnd.Intn(2) == 0 {
		return c.Conn.(*net.TCPConn).SetLinger(0)
	}
	return nil
}

var nonsense = []string{
	frame(0x81, "9"), frame(0x81, ""), frame(0x81, "4"), frame(0x81, "4451-"), frame(0x81, "42["), frame(0x81, `4511-["e"]`),
	frame(0x81, `451-["e",{"_placeholder":true,"num":0}]`), frame(0x82, "bytes"), frame(0x83, "x"), frame(0x80, "x"), frame(0x01, "4x"),
	"\x81\x05hello", "\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff", "\xc1\x80\x00\x00\x00\x00", frame(0x88, "\x03"), frame(0x81, "\xff\xfe"),
	frame(0x81, "40/nowhere,"), frame(0x81, "41"), frame(0x81, "40"), frame(0x81, "3"), frame(0x89, "ping"), frame(0x81, "42"+strings.Repeat("[", 3000)),
}

// malformed sends what no client sends, and looks at what becomes of it.
func (p *player) malformed(ctx context.Context) error {
	c, err := p.upgrade("")
	if err != nil {
		return err
	}
	defer c.Close()
	said := frame(0x81, "40")
	for range 1 + p.rnd.Intn(4) {
		said += nonsense[p.rnd.Intn(len(nonsense))]
	}
	if _, err := io.WriteString(c, said); err != nil {
		return err
	}
	_ = c.SetDeadline(time.Now().Add(time.Duration(p.rnd.Intn(1000)) * time.Millisecond))
	_, _ = io.Copy(io.Discard, c)
	return nil
}

// request sends one HTTP request of the polling transport on a connection of its
// own.
func (p *player) request(ctx context.Context, method, query, body string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.url+"/socket.io/?EIO=4&transport=polling"+query, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

// handshake opens a polling session and returns its id.
func (p *player) handshake(ctx context.Context) (string, error) {
	open, err := p.request(ctx, "GET", "", "")
	_, rest, found := strings.Cut(open, `"sid":"`)
	if err != nil || !found {
		return "", fmt.Errorf("handshake: %q, %w", open, err)
	}
	sid, _, _ := strings.Cut(rest, `"`)
	return sid, nil
}

// rawConn is a WebSocket without a library.
type rawConn struct{ net.Conn }

// upgrade opens a WebSocket, for the session that query names or a new one.
func (p *player) upgrade(query string) (*rawConn, error) {
	nc, err := net.DialTimeout("tcp", strings.TrimPrefix(p.url, "http://"), patience)
	if err != nil {
		return nil, err
	}
	_ = nc.SetDeadline(time.Now().Add(patience))
	_, err = io.WriteString(nc, "GET /socket.io/?EIO=4&transport=websocket"+query+" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	if err == nil {
		var res *http.Response
		res, err = http.ReadResponse(bufio.NewReaderSize(nc, 512), nil)
		if err == nil && res.StatusCode != http.StatusSwitchingProtocols {
			err = errors.New(res.Status)
		}
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &rawConn{nc}, nil
}

func (c *rawConn) text(packets ...string) error {
	for _, packet := range packets {
		if _, err := io.WriteString(c, frame(0x81, packet)); err != nil {
			return err
		}
	}
	return nil
}

// frame returns a client's frame with a mask of zeros; first is its first byte.
func frame(first byte, payload string) string {
	if n := len(payload); n >= 126 {
		return string([]byte{first, 0xfe, byte(n >> 8), byte(n), 0, 0, 0, 0}) + payload
	}
	return string([]byte{first, 0x80 | byte(len(payload)), 0, 0, 0, 0}) + payload
}
