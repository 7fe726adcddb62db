package webtransport

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/core"
)

func TestAClientConnectsAndExchangesEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t, core.Options{}, Options{})
	core.OnAck(r.core, "add", func(_ context.Context, _ *core.Socket, n int) (int, error) { return n + 1, nil })
	core.On(r.core, "echo", func(_ context.Context, s *core.Socket, text string) error { return s.Emit("echo", text) })
	c := r.stream()
	c.write([]byte{0x01, 0x30})
	if o := parseOpen(t, c.read()); len(o.Upgrades) != 0 || o.PingInterval != 25000 || o.MaxPayload != 1000000 {
		t.Errorf("open packet: %+v", o)
	}
	s := r.join(c)
	if got := s.Transport(); got != "webtransport" {
		t.Errorf("transport = %q", got)
	}
	h := s.Handshake()
	if !h.Secure() || h.Address() != "127.0.0.1" || h.URL() != "/socket.io/" {
		t.Errorf("handshake: secure %v, address %q, url %q", h.Secure(), h.Address(), h.URL())
	}
	c.send(`42["echo","héllo"]`)
	c.want(`42["echo","héllo"]`)
	c.send(`421["add",1]`)
	c.want(`431[2]`)
	if st := r.core.Stats().Engine; st.Sessions != 1 || st.Streams != 1 {
		t.Errorf("stats: %d sessions, %d streams", st.Sessions, st.Streams)
	}
}

func TestAnAcknowledgementComesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, core.Options{}, Options{})
	c, s := r.open()
	answer := make(chan string, 1)
	go func() {
		got, err := core.EmitWithAck[string](t.Context(), s, "ask")
		if err != nil {
			got = err.Error()
		}
		answer <- got
	}()
	packet := c.wantPrefix("42")
	id, _, _ := strings.Cut(packet[2:], "[")
	c.send("43" + id + `["yes"]`)
	if got := recvFrom(t, "the answer", answer); got != "yes" {
		t.Errorf("answer = %q", got)
	}
}

func TestBinaryOfEverySizeCrossesInBothDirections(t *testing.T) {
	t.Parallel()
	r := newRig(t, core.Options{}, Options{})
	core.On(r.core, "bin", func(_ context.Context, s *core.Socket, b []byte) error { return s.Emit("bin", b) })
	c, _ := r.open()
	for _, n := range []int{0, 1, 125, 126, 12345, 65535, 65536, 200_000, 999_000} {
		if n == 0 {
			continue // a frame without a payload is an error
		}
		data := strings.Repeat("x", n)
		go func() {
			_, _ = c.st.Write(append(frame(0, `451-["bin",{"_placeholder":true,"num":0}]`), frame(0x80, data)...))
		}()
		c.want(`451-["bin",{"_placeholder":true,"num":0}]`)
		c.want("b:" + data)
	}
}

func TestFramesMayArriveByteByByte(t *testing.T) {
	t.Parallel()
	r := newRig(t, core.Options{}, Options{})
	core.On(r.core, "echo", func(_ context.Context, s *core.Socket, text string) error { return s.Emit("echo", text) })
	c, _ := r.open()
	long := strings.Repeat("y", 300)
	for _, b := range frame(0, `42["echo","`+long+`"]`) {
		c.write([]byte{b})
	}
	c.want(`42["echo","` + long + `"]`)
}

func TestAFrameThatIsNotUnderstoodIsAParseError(t *testing.T) {
	t.Parallel()
	for name, bytes := range map[string][]byte{
		"without a payload":     {0x00},
		"binary, no payload":    {0x80},
		"too long by 16 bits":   {0x7e, 0x0f, 0xff},
		"too long by 64 bits":   {0xff, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x41},
		"longer than JS counts": {0x7f, 0x00, 0x20, 0, 0, 0, 0, 0, 0},
		"above 63 bits":         {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"text that is no UTF-8": {0x02, '4', 0xff},
		"unknown packet type":   {0x01, '9'},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, core.Options{MaxPayload: 1000}, Options{})
			c, _ := r.open()
			c.write(bytes)
			r.wantReason("parse error")
			if got := c.wantEnd(); got != "parse error" {
				t.Errorf("close reason = %q", got)
			}
		})
	}
}

func TestAFirstPacketThatOpensNothingEndsTheSession(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"40", "2probe", "0{", `0{"sid":""}`, `0{"sid":"__proto__"}`, `0{"sid":1}`, "0null", `0{"sid":"` + strings.Repeat("a", 5000) + `"}`} {
		t.Run(first[:min(len(first), 20)], func(t *testing.T) {
			t.Parallel()
			r := newRig(t, core.Options{}, Options{})
			c := r.stream()
			c.send(first)
			c.wantEnd()
			if n := r.core.Stats().Engine.Opened; n != 0 {
				t.Errorf("%d sessions were opened", n)
			}
		})
	}
	t.Run("binary", func(t *testing.T) {
		t.Parallel()
		c := newRig(t, core.Options{}, Options{}).stream()
		c.write([]byte{0x81, '0'})
		c.wantEnd()
	})
}

