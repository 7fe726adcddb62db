package engineio

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func TestWebSocketExchangesMessages(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, echo).ws()
	p.write("4hello")
	if got := p.read(); got != "4hello" {
		t.Errorf("echo = %q", got)
	}
	if err := p.conn.WriteMessage(websocket.BinaryMessage, []byte{1, 2}); err != nil {
		t.Fatal(err)
	}
	p.write("bAQIDBA")
	p.wantMessage("t:hello")
	p.wantMessage("b:\x01\x02")
	p.wantMessage("b:\x01\x02\x03\x04")
	if err := p.recv.s.Send(NewMessage(append(Reserve(1), 'x'), [][]byte{{9, 8}, {}})); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"4x", "b:\x09\x08", "b:"} {
		if got := p.read(); got != want {
			t.Errorf("read %q, want %q", got, want)
		}
	}
}

func TestBase64OverWebSocket(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, nil).ws("&b64=1")
	_ = p.recv.s.Send(NewMessage(append(Reserve(1), 'x'), [][]byte{{1, 2, 3, 4}}))
	for _, want := range []string{"4x", "bAQIDBA=="} {
		if got := p.read(); got != want {
			t.Errorf("read %q, want %q", got, want)
		}
	}
}

func TestGracefulCloseOfWebSocket(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, nil).ws()
	big := strings.Repeat("x", 300_000)
	_ = p.recv.s.Send(text(big))
	_ = p.recv.s.Send(text("last"))
	p.recv.s.Close(ReasonForcedClose, true)
	if got := p.read(); got != "4"+big {
		t.Errorf("%d bytes", len(got))
	}
	if got := p.read(); got != "4last" {
		t.Errorf("read %q", got)
	}
	wantCloseCode(t, p.conn, websocket.CloseNoStatusReceived)
	p.wantClosed(ReasonForcedClose, nil)
}

// OkHttp stops reading at a close frame. It gets all that was sent, and the end.
func TestOkHttpGetsNoCloseFrame(t *testing.T) {
	t.Parallel()
	for agent, want := range map[string]int{"okhttp/3.12.12": websocket.CloseAbnormalClosure, "Mozilla/5.0": websocket.CloseNoStatusReceived} {
		r := newRig(t, Options{}, nil)
		conn, _, err := r.dial("EIO=4&transport=websocket", http.Header{"User-Agent": {agent}})
		if err != nil {
			t.Fatal(err)
		}
		p := &peer{rig: r, conn: conn, recv: recvFrom(t, "session", r.recv)}
		openSID(t, p.read())
		for range 100 {
			if err := p.recv.s.Send(text("last words")); err != nil {
				t.Fatal(err)
			}
		}
		p.recv.s.Close(ReasonForcedClose, true)
		for range 100 {
			if got := p.read(); got != "4last words" {
				t.Fatalf("%s: %q", agent, got)
			}
		}
		wantCloseCode(t, conn, want)
		recvFrom(t, "end", p.recv.s.Done())
	}
}

