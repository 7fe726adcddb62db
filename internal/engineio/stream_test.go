package engineio

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// The vectors are those of engine.io-parser's tests.
func TestStreamFramesAreWhatTheReferenceSends(t *testing.T) {
	t.Parallel()
	if got := hex.EncodeToString(streamFrame(text("hello").text.frame())); got != "063468656c6c6f" {
		t.Errorf("text = %s", got)
	}
	for n, want := range map[int]string{
		1: "81", 3: "83", 125: "fd", 126: "fe007e", 12345: "fe3039", 65535: "feffff",
		65536: "ff0000000000010000", 1_000_000: "ff00000000000f4240",
	} {
		if got := hex.EncodeToString(appendStreamBinary([]byte{7}, n)); got != "07"+want {
			t.Errorf("binary of %d bytes: header %s, want 07%s", n, got, want)
		}
	}
	for _, n := range []int{0, 124, 125, 65534, 65535, 70000} {
		if got, want := streamFrame(text(strings.Repeat("a", n)).text.frame()), plainFrame(0, "4"+strings.Repeat("a", n)); !bytes.Equal(got, want) {
			t.Errorf("text of %d bytes begins with %x, want %x", n, got[:9], want[:9])
		}
	}
}

// plainFrame encodes a frame as the specification says.
func plainFrame(bit byte, payload string) []byte {
	n := len(payload)
	switch {
	case n < 126:
		return append([]byte{bit | byte(n)}, payload...)
	case n < 1<<16:
		return append([]byte{bit | 126, byte(n >> 8), byte(n)}, payload...)
	}
	return append(binary.BigEndian.AppendUint64([]byte{bit | 127}, uint64(n)), payload...)
}

func TestStreamFrameHeaders(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, in string
		limit    int64
		want     frameHeader
		err      error
	}{
		{"text", "06", 100, frameHeader{false, 6}, nil},
		{"binary", "83", 100, frameHeader{true, 3}, nil},
		{"16 bits", "fe3039", 12345, frameHeader{true, 12345}, nil},
		{"64 bits", "ff00000000000f4240", 1_000_000, frameHeader{true, 1_000_000}, nil},
		{"more bytes than it takes", "7e0001", 100, frameHeader{false, 1}, nil},
		{"no limit", "7f001fffffffffffff", 0, frameHeader{false, maxFrame}, nil},
		{"empty", "00", 100, frameHeader{}, errEmptyFrame},
		{"empty binary", "80", 100, frameHeader{}, errEmptyFrame},
		{"empty in 16 bits", "7e0000", 100, frameHeader{}, errEmptyFrame},
		{"over the limit", "65", 100, frameHeader{}, errTooBig},
		{"beyond what JavaScript counts", "7f0020000000000000", 0, frameHeader{}, errTooBig},
		{"beyond 63 bits", "7fffffffffffffffff", 0, frameHeader{}, errTooBig},
		{"cut in 16 bits", "7e00", 100, frameHeader{}, io.ErrUnexpectedEOF},
		{"cut before 64 bits", "7f", 100, frameHeader{}, io.EOF},
	} {
		in, err := hex.DecodeString(tc.in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readFrameHeader(bytes.NewReader(in[1:]), in[0], tc.limit)
		if !errors.Is(err, tc.err) || err == nil && got != tc.want {
			t.Errorf("%s: %+v, %v; want %+v, %v", tc.name, got, err, tc.want, tc.err)
		}
	}
}

func FuzzStreamFrames(f *testing.F) {
	for _, seed := range []string{"063468656c6c6f", "83010203", "7e0001347f00000000000000013401", "00", "fe3039"} {
		b, _ := hex.DecodeString(seed)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 300
		whole := readFrames(bytes.NewReader(in), limit)
		chunked := readFrames(iotest.OneByteReader(bytes.NewReader(in)), limit)
		if len(whole) != len(chunked) {
			t.Fatalf("%d frames at once, %d byte by byte", len(whole), len(chunked))
		}
		var again []byte
		for i, fr := range whole {
			if fr != chunked[i] {
				t.Fatalf("frame %d differs byte by byte", i)
			}
			if n := len(fr.payload); n == 0 || n > limit {
				t.Fatalf("frame of %d bytes", n)
			}
			again = append(again, plainFrame(fr.bit, fr.payload)...)
		}
		if back := readFrames(bytes.NewReader(again), limit); len(back) != len(whole) {
			t.Fatalf("%d frames, %d when encoded again", len(whole), len(back))
		}
	})
}

type plain struct {
	bit     byte
	payload string
}

func readFrames(r io.Reader, limit int64) (list []plain) {
	c := &streamConn{in: bufio.NewReaderSize(r, 16)}
	for {
		var body []byte
		isBinary, err := c.readFrame(limit, &body)
		if err != nil {
			return list
		}
		p := plain{payload: string(body)}
		if isBinary {
			p.bit = 0x80
		}
		list = append(list, p)
	}
}

// pipe is a Stream in memory.
type pipe struct {
	net.Conn
	once   sync.Once
	closed chan string // the reason
}

func (p *pipe) CloseWrite() error { return nil }

func (p *pipe) Close(reason string) error {
	p.once.Do(func() { p.closed <- reason })
	return p.Conn.Close()
}