func TestASilentClientIsGivenUp(t *testing.T) {
	t.Parallel()
	opts := core.Options{UpgradeTimeout: 50 * time.Millisecond}
	t.Run("without a stream", func(t *testing.T) {
		t.Parallel()
		c, _, err := newRig(t, opts, Options{}).dial(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.wantEnd()
	})
	t.Run("with half a packet", func(t *testing.T) {
		t.Parallel()
		c := newRig(t, opts, Options{}).stream()
		c.write([]byte{0x02, '0'})
		c.wantEnd()
	})
}

func TestPingTimeout(t *testing.T) {
	t.Parallel()
	r := newRig(t, core.Options{PingInterval: 50 * time.Millisecond, PingTimeout: 50 * time.Millisecond}, Options{})
	c, _ := r.open()
	if p, err := c.next(); p != "2" || err != nil {
		t.Fatalf("received %q, %v; want a ping", p, err)
	}
	r.wantReason("ping timeout")
	if got := c.wantEnd(); got != "ping timeout" {
		t.Errorf("close reason = %q", got)
	}
}

func TestTheClientEndsTheSession(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(c *client){
		"with the session":      func(c *client) { _ = c.sess.CloseWithError(0, "bye") },
		"with the stream":       func(c *client) { _ = c.st.Close() },
		"with a reset":          func(c *client) { c.st.CancelWrite(7) },
		"in a frame":            func(c *client) { c.write([]byte{0x05, '4'}); _ = c.st.Close() },
		"with a close packet":   func(c *client) { c.send("1") },
		"with many stray bytes": func(c *client) { c.send("1"); c.write(bytes.Repeat([]byte{0x01, '6'}, 100)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, core.Options{}, Options{})
			c, _ := r.open()
			end(c)
			r.wantReason("transport close")
			c.wantEnd()
		})
	}
}

func TestWhatIsQueuedAtADisconnectArrives(t *testing.T) {
	t.Parallel()
	r := newRig(t, core.Options{}, Options{})
	c, s := r.open()
	long := strings.Repeat("z", 300_000)
	if err := s.Emit("last", long); err != nil {
		t.Fatal(err)
	}
	s.Disconnect(true)
	c.want(`42["last","` + long + `"]`)
	if got := c.read(); got != "41" {
		t.Errorf("then received %q, want the disconnect packet", got)
	}
	if got := c.wantEnd(); got != "forced close" {
		t.Errorf("close reason = %q", got)
	}
}

func TestShutdownEndsSessions(t *testing.T) {
	t.Parallel()
	r := newRig(t, core.Options{}, Options{})
	c, _ := r.open()
	if err := r.core.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.wantReason(core.ReasonShuttingDown)
	if got := c.wantEnd(); got != "server shutting down" {
		t.Errorf("close reason = %q", got)
	}
}

func TestTwoClientsAreIndependent(t *testing.T) {
	t.Parallel()
	r := newRig(t, core.Options{}, Options{})
	a, sa := r.open()
	b, sb := r.open()
	if err := sa.Join("room"); err != nil {
		t.Fatal(err)
	}
	a.write([]byte{0x00})
	r.wantReason("parse error")
	a.wantEnd()
	if err := sb.Emit("still", "here"); err != nil {
		t.Fatal(err)
	}
	b.want(`42["still","here"]`)
}

// A client that owes flow control must neither hold the server up nor stay
// (CVE-2026-21435 of webtransport-go).
func TestAClientThatDoesNotReadIsCut(t *testing.T) {
	t.Parallel()
	r := newRig(t, core.Options{WriteTimeout: 200 * time.Millisecond}, Options{})
	c, s := r.open()
	if err := s.Emit("big", strings.Repeat("b", 900_000)); err != nil { // the client's window is 512 KiB
		t.Fatal(err)
	}
	r.wantReason("transport error")
	c.wantEnd()
	st := r.core.Stats().Engine
	if st.SlowConsumers != 1 || st.LimitsHit["write_timeout"] != 1 {
		t.Errorf("%d slow consumers, limits hit: %v", st.SlowConsumers, st.LimitsHit)
	}
}

func TestAFullQueueCutsAClient(t *testing.T) {
	t.Parallel()
	r := newRig(t, core.Options{}, Options{})
	c, s := r.open()
	big := strings.Repeat("b", 900_000)
	r.eventually("full queue", func() bool { return errors.Is(s.Emit("big", big), core.ErrQueueFull) })
	r.wantReason("transport error")
	c.wantEnd()
}

func TestNothingIsLeftOfManyClients(t *testing.T) {
	t.Parallel()
	r := newRig(t, core.Options{}, Options{})
	ends := []func(c *client, s *core.Socket){
		func(c *client, _ *core.Socket) { _ = c.sess.CloseWithError(0, "") },
		func(c *client, _ *core.Socket) { _ = c.st.Close() },
		func(c *client, _ *core.Socket) { c.write([]byte{0}) },
		func(_ *client, s *core.Socket) { s.Disconnect(true) },
	}
	for i := range 24 {
		c, s := r.open()
		if err := r.core.Emit("all", strings.Repeat("x", 10_000)); err != nil {
			t.Fatal(err)
		}
		c.wantPrefix(`42["all"`)
		ends[i%len(ends)](c, s)
	}
	r.eventually("end of every session", func() bool {
		st := r.core.Stats()
		return st.Sockets == 0 && st.Engine.Sessions == 0 && st.Engine.Streams == 0 && st.Engine.QueuedBytes == 0
	})
	if st := r.core.Stats().Engine; st.Opened != 24 {
		t.Errorf("%d sessions opened", st.Opened)
	}
}