func TestWebSocketEnds(t *testing.T) {
	t.Parallel()
	long := clientFrame(0x81, "4"+strings.Repeat("x", 1000))
	for _, tc := range []struct {
		name, send string
		code       int
		reason     Reason
		err        error
	}{
		{"close packet", clientFrame(0x81, "1"), 0, ReasonTransportClose, nil},
		{"close frame", clientFrame(0x88, ""), 0, ReasonTransportClose, nil},
		{"close frame with code", clientFrame(0x88, "\x03\xe8bye"), 1000, ReasonTransportClose, nil},
		{"ping packet", clientFrame(0x81, "2"), 0, ReasonTransportError, errHeartbeat},
		{"probe on an open transport", clientFrame(0x81, "2probe"), 0, ReasonTransportError, errHeartbeat},
		{"empty text", clientFrame(0x81, ""), 0, ReasonParseError, errParser},
		{"unknown type", clientFrame(0x81, "x"), 0, ReasonParseError, errParser},
		{"invalid UTF-8", clientFrame(0x81, "4\xff"), 1007, ReasonTransportError, errInvalidText},
		{"too big", long, 1009, ReasonTransportError, websocket.ErrReadLimit},
		{"too big in fragments", clientFrame(0x01, "4"+strings.Repeat("x", 600)) + clientFrame(0x80, strings.Repeat("x", 600)), 1009, ReasonTransportError, websocket.ErrReadLimit},
		{"unmasked", "\x81\x02" + "4x", 1002, ReasonTransportError, nil},
		{"bad opcode", clientFrame(0x83, "x"), 1002, ReasonTransportError, nil},
		{"compressed without agreement", clientFrame(0xc1, "4x"), 1002, ReasonTransportError, nil},
		{"message never finished", clientFrame(0x01, "4x"), 0, ReasonTransportError, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Options{MaxPayload: 1000, BodyTimeout: 50 * time.Millisecond}, nil)
			c := r.upgradeRaw("EIO=4&transport=websocket", tc.send)
			p := recvFrom(t, "session", r.recv)
			got := recvFrom(t, "Closed", p.closed)
			if got.reason != tc.reason || tc.err != nil && !errors.Is(got.err, tc.err) {
				t.Errorf("closed with %q, %v", got.reason, got.err)
			}
			c.wantFarewell(t, tc.code)
		})
	}
}

func TestLostConnectionIsTransportClose(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, nil).ws()
	p.conn.NetConn().Close()
	p.wantClosed(ReasonTransportClose, nil)

	r := newRig(t, Options{}, nil)
	c := r.upgradeRaw("EIO=4&transport=websocket", "")
	q := recvFrom(t, "session", r.recv)
	readFrame(t, c.Reader) // so that no write is under way
	reset(t, c)
	if got := recvFrom(t, "Closed", q.closed); got.reason != ReasonTransportClose {
		t.Errorf("reset: closed with %+v", got)
	}
}

func TestWebSocketPingIsAnswered(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, echo).ws()
	pong := make(chan string, 1)
	p.conn.SetPongHandler(func(s string) error { pong <- s; return nil })
	if err := p.conn.WriteControl(websocket.PingMessage, []byte("hey"), time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	p.write("4x")
	p.read()
	if got := recvFrom(t, "pong", pong); got != "hey" {
		t.Errorf("pong %q", got)
	}
}

// Packets of one session keep the order of the sends, whatever their sizes, and no
// frame is torn by control frames.
func TestSendsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{MaxQueueBytes: -1}, nil).ws()
	const n = 2000
	go func() {
		for i := range n {
			_ = p.recv.s.Send(text(fmt.Sprint(i, strings.Repeat(".", i%7*100+i%500/499*200_000))))
		}
	}()
	go func() {
		for range 50 {
			_ = p.conn.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(wait))
		}
	}()
	for i := range n {
		got := p.read()
		if !strings.HasPrefix(got, fmt.Sprint("4", i)) || len(got) != 1+len(fmt.Sprint(i))+i%7*100+i%500/499*200_000 {
			t.Fatalf("message %d is %.20q (%d bytes)", i, got, len(got))
		}
	}
}

func TestSlowConsumerIsDisconnected(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	c := r.upgradeRaw("EIO=4&transport=websocket", "")
	p := recvFrom(t, "session", r.recv)
	m := text(strings.Repeat("x", 100_000))
	var err error
	for range 1000 { // more than kernel buffers hold
		if err = p.s.Send(m); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrQueueFull) {
		t.Fatalf("Send: %v", err)
	}
	got := recvFrom(t, "Closed", p.closed)
	if got.reason != ReasonTransportError || !errors.Is(got.err, ErrQueueFull) {
		t.Errorf("closed with %+v", got)
	}
	if err := p.s.Send(m); !errors.Is(err, ErrClosed) {
		t.Errorf("Send afterwards: %v", err)
	}
	if n := r.srv.Stats().SlowConsumers; n != 1 {
		t.Errorf("counted %d", n)
	}
	_ = c
}