// stream asks the server for a stream, and returns the client's end.
func (r *rig) stream() (client net.Conn, server *pipe, resp *httptest.ResponseRecorder, done chan struct{}) {
	client, other := net.Pipe()
	server = &pipe{Conn: other, closed: make(chan string, 1)}
	resp, done = httptest.NewRecorder(), make(chan struct{})
	go func() {
		defer close(done)
		req := httptest.NewRequest(http.MethodConnect, "https://example.com/socket.io/", nil)
		r.srv.ServeStream(resp, req, func(context.Context) (Stream, error) { return server, nil })
	}()
	return client, server, resp, done
}

func streamOptions() Options {
	return Options{Transports: []string{Polling, WebTransport}, PingInterval: -1}
}

func openOnStream(t *testing.T, r *rig) (net.Conn, *pipe, *probeReceiver) {
	t.Helper()
	client, server, _, done := r.stream()
	if _, err := client.Write([]byte{1, '0'}); err != nil {
		t.Fatal(err)
	}
	open := make([]byte, firstLength(t, client))
	if _, err := io.ReadFull(client, open); err != nil {
		t.Fatal(err)
	}
	openSID(t, string(open))
	<-done
	return client, server, <-r.recv
}

// firstLength reads the header of a text frame of up to 65535 bytes.
func firstLength(t *testing.T, client net.Conn) int {
	t.Helper()
	var b [2]byte
	if _, err := io.ReadFull(client, b[:1]); err != nil {
		t.Fatal(err)
	}
	if b[0] != 126 {
		return int(b[0])
	}
	if _, err := io.ReadFull(client, b[:]); err != nil {
		t.Fatal(err)
	}
	return int(binary.BigEndian.Uint16(b[:]))
}

func TestAPacketOnAStreamHasToArriveInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := streamOptions()
		opts.BodyTimeout = 3 * time.Second
		r := newBareRig(t, opts, nil)
		client, server, recv := openOnStream(t, r)
		defer client.Close()
		begin := time.Now()
		if _, err := client.Write(append(plainFrame(0, "4in time"), 6, '4')); err != nil {
			t.Fatal(err)
		}
		if got := <-recv.msgs; got != "t:in time" {
			t.Errorf("received %q", got)
		}
		end := <-recv.closed
		if end.reason != ReasonTransportError || !errors.Is(end.err, os.ErrDeadlineExceeded) || time.Since(begin) != 3*time.Second {
			t.Errorf("closed with %v after %v", end, time.Since(begin))
		}
		if got := <-server.closed; got != string(ReasonTransportError) {
			t.Errorf("stream closed with %q", got)
		}
		if err := r.srv.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAClosingStreamLeavesTheClientAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBareRig(t, streamOptions(), nil)
		client, server, recv := openOnStream(t, r)
		defer client.Close()
		time.Sleep(time.Minute) // of the bubble's clock: what was written has arrived
		begin := time.Now()
		recv.s.Close(ReasonForcedClose, true)
		if got := <-server.closed; got != string(ReasonForcedClose) || time.Since(begin) != 0 {
			t.Errorf("idle: closed with %q after %v", got, time.Since(begin))
		}
		<-recv.closed

		other, server, recv := openOnStream(t, r)
		defer other.Close()
		begin = time.Now()
		if err := recv.s.Send(text("bye")); err != nil {
			t.Fatal(err)
		}
		recv.s.Close(ReasonForcedClose, true)
		got := make([]byte, 5)
		if _, err := io.ReadFull(other, got); err != nil || string(got) != "\x044bye" {
			t.Errorf("read %q, %v", got, err)
		}
		<-server.closed
		if d := time.Since(begin); d != shortLinger {
			t.Errorf("after a write: closed after %v, want %v", d, shortLinger)
		}
		if err := r.srv.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAStreamWithoutAFirstPacketIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBareRig(t, streamOptions(), nil)
		client, server, _, done := r.stream()
		defer client.Close()
		begin := time.Now()
		<-done
		<-server.closed
		if d := time.Since(begin); d != 10*time.Second {
			t.Errorf("given up after %v", d)
		}
		if n := r.srv.count.expected.Load(); n != 0 {
			t.Errorf("%d streams still expected", n)
		}
		if err := r.srv.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAServerThatRefusesTakesNoStream(t *testing.T) {
	t.Parallel()
	r := newBareRig(t, streamOptions(), nil)
	if err := r.srv.Close(); err != nil {
		t.Fatal(err)
	}
	client, _, resp, done := r.stream()
	defer client.Close()
	<-done
	if resp.Code != http.StatusServiceUnavailable {
		t.Errorf("status = %d", resp.Code)
	}
}

func TestConnectWithoutAStreamIsNoStream(t *testing.T) {
	t.Parallel()
	r := newBareRig(t, streamOptions(), nil)
	resp := httptest.NewRecorder()
	r.srv.ServeHTTP(resp, httptest.NewRequest(http.MethodConnect, "/socket.io/?EIO=4&transport=webtransport", nil))
	if want := `{"code":0,"message":"Transport unknown"}`; resp.Code != http.StatusBadRequest || resp.Body.String() != want {
		t.Errorf("answer: %d %s", resp.Code, resp.Body)
	}
}
