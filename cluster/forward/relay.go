package forward

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// reportTimeout bounds telling the owner what a client's body did.
	reportTimeout = 5 * time.Second
	// defaultMaxUnsized bounds a response whose length the owner does not tell, in bytes.
	defaultMaxUnsized = 64 << 20
	// maxBody bounds a body in bytes where the server's options do not.
	maxBody = 256 << 20
)

func (f *Forwarder) newTransport() *http.Transport {
	t := &http.Transport{
		DialContext:           f.dialer.DialContext,
		TLSClientConfig:       f.opts.TLS.Clone(), // HTTP/2 adds to it, while tunnels read the other
		DisableCompression:    true,
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       30 * time.Second,
		ResponseHeaderTimeout: f.node.PollTimeout,
		Protocols:             new(http.Protocols),
	}
	t.Protocols.SetHTTP1(!f.opts.HTTP2)
	t.Protocols.SetHTTP2(f.opts.HTTP2)
	t.Protocols.SetUnencryptedHTTP2(f.opts.HTTP2)
	return t
}

// relay has the owner answer a poll or a post.
func (f *Forwarder) relay(ctx context.Context, w http.ResponseWriter, r *http.Request, to target) (handled bool) {
	began := time.Now()
	rc := http.NewResponseController(w)
	// The deadlines of http.Server are for ordinary requests.
	_ = rc.SetReadDeadline(time.Time{})
	_ = rc.SetWriteDeadline(time.Time{})
	body, fault := f.readBody(w, r, rc)
	if fault == faultAborted {
		// The client is gone, and ctx with it.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(f.ctx, reportTimeout)
		defer cancel()
	}
	resp, err := f.client.RoundTrip(f.request(ctx, r, to, body, fault))
	if err != nil {
		return f.broken(r, to, err)
	}
	defer resp.Body.Close()
	if resp.Header.Get(hopHeader) != "" {
		return f.hopRefused(r, to)
	}
	if err := f.respond(w, rc, resp); err != nil {
		return f.broken(r, to, err)
	}
	kind := Post
	if r.Method == http.MethodGet {
		kind = Poll
	}
	f.count.answered(kind, began)
	return true
}

// readBody reads a client's body whole, so that a slow client costs this node and not
// the owner.
func (f *Forwarder) readBody(w http.ResponseWriter, r *http.Request, rc *http.ResponseController) (body []byte, fault string) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil, ""
	}
	limit := f.bodyLimit()
	if r.ContentLength > limit {
		return nil, faultTooBig
	}
	f.limitRead(rc)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
		return nil, faultTooBig
	}
	if err != nil {
		return nil, faultAborted
	}
	_ = rc.SetReadDeadline(time.Time{})
	return body, ""
}

func (f *Forwarder) limitRead(rc *http.ResponseController) {
	if d := f.node.BodyTimeout; d > 0 {
		_ = rc.SetReadDeadline(time.Now().Add(d))
	}
}

func (f *Forwarder) bodyLimit() int64 {
	if f.node.MaxPayload <= 0 {
		return maxBody
	}
	return f.node.MaxPayload
}

// takeBody returns the client's request with the body that its hop was signed with.
func (f *Forwarder) takeBody(w http.ResponseWriter, r *http.Request, h *hop) (*http.Request, Refusal) {
	out := h.restore(r)
	limit := f.bodyLimit()
	switch {
	case h.Fault == faultTooBig || r.ContentLength > limit:
		out.Body, out.ContentLength = brokenBody{}, math.MaxInt64
		return out, ""
	case h.Fault != "":
		out.Body, out.ContentLength = brokenBody{}, -1
		return out, ""
	}
	var body []byte
	if r.ContentLength != 0 {
		rc := http.NewResponseController(w)
		f.limitRead(rc)
		var err error
		if body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, limit)); err != nil {
			return nil, WrongBody
		}
		_ = rc.SetReadDeadline(time.Time{})
		out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	if digest(body) != h.Body {
		return nil, WrongBody
	}
	return out, ""
}

