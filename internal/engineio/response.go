package engineio

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// writePayload sends a poll response. An error says that the client may not have
// got it.
func (srv *Server) writePayload(w http.ResponseWriter, r *http.Request, p payload) error {
	rc := http.NewResponseController(w)
	h := w.Header()
	h.Set("Content-Type", p.mime)
	srv.pollHeaders(h, r)
	body := p.body
	if p.compress && srv.gzip.wants(len(body)) {
		if name := Negotiate(r.Header["Accept-Encoding"], codingGzip, codingDeflate); name != "" {
			packed := buffers.get()
			defer buffers.put(packed)
			srv.gzip.append(name, body, packed)
			body = *packed
			h.Set("Content-Encoding", name)
		}
	}
	return srv.writeBody(w, rc, body)
}

// writeOK answers a POST.
func (srv *Server) writeOK(w http.ResponseWriter, r *http.Request, rc *http.ResponseController) {
	h := w.Header()
	h.Set("Content-Type", "text/html")
	srv.pollHeaders(h, r)
	_ = srv.writeBody(w, rc, []byte("ok"))
}

func (srv *Server) pollHeaders(h http.Header, r *http.Request) {
	h.Set("Cache-Control", "no-store")
	if ua := r.UserAgent(); strings.Contains(ua, ";MSIE") || strings.Contains(ua, "Trident/") {
		h.Set("X-XSS-Protection", "0")
	}
	if srv.opts.Headers != nil {
		srv.opts.Headers(h, r)
	}
}

// writeBody writes a response within WriteTimeout. The flush makes a write error
// known before the handler returns, and the deadline is taken back so that it does
// not hit the next request of the connection.
func (srv *Server) writeBody(w http.ResponseWriter, rc *http.ResponseController, body []byte) error {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if d := srv.opts.WriteTimeout; d > 0 {
		_ = rc.SetWriteDeadline(time.Now().Add(d))
		defer rc.SetWriteDeadline(time.Time{})
	}
	w.WriteHeader(http.StatusOK)
	if _, err := w.Write(body); err != nil {
		return err
	}
	if err := rc.Flush(); err != nil && !isUnsupported(err) {
		return err
	}
	return nil
}
