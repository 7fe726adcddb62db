package forward

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	// defaultUpgradeTimeout bounds the owner's answer to an upgrade.
	defaultUpgradeTimeout = 10 * time.Second
	// linger is how long one direction of a tunnel may outlive the other.
	linger = 5 * time.Second
	// headBuffer is the size in bytes of what the owner's answer is read through.
	headBuffer = 2 << 10
)

// tunnel is a WebSocket between a client and its owner.
type tunnel struct {
	client, owner net.Conn
	timeout       time.Duration // of a write
}

// Close tells the owner that the client has gone. What the owner has sent still
// reaches the client, then its connection ends.
func (t *tunnel) Close() error {
	if half, ok := t.owner.(closeWriter); ok {
		return half.CloseWrite()
	}
	return t.owner.Close()
}

// close cuts the tunnel.
func (t *tunnel) close() {
	_ = t.client.Close()
	_ = t.owner.Close()
}

// tunnel has the owner take over a client's connection. When the owner refuses, its
// answer is the client's.
func (f *Forwarder) tunnel(ctx context.Context, w http.ResponseWriter, r *http.Request, to target) (handled bool) {
	release := func() { to.inFlight.Add(-1) }
	conn, err := f.dial(ctx, to.url)
	if err != nil {
		release()
		return f.broken(r, to, err)
	}
	resp, rest, err := f.ask(ctx, conn, r, to)
	switch {
	case err != nil:
		handled = f.broken(r, to, err)
	case resp.Header.Get(hopHeader) != "":
		handled = f.hopRefused(r, to)
	case resp.StatusCode != http.StatusSwitchingProtocols:
		handled = f.refused(w, r, to, resp)
	default:
		if t := f.join(w, r, conn, resp, rest); t != nil {
			return f.start(t, release)
		}
		handled = true
	}
	_ = conn.Close()
	release()
	return handled
}

func (f *Forwarder) dial(ctx context.Context, u *url.URL) (net.Conn, error) {
	conn, err := f.dialer.DialContext(ctx, "tcp", hostPort(u))
	if err != nil || u.Scheme != "https" {
		return conn, err
	}
	config := f.opts.TLS.Clone()
	if config == nil {
		config = new(tls.Config)
	}
	if config.ServerName == "" {
		config.ServerName = u.Hostname()
	}
	config.NextProtos = []string{"http/1.1"}
	secured := tls.Client(conn, config)
	ctx, cancel := context.WithTimeout(ctx, f.upgradeTimeout)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// ask sends the upgrade request and returns the answer, and what came behind it.
func (f *Forwarder) ask(ctx context.Context, conn net.Conn, r *http.Request, to target) (*http.Response, *bufio.Reader, error) {
	_ = conn.SetDeadline(time.Now().Add(f.upgradeTimeout))
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	out := f.request(ctx, r, to, nil, "")
	out.Header.Set("Connection", "Upgrade")
	out.Header["Upgrade"] = r.Header["Upgrade"]
	if err := out.Write(conn); err != nil {
		return nil, nil, err
	}
	in := bufio.NewReaderSize(conn, headBuffer)
	resp, err := http.ReadResponse(in, out)
	if err != nil {
		return nil, nil, err
	}
	return resp, in, nil
}

func (f *Forwarder) refused(w http.ResponseWriter, r *http.Request, to target, resp *http.Response) (handled bool) {
	w.Header().Set("Connection", "close")
	if err := f.respond(w, http.NewResponseController(w), resp); err != nil {
		return f.broken(r, to, err)
	}
	count(kinds[:], f.count.forwarded[:], Upgrade)
	return true
}

// join answers the client as the owner did and takes its connection. It returns nil
// when that cannot be done.
func (f *Forwarder) join(w http.ResponseWriter, r *http.Request, owner net.Conn, resp *http.Response, rest *bufio.Reader) *tunnel {
	h := w.Header().Clone()
	copyHeader(h, resp.Header)
	h.Set("Connection", "Upgrade")
	h["Upgrade"] = resp.Header["Upgrade"]
	client, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		f.noHijack(w, r, err)
		return nil
	}
	deadline := time.Time{}
	if f.node.WriteTimeout > 0 {
		deadline = time.Now().Add(f.node.WriteTimeout)
	}
	_ = client.SetDeadline(deadline)
	out := bufio.NewWriterSize(client, headBuffer)
	_, _ = out.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = h.Write(out)
	_, _ = out.WriteString("\r\n")
	err = errors.Join(moveBuffered(out, rest), out.Flush(), moveBuffered(owner, rw.Reader))
	if err != nil {
		_ = client.Close()
		f.fail(ClientGone)
		return nil
	}
	_ = client.SetDeadline(time.Time{})
	_ = owner.SetDeadline(time.Time{})
	count(kinds[:], f.count.forwarded[:], Upgrade)
	return &tunnel{client: client, owner: owner, timeout: f.node.WriteTimeout}
}

// moveBuffered writes what has been read too much.
func moveBuffered(to io.Writer, from *bufio.Reader) error {
	n := from.Buffered()
	if n == 0 {
		return nil
	}
	early, err := from.Peek(n)
	if err != nil {
		return err
	}
	_, err = to.Write(early)
	return err
}

func (f *Forwarder) noHijack(w http.ResponseWriter, r *http.Request, err error) {
	f.fail(NoHijack)
	if f.hijack.allow() {
		f.node.Logger.LogAttrs(r.Context(), slog.LevelError, "socketio: a WebSocket cannot be forwarded: the ResponseWriter hides Hijack; give its type an Unwrap method",
			slog.String("event", "forward.no_hijack"), slog.Any("error", err))
	}
	w.WriteHeader(http.StatusInternalServerError)
}

// start runs a tunnel on goroutines of its own, so that the handler can return.
func (f *Forwarder) start(t *tunnel, release func()) (handled bool) {
	f.mu.Lock()
	if !f.open {
		f.mu.Unlock()
		t.close()
		release()
		return true
	}
	f.running++
	f.tunnels[t] = struct{}{}
	f.mu.Unlock()
	f.count.tunnels.Add(1)
	go func() {
		t.run()
		release()
		f.count.tunnels.Add(-1)
		f.mu.Lock()
		delete(f.tunnels, t)
		f.mu.Unlock()
		f.leave()
	}()
	return true
}

// run copies both ways until both have ended.
func (t *tunnel) run() {
	var back sync.WaitGroup
	back.Go(func() { t.pump(t.client, t.owner) })
	t.pump(t.owner, t.client)
	back.Wait()
	t.close()
}

// pump copies one way. Its end is passed on; an error ends the other way too.
func (t *tunnel) pump(dst, src net.Conn) {
	err := carry(dst, src, t.timeout)
	half, ok := dst.(closeWriter)
	if err == nil && ok {
		err = half.CloseWrite()
	}
	if err != nil || !ok {
		t.close()
		return
	}
	_ = dst.SetReadDeadline(time.Now().Add(linger))
}

// carry copies until src ends. A write that makes no progress within timeout is an
// error: without that, a client that stops reading would hold a tunnel whose owner
// has long cut it.
func carry(dst, src net.Conn, timeout time.Duration) error {
	to, ok1 := dst.(*net.TCPConn)
	from, ok2 := src.(*net.TCPConn)
	if ok1 && ok2 && setUserTimeout(to, timeout) {
		_, err := io.Copy(to, from) // splices
		return err
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		n, err := src.Read(*buf)
		if n > 0 {
			if timeout > 0 {
				_ = dst.SetWriteDeadline(time.Now().Add(timeout))
			}
			if _, werr := dst.Write((*buf)[:n]); werr != nil {
				return werr
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