// brokenBody is the body of a client that broke off.
type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
func (brokenBody) Close() error             { return nil }

// request makes the hop. http.Transport may repeat it when a pooled connection has
// died; the owner takes it once.
func (f *Forwarder) request(ctx context.Context, r *http.Request, to target, body []byte, fault string) *http.Request {
	out := &http.Request{
		Method: r.Method,
		URL:    &url.URL{Scheme: to.url.Scheme, Host: to.url.Host, Opaque: to.uri},
		Host:   to.url.Host,
		Header: clientHeader(r),
	}
	out.Header.Set(hopHeader, f.signer.sign(r, to.uri, to.owner, body, fault))
	if len(body) > 0 {
		out.ContentLength = int64(len(body))
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		out.Body, _ = out.GetBody()
	}
	if r.Method != http.MethodGet && out.Header["Idempotency-Key"] == nil {
		out.Header["Idempotency-Key"] = []string{} // not sent; lets the transport repeat it
	}
	return out.WithContext(ctx)
}

// clientHeader returns the client's headers without those of its connection, and
// without a hop it made up.
func clientHeader(r *http.Request) http.Header {
	h := r.Header.Clone()
	dropHopByHop(h)
	delete(h, hopHeader)
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = []string{""} // else net/http names itself
	}
	return h
}

func dropHopByHop(h http.Header) {
	for _, v := range h["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Expect", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		delete(h, name)
	}
}

// respond writes the owner's response. An error means that nothing was written;
// after that, a response that breaks off is shorter than it says, which makes
// net/http cut the client's connection.
func (f *Forwarder) respond(w http.ResponseWriter, rc *http.ResponseController, resp *http.Response) error {
	body := io.Reader(resp.Body)
	if resp.ContentLength < 0 {
		whole, err := io.ReadAll(io.LimitReader(resp.Body, f.maxUnsized+1))
		if err == nil && int64(len(whole)) > f.maxUnsized {
			err = errors.New("response too long")
		}
		if err != nil {
			return err
		}
		body = bytes.NewReader(whole)
		resp.Header["Content-Length"] = nil
	}
	copyHeader(w.Header(), resp.Header)
	if d := f.node.WriteTimeout; d > 0 {
		_ = rc.SetWriteDeadline(time.Now().Add(d))
		defer rc.SetWriteDeadline(time.Time{})
	}
	w.WriteHeader(resp.StatusCode)
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	_, _ = io.CopyBuffer(struct{ io.Writer }{w}, body, *buf)
	_ = rc.Flush()
	return nil
}

// copyHeader lets the owner's headers replace those of this node.
func copyHeader(to, from http.Header) {
	from = from.Clone()
	dropHopByHop(from)
	for name, values := range from {
		if name != "Date" && values != nil {
			to[name] = values
		}
	}
}

// broken is called when the owner did not answer.
func (f *Forwarder) broken(r *http.Request, to target, err error) (handled bool) {
	if r.Context().Err() != nil {
		f.fail(ClientGone)
		return true
	}
	why := Broken
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
		why = Unreachable
	}
	f.fail(why)
	if f.ctx.Err() == nil {
		f.complain(r.Context(), "socketio: the owner of a session does not answer", "forward.owner_lost", to.owner, err)
	}
	return false
}

func (f *Forwarder) hopRefused(r *http.Request, to target) (handled bool) {
	f.fail(HopRefused)
	f.complain(r.Context(), "socketio: the owner of a session refused this node: compare ClusterSecret, AdvertiseURL and the clocks",
		"forward.refused_by_owner", to.owner, nil)
	return false
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 16<<10); return &b }}

// closeWriter is a connection that can be closed for writing alone.
type closeWriter interface{ CloseWrite() error }

// hostPort returns the address to dial.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), cmp.Or(port, "80"))
}
