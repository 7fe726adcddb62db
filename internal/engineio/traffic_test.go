package engineio

import (
	"net/http"
	"testing"
	"time"
)

// wantTraffic waits until the packets of a transport in one direction are these, and
// no others.
func (r *rig) wantTraffic(transport, direction string, want map[string]uint64) {
	r.t.Helper()
	var got Traffic
	for end := time.Now().Add(wait); time.Now().Before(end); time.Sleep(time.Millisecond) {
		st := r.srv.Stats()
		if got = st.Out[transport]; direction == "in" {
			got = st.In[transport]
		}
		same := len(got.Packets) == int(packetTypes)
		for typ, n := range got.Packets {
			same = same && n == want[typ]
		}
		if same {
			return
		}
	}
	r.t.Errorf("%s over %s: %v, want %v", direction, transport, got.Packets, want)
}

func TestPacketsAreCountedByTransportAndType(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	p := r.poll()
	r.wantTraffic(Polling, "out", map[string]uint64{"open": 1})
	if resp := p.do(http.MethodPost, p.query, "4a\x1ebAQID\x1e6\x1e0"); resp.status != http.StatusOK {
		t.Fatalf("POST %d", resp.status)
	}
	_ = p.recv.s.Send(NewMessage(append(Reserve(1), 'x'), [][]byte{{1}, {2}}))
	p.do(http.MethodGet, p.query, "")
	get := p.later(http.MethodGet, p.query, "")
	p.waitPolling()
	p.probe()
	if resp := recvFrom(t, "GET", get); resp.body != tailNoop {
		t.Errorf("GET %q", resp.body)
	}
	p.write("5")
	p.write("4b")
	_ = p.recv.s.Send(NewMessage(append(Reserve(1), 'x'), [][]byte{{1}, {2}, {3}}))
	_ = p.recv.s.Send(text("y"))
	for range 5 {
		p.read()
	}
	p.write("1")
	r.wantTraffic(Polling, "in", map[string]uint64{"message": 2, "noop": 1, "open": 1})
	r.wantTraffic(Polling, "out", map[string]uint64{"open": 1, "message": 3, "noop": 1})
	r.wantTraffic(WebSocket, "in", map[string]uint64{"ping": 1, "upgrade": 1, "message": 1, "close": 1})
	r.wantTraffic(WebSocket, "out", map[string]uint64{"pong": 1, "message": 5})
	r.wantTraffic(WebTransport, "in", nil)

	st := r.srv.Stats()
	if st.PacketsIn != 8 || st.PacketsOut != 11 {
		t.Errorf("%d in, %d out in all", st.PacketsIn, st.PacketsOut)
	}
	if in := st.In[Polling].Bytes + st.In[WebSocket].Bytes; in != st.BytesIn || in == 0 {
		t.Errorf("%d bytes in, %d in all", in, st.BytesIn)
	}
	if out := st.Out[Polling].Bytes + st.Out[WebSocket].Bytes; out != st.BytesOut || out == 0 {
		t.Errorf("%d bytes out, %d in all", out, st.BytesOut)
	}
}

func TestWhatIsNoPacketIsCountedAsInvalid(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	p := r.ws()
	p.write("9")
	p.wantClosed(ReasonParseError, nil)
	r.wantTraffic(WebSocket, "in", map[string]uint64{TypeInvalid: 1})
}

func TestPacketsOfAStreamAreCounted(t *testing.T) {
	t.Parallel()
	r := newBareRig(t, streamOptions(), nil)
	client, server, recv := openOnStream(t, r)
	defer client.Close()
	if _, err := client.Write(append(plainFrame(0, "4text"), plainFrame(0x80, "binary")...)); err != nil {
		t.Fatal(err)
	}
	recvFrom(t, "text", recv.msgs)
	recvFrom(t, "binary", recv.msgs)
	r.wantTraffic(WebTransport, "in", map[string]uint64{"message": 2})
	r.wantTraffic(WebTransport, "out", map[string]uint64{"open": 1})
	recv.s.Close(ReasonForcedClose, false)
	recvFrom(t, "the end of the stream", server.closed)
	if err := r.srv.Close(); err != nil {
		t.Error(err)
	}
}

func TestSessionsWithLongQueuesAreCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{HighWaterBytes: 1000}, nil)
	p := r.poll() // takes nothing
	_ = p.recv.s.Send(text(string(make([]byte, 600))))
	if n := r.srv.Stats().HighQueues; n != 0 {
		t.Errorf("%d below the mark", n)
	}
	_ = p.recv.s.Send(text(string(make([]byte, 600))))
	if n := r.srv.Stats().HighQueues; n != 1 {
		t.Errorf("%d above the mark, want 1", n)
	}
	p.do(http.MethodGet, p.query, "")
	r.eventually("the queue is sent", func() bool { return r.srv.Stats().HighQueues == 0 })
}

// BenchmarkReceive is what a packet costs that does nothing but count.
func BenchmarkReceive(b *testing.B) {
	_, sessions, _ := fakeSessions(b, 1)
	w := sessions[0].transport.(*wsConn)
	b.ReportAllocs()
	for b.Loop() {
		w.handle(false, []byte("6"))
	}
}

// BenchmarkWriteBatch is the flusher's work for 16 messages on a connection that
// takes everything.
func BenchmarkWriteBatch(b *testing.B) {
	_, sessions, _ := fakeSessions(b, 1)
	w := sessions[0].transport.(*wsConn)
	m := text(`["news","0123456789012345678901234567890123456789012345678901234567890123456789"]`)
	out := batch{buf: make([]byte, 0, 4096)}
	for range 16 {
		out.msgs = append(out.msgs, m)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := w.write(&out); err != nil {
			b.Fatal(err)
		}
	}
}
