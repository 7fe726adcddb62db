package webtransport

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	wt "github.com/quic-go/webtransport-go"
	"go.uber.org/goleak"

	"github.com/socketfleet/socketfleet/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const wait = 30 * time.Second

var testTLS = func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}()

// rig is a core.Server behind a WebTransport server on loopback.
type rig struct {
	t    *testing.T
	core *core.Server
	srv  *Server
	addr string
	path string

	connected    chan *core.Socket
	disconnected chan core.DisconnectReason
}

func newRig(t *testing.T, opts core.Options, own Options) *rig {
	t.Helper()
	if opts.Transports == nil {
		opts.Transports = []string{"polling", "websocket", "webtransport"}
	}
	opts.Logger = slog.New(slog.DiscardHandler)
	c, err := core.New(t.Context(), &opts)
	if err != nil {
		t.Fatal(err)
	}
	own.TLSConfig = testTLS
	srv, err := NewServer(c, &own)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(conn) }()
	r := &rig{t: t, core: c, srv: srv, addr: conn.LocalAddr().String(), path: "/socket.io/",
		connected: make(chan *core.Socket, 64), disconnected: make(chan core.DisconnectReason, 64)}
	c.OnConnect(func(_ context.Context, s *core.Socket) error { r.connected <- s; return nil })
	c.OnDisconnect(func(_ context.Context, _ *core.Socket, why core.DisconnectReason) { r.disconnected <- why })
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, core.ErrClosed) {
			t.Errorf("Close of the core: %v", err)
		}
		if err := srv.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve = %v, want http.ErrServerClosed", err)
		}
		conn.Close()
	})
	return r
}

// client is one WebTransport session and, after open, its stream.
type client struct {
	t    *testing.T
	sess *wt.Session
	st   *wt.Stream
	in   *bufio.Reader
}

// dial sends the CONNECT request.
func (r *rig) dial(h http.Header, conf *quic.Config) (*client, int, error) {
	if conf == nil {
		conf = new(quic.Config)
	}
	conf.EnableDatagrams, conf.EnableStreamResetPartialDelivery = true, true
	d := &wt.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, QUICConfig: conf}
	r.t.Cleanup(func() { d.Close() })
	ctx, cancel := context.WithTimeout(r.t.Context(), wait)
	defer cancel()
	resp, sess, err := d.Dial(ctx, "https://"+r.addr+r.path, h)
	status := 0
	if resp != nil {
		status = resp.StatusCode
	}
	if err != nil {
		return nil, status, err
	}
	r.t.Cleanup(func() { _ = sess.CloseWithError(0, "") })
	return &client{t: r.t, sess: sess}, status, nil
}

// stream dials and opens the stream.
func (r *rig) stream() *client {
	r.t.Helper()
	c, _, err := r.dial(nil, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	c.openStream()
	return c
}

func (c *client) openStream() {
	c.t.Helper()
	st, err := c.sess.OpenStream()
	if err != nil {
		c.t.Fatal(err)
	}
	_ = st.SetDeadline(time.Now().Add(wait))
	c.st, c.in = st, bufio.NewReader(st)
}

// open dials, opens a session and joins the namespace "/".
func (r *rig) open() (*client, *core.Socket) {
	r.t.Helper()
	c := r.stream()
	c.send("0")
	c.wantPrefix("0{")
	return c, r.join(c)
}

func (r *rig) join(c *client) *core.Socket {
	r.t.Helper()
	c.send("40")
	c.wantPrefix("40{")
	return recvFrom(r.t, "a socket", r.connected)
}

func recvFrom[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(wait):
		t.Fatalf("timed out waiting for %s", what)
		panic("unreachable")
	}
}

func (c *client) send(text string) { c.t.Helper(); c.write(frame(0, text)) }

func (c *client) write(p []byte) {
	c.t.Helper()
	if _, err := c.st.Write(p); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// frame is the format as the specification draws it, written anew for the tests.
func frame(bit byte, payload string) []byte {
	n := len(payload)
	switch {
	case n < 126:
		return append([]byte{bit | byte(n)}, payload...)
	case n < 1<<16:
		return append([]byte{bit | 126, byte(n >> 8), byte(n)}, payload...)
	}
	return append(binary.BigEndian.AppendUint64([]byte{bit | 127}, uint64(n)), payload...)
}

// next reads a packet; a binary one has "b:" in front.
func (c *client) next() (string, error) {
	first, err := c.in.ReadByte()
	if err != nil {
		return "", err
	}
	n := uint64(first & 0x7f)
	var more [8]byte
	switch n {
	case 126:
		_, err = io.ReadFull(c.in, more[6:])
		n = binary.BigEndian.Uint64(more[:])
	case 127:
		_, err = io.ReadFull(c.in, more[:])
		n = binary.BigEndian.Uint64(more[:])
	}
	if err != nil {
		return "", err
	}
	payload := make([]byte, n)
	_, err = io.ReadFull(c.in, payload)
	if first&0x80 != 0 {
		return "b:" + string(payload), err
	}
	return string(payload), err
}

// read returns the next packet that is no ping.
func (c *client) read() string {
	c.t.Helper()
	for {
		p, err := c.next()
		if err != nil {
			c.t.Fatalf("read: %v", err)
		}
		if p != "2" {
			return p
		}
		c.send("3")
	}
}

func (c *client) want(packet string) {
	c.t.Helper()
	if got := c.read(); got != packet {
		c.t.Fatalf("received %.200q, want %.200q", got, packet)
	}
}

func (c *client) wantPrefix(prefix string) string {
	c.t.Helper()
	got := c.read()
	if !strings.HasPrefix(got, prefix) {
		c.t.Fatalf("received %.200q, want %s...", got, prefix)
	}
	return got
}

// wantEnd waits until the server has closed the session, and returns its reason.
func (c *client) wantEnd() string {
	c.t.Helper()
	recvFrom(c.t, "the end of the session", c.sess.Context().Done())
	_, err := c.sess.AcceptStream(c.t.Context())
	var closed *wt.SessionError
	if errors.As(err, &closed) {
		return closed.Message
	}
	return ""
}

func (r *rig) wantReason(want core.DisconnectReason) {
	r.t.Helper()
	if got := recvFrom(r.t, "a disconnection", r.disconnected); got != want {
		r.t.Fatalf("disconnected for %q, want %q", got, want)
	}
}

// eventually polls cond with a deadline.
func (r *rig) eventually(what string, cond func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(wait)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			r.t.Fatalf("no %s after %v", what, wait)
		}
		<-tick.C
	}
}

type openData struct {
	SID          string
	Upgrades     []string
	PingInterval int
	MaxPayload   int
}

func parseOpen(t *testing.T, packet string) openData {
	t.Helper()
	var o openData
	if !strings.HasPrefix(packet, "0") || json.Unmarshal([]byte(packet[1:]), &o) != nil || o.SID == "" || o.Upgrades == nil {
		t.Fatalf("open packet = %q", packet)
	}
	return o
}