func TestWriteTimeout(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{WriteTimeout: 50 * time.Millisecond, MaxQueueBytes: -1}, nil)
	r.upgradeRaw("EIO=4&transport=websocket", "")
	p := recvFrom(t, "session", r.recv)
	for range 200 {
		_ = p.s.Send(text(strings.Repeat("x", 100_000)))
	}
	got := recvFrom(t, "Closed", p.closed)
	if got.reason != ReasonTransportError || !errors.Is(got.err, ErrWriteTimeout) {
		t.Errorf("closed with %+v", got)
	}
	if n := r.srv.Stats().SlowConsumers; n != 1 {
		t.Errorf("counted %d", n)
	}
}

func TestVolatileAboveHighWater(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{MaxQueueBytes: -1}, nil)
	r.upgradeRaw("EIO=4&transport=websocket", "")
	p := recvFrom(t, "session", r.recv)
	if !p.s.SendVolatile(text("x")) {
		t.Error("dropped on an idle connection")
	}
	for range 200 { // 20 MB: more than kernel buffers hold
		_ = p.s.Send(text(strings.Repeat("x", 100_000)))
	}
	if p.s.SendVolatile(text("x")) {
		t.Error("sent above the high-water mark")
	}
	if st := r.srv.Stats(); st.VolatileDrops["high_water"] != 1 || st.HighQueues != 1 {
		t.Errorf("counted %v, %d high queues", st.VolatileDrops, st.HighQueues)
	}
}

// A handler that blocks stops the reading; the client is pushed back by TCP and
// nothing piles up here.
func TestBlockedReceiverPushesBack(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	r := newRig(t, Options{}, func(*Session, []byte) { <-release })
	c := r.upgradeRaw("EIO=4&transport=websocket", "")
	p := recvFrom(t, "session", r.recv)
	frame := []byte(clientFrame(0x81, "4"+strings.Repeat("x", 60_000)))
	_ = c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	sent := 0
	for range 2000 {
		n, err := c.Write(frame)
		sent += n
		if err != nil {
			break
		}
	}
	if sent > 100<<20 {
		t.Errorf("a blocked handler took %d bytes", sent)
	}
	if n := len(p.msgs); n != 0 {
		t.Errorf("%d messages delivered", n)
	}
	close(release)
}

func TestPingTimeoutOnWebSocket(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{PingInterval: 20 * time.Millisecond, PingTimeout: 30 * time.Millisecond}, nil).ws()
	if got := p.read(); got != "2" {
		t.Errorf("read %q", got)
	}
	wantCloseCode(t, p.conn, websocket.CloseNoStatusReceived)
	p.wantClosed(ReasonPingTimeout, errPongTimeout)
}

func TestStatsCountSessions(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, echo)
	w, p := r.ws(), r.poll()
	st := r.srv.Stats()
	if st.Sessions != 2 || st.WebSocket != 1 || st.Polling != 1 || st.Opened != 2 {
		t.Errorf("%+v", st)
	}
	n := 0
	for s := range r.srv.Sessions() {
		if s.ID() != w.sid && s.ID() != p.sid {
			t.Errorf("session %q", s.ID())
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d sessions", n)
	}
	w.write("1")
	w.wantClosed(ReasonTransportClose, nil)
	p.do(http.MethodPost, p.query, "9")
	p.wantClosed(ReasonParseError, nil)
	st = r.srv.Stats()
	if st.Sessions != 0 || st.WebSocket != 0 || st.Polling != 0 || st.Closed[ReasonTransportClose] != 1 || st.Closed[ReasonParseError] != 1 {
		t.Errorf("%+v", st)
	}
}
