package engineio

import (
	"bytes"
	"compress/flate"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/socketfleet/socketfleet/internal/wsframe"
)

func TestDeflateOffers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		offer string
		want  bool
	}{
		{"", false},
		{"permessage-deflate", true},
		{"permessage-deflate; client_max_window_bits", true},
		{"permessage-deflate; client_no_context_takeover; server_no_context_takeover", true},
		{"x-webkit-deflate-frame, permessage-deflate; client_max_window_bits=12", true},
		{"permessage-deflate; server_max_window_bits=10", false},
		{"permessage-deflate; server_max_window_bits=10, permessage-deflate", true},
		{"permessage-deflate; unknown", false},
		{"permessage-deflated", false},
	} {
		r := &http.Request{Header: http.Header{"Sec-Websocket-Extensions": {tc.offer}}}
		if got := offersDeflate(r); got != tc.want {
			t.Errorf("%q: %v", tc.offer, got)
		}
	}
}

func (r *rig) dialDeflate(query string) *peer {
	r.t.Helper()
	d := websocket.Dialer{HandshakeTimeout: wait, EnableCompression: true}
	conn, resp, err := d.Dial(r.wsURL(query), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	p := &peer{rig: r, conn: conn, recv: recvFrom(r.t, "session", r.recv)}
	p.sid = resp.Header.Get("Sec-Websocket-Extensions")
	openSID(r.t, p.read())
	return p
}

func TestDeflate(t *testing.T) {
	t.Parallel()
	const query = "EIO=4&transport=websocket"
	r := newRig(t, Options{Deflate: &DeflateOptions{}}, nil)
	p := r.dialDeflate(query)
	if p.sid != "permessage-deflate; server_no_context_takeover; client_no_context_takeover" {
		t.Errorf("negotiated %q", p.sid)
	}
	long := strings.Repeat("socket", 1000)
	m := NewMessage(append(Reserve(0), long...), [][]byte{bytes.Repeat([]byte{1, 2}, 5000), {3}})
	for range 2 {
		_ = p.recv.s.Send(m)
		for _, want := range []string{"4" + long, "b:" + string(m.att[0]), "b:\x03"} {
			if got := p.read(); got != want {
				t.Fatalf("received %d bytes, want %d", len(got), len(want))
			}
		}
	}
	p.conn.EnableWriteCompression(true)
	p.write("4" + long)
	p.wantMessage("t:" + long)
	p.write("4short")
	p.wantMessage("t:short")

	if off := newRig(t, Options{}, nil).dialDeflate(query); off.sid != "" {
		t.Errorf("negotiated %q though switched off", off.sid)
	}
}

// A broadcast is compressed once, for those who can read it.
func TestDeflatedFramesAreShared(t *testing.T) {
	t.Parallel()
	c := newCompression(1024, 1, 1)
	long := strings.Repeat("socket", 1000)
	m := text(long)
	a, b := &wsConn{deflate: c}, &wsConn{deflate: c}
	frame := a.textFrame(m)
	if &frame[0] != &b.textFrame(m)[0] {
		t.Error("compressed twice")
	}
	if len(frame) > 200 || frame[0] != 0x80|wsframe.Compressed|wsframe.Text {
		t.Errorf("frame of %d bytes begins with %x", len(frame), frame[:2])
	}
	in := io.MultiReader(bytes.NewReader(frame[2:]), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))
	if got, err := io.ReadAll(flate.NewReader(in)); string(got) != "4"+long || err != nil {
		t.Errorf("inflates to %d bytes, %v", len(got), err)
	}
	if got := new(wsConn).textFrame(m); got[0] != 0x80|wsframe.Text {
		t.Error("compressed for a client that cannot read it")
	}
	for name, m := range map[string]*Message{
		"short":          text("x"),
		"incompressible": text(string(noise(2000))),
		"NoCompress":     plainText(long),
	} {
		if got := a.textFrame(m); got[0] != 0x80|wsframe.Text {
			t.Errorf("%s: compressed", name)
		}
	}
}

func plainText(s string) *Message {
	m := text(s)
	m.NoCompress()
	return m
}

func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// T13: a message that inflates beyond MaxPayload ends the session, and takes
// memory for little more than MaxPayload.
func TestCompressionBomb(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Deflate: &DeflateOptions{}, MaxPayload: 100_000}, nil)
	p := r.dialDeflate("EIO=4&transport=websocket")
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_ = p.conn.WriteMessage(websocket.TextMessage, make([]byte, 20<<20)) // the server may have gone
	}()
	wantCloseCode(t, p.conn, wsframe.CodeTooBig)
	p.wantClosed(ReasonTransportError, errTooBig)
	recvFrom(t, "the end of the message", sent)
	if len(p.recv.msgs) != 0 {
		t.Error("the message has been delivered")
	}
}

func TestCompressionLevelsAreChecked(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{CompressionLevel: 10}, {CompressionLevel: -1}, {Deflate: &DeflateOptions{Level: 12}}} {
		if _, err := NewServer(o, nil); err == nil {
			t.Errorf("%+v accepted", o)
		}
	}
}

// BenchmarkDeflatedBroadcast is BenchmarkBroadcast of 8 KiB to clients that
// negotiated deflate.
func BenchmarkDeflatedBroadcast(b *testing.B) {
	_, sessions, conns := fakeSessions(b, 1000)
	c := newCompression(1024, 1, 1)
	for _, s := range sessions {
		s.transport.(*wsConn).deflate = c
	}
	body := strings.Repeat("0123456789abcdef", 512)
	size := int64(len((&wsConn{deflate: c}).textFrame(text(body))))
	var sent int64
	b.ReportAllocs()
	for b.Loop() {
		m := text(body)
		sent += size
		for _, s := range sessions {
			_ = s.Send(m)
		}
		waitBytes(conns, sent)
	}
}
