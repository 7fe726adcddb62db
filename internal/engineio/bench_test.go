package engineio

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// fakeConn takes everything at once.
type fakeConn struct {
	net.Conn
	bytes atomic.Int64
}

func (c *fakeConn) Write(p []byte) (int, error) {
	c.bytes.Add(int64(len(p)))
	return len(p), nil
}
func (c *fakeConn) SetWriteDeadline(time.Time) error { return nil }
func (c *fakeConn) SetReadDeadline(time.Time) error  { return nil }
func (c *fakeConn) Close() error                     { return nil }

// fakeSessions are WebSocket sessions without reader and client.
func fakeSessions(tb testing.TB, n int) (*Server, []*Session, []*fakeConn) {
	tb.Helper()
	srv, err := NewServer(Options{MaxQueueBytes: -1, Logger: discardLogger}, func(*Session) Receiver { return sink{} })
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = srv.Close() })
	sessions, conns := make([]*Session, n), make([]*fakeConn, n)
	for i := range n {
		req, _ := http.NewRequest(http.MethodGet, "/?EIO=4", nil)
		s := srv.newSession(req, fmt.Sprintf("%020d", i))
		conns[i] = new(fakeConn)
		w := newWSConn()
		w.nc, w.active, w.s = conns[i], true, s
		s.transport = w
		if !s.start() {
			tb.Fatal("not started")
		}
		sessions[i] = s
	}
	return srv, sessions, conns
}

func waitBytes(conns []*fakeConn, each int64) {
	for _, c := range conns {
		for c.bytes.Load() < each {
			time.Sleep(10 * time.Microsecond)
		}
	}
}

func BenchmarkNewMessage(b *testing.B) {
	body := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		NewMessage(append(Reserve(len(body)), body...), nil)
	}
}

// BenchmarkBroadcast sends one message to 1,000 sessions and waits until all
// connections have got it.
func BenchmarkBroadcast(b *testing.B) {
	for _, burst := range []int{1, 8} {
		b.Run(fmt.Sprintf("burst=%d", burst), func(b *testing.B) {
			_, sessions, conns := fakeSessions(b, 1000)
			var sent int64
			b.ReportAllocs()
			for b.Loop() {
				for range burst {
					m := text("[\"news\",\"0123456789012345678901234567890123456789012345678901234567890123456789\"]")
					sent += int64(m.Size())
					for _, s := range sessions {
						_ = s.Send(m)
					}
				}
				waitBytes(conns, sent)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*burst*len(sessions)), "ns/delivery")
		})
	}
}

func BenchmarkPollPayload(b *testing.B) {
	m := text("0123456789012345678901234567890123456789")
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = buf[:0]
		for range 16 {
			buf = m.appendPayload(buf)
		}
	}
}

func BenchmarkDecodePayload(b *testing.B) {
	payload := []byte("4[\"event\",1]\x1e4[\"event\",2]\x1e4[\"event\",3]\x1e3")
	b.ReportAllocs()
	for b.Loop() {
		for rest, more := payload, true; more; {
			_, rest, more = nextPacket(rest)
		}
	}
}

// BenchmarkEcho is one message there and back over loopback TCP, and so mostly the
// kernel.
func BenchmarkEcho(b *testing.B) {
	r := benchRig(b)
	frame := []byte(clientFrame(0x81, "4hello"))
	got := make([]byte, 2+len("4hello"))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = r.Write(frame)
		if _, err := io.ReadFull(r, got); err != nil {
			b.Fatal(err)
		}
	}
}

type echoReceiver struct {
	sink
	s *Session
}

func (e echoReceiver) Text(data []byte) { echo(e.s, data) }

func benchRig(b *testing.B) net.Conn {
	b.Helper()
	srv, err := NewServer(Options{Logger: discardLogger}, func(s *Session) Receiver { return echoReceiver{s: s} })
	if err != nil {
		b.Fatal(err)
	}
	h := newHTTPServer(srv)
	c, err := net.Dial("tcp", h.Listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		c.Close()
		_ = srv.Close()
		h.Close()
	})
	_, _ = io.WriteString(c, "GET /?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n"+browserHeaders+"\r\n")
	buf := make([]byte, 4096)
	for got := ""; got == "" || got[len(got)-1] != '}'; {
		n, err := c.Read(buf)
		if err != nil {
			b.Fatal(err)
		}
		got += string(buf[:n])
	}
	return c
}

func TestMessageAllocations(t *testing.T) {
	body := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() { NewMessage(append(Reserve(len(body)), body...), nil) }); n > 2 {
		t.Errorf("NewMessage: %v allocations, want the buffer and the message", n)
	}
	m := NewMessage(append(Reserve(1), 'x'), [][]byte{body})
	buf := make([]byte, 0, 4096)
	m.appendPayload(buf)
	if n := testing.AllocsPerRun(100, func() { buf = m.appendPayload(buf[:0]) }); n > 0 {
		t.Errorf("appendPayload: %v allocations once encoded", n)
	}
}

// A recipient costs no allocation of its own, whether its packets leave one by one
// or in bursts. What remains are pools that the collector has emptied.
func TestBroadcastAllocations(t *testing.T) {
	if raceEnabled {
		t.Log("pools drop items at random under the race detector")
		return
	}
	const n = 200
	_, sessions, conns := fakeSessions(t, n)
	m := text("0123456789")
	var sent int64
	got := testing.AllocsPerRun(50, func() {
		sent += 4 * int64(m.Size())
		for range 4 {
			for _, s := range sessions {
				_ = s.Send(m)
			}
		}
		waitBytes(conns, sent)
	})
	if per := got / n; per > 0.3 {
		t.Errorf("%.2f allocations per recipient", per)
	}
}
