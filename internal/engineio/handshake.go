package engineio

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// retryAfter is what a 503 tells clients to wait, in seconds.
const retryAfter = "5"

// noTimeout is what clients are told about a heartbeat that is disabled. Twice of
// it still fits their timers.
const noTimeout = time.Duration(1<<30-1) * time.Millisecond

// refusal is why a request is not served.
type refusal struct {
	code    Code
	context string
	message string // replaces the code's text
	err     error
	busy    bool // 503 instead of a code
	handled bool // Options.Foreign has answered
	origin  bool // the Origin header is not allowed

	status  int           // of a limit; zero: it is none
	limit   limit         // which is reached
	wait    time.Duration // until there is room; zero: unknown
	counted bool          // among the limits already
}

func refuse(code Code, context string) *refusal { return &refusal{code: code, context: context} }

func (no *refusal) text() string {
	if no.message != "" {
		return no.message
	}
	if no.busy {
		return http.StatusText(http.StatusServiceUnavailable)
	}
	return no.code.String()
}

// ServeHTTP serves handshakes, polls and WebSocket upgrades. It does not look at
// the path.
func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(v)
		}
		srv.logPanic(r.Context(), v)
		w.WriteHeader(http.StatusInternalServerError)
	}()
	if srv.cors(w, r) {
		return
	}
	if srv.opts.Files != nil && srv.opts.Files(w, r) {
		return
	}
	srv.serve.ServeHTTP(w, r)
}

func (srv *Server) route(w http.ResponseWriter, r *http.Request) {
	if accept := streamRequest(r); accept != nil {
		srv.serveStream(w, r, accept)
		return
	}
	if isUpgrade(r) {
		srv.serveUpgrade(w, r)
		return
	}
	srv.serveRequest(w, r)
}

// isUpgrade reports whether the client wants to leave HTTP.
func isUpgrade(r *http.Request) bool {
	return r.Header.Get("Upgrade") != "" && headerHasToken(r.Header["Connection"], "upgrade")
}

func headerHasToken(values []string, token string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

func (srv *Server) serveRequest(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	s, no := srv.verify(w, r, false)
	if s != nil {
		no = s.takeRequest()
	}
	switch {
	case no != nil:
		srv.refuse(w, r, no)
	case s == nil:
		srv.openPolling(w, r, began)
	case r.Method == http.MethodGet:
		s.servePoll(w, r)
	case r.Method == http.MethodPost:
		s.servePost(w, r)
	default:
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// verify checks a request in the order of the reference's verify. It returns the
// session that the request belongs to, or nil for a handshake.
func (srv *Server) verify(w http.ResponseWriter, r *http.Request, upgrade bool) (*Session, *refusal) {
	query := r.URL.RawQuery
	name := queryValue(query, "transport")
	if name == WebTransport || !srv.opts.allows(name) {
		return nil, refuse(CodeTransportUnknown, "")
	}
	if !validOrigin(r) {
		return nil, refuse(CodeBadRequest, "INVALID_ORIGIN")
	}
	if id := queryValue(query, "sid"); id != "" {
		return srv.verifySession(w, r, id, name, upgrade)
	}
	if r.Method != http.MethodGet {
		return nil, refuse(CodeBadMethod, "")
	}
	if name == WebSocket && !upgrade {
		return nil, refuse(CodeBadRequest, "TRANSPORT_HANDSHAKE_ERROR")
	}
	return nil, srv.verifyHandshake(r, revisionOf(r))
}

func (srv *Server) verifySession(w http.ResponseWriter, r *http.Request, id, name string, upgrade bool) (*Session, *refusal) {
	s := srv.lookup(id)
	if s == nil {
		return nil, srv.verifyStranger(w, r, id)
	}
	if !upgrade && s.Transport() != name {
		return nil, refuse(CodeBadRequest, "TRANSPORT_MISMATCH")
	}
	if !srv.allowedOrigin(r) {
		return nil, srv.refuseOrigin(r)
	}
	if upgrade && revisionOf(r) != s.rev {
		return nil, refuse(CodeBadRequest, "PROTOCOL_MISMATCH")
	}
	return s, nil
}

// verifyStranger decides about a request for a session that is not here.
func (srv *Server) verifyStranger(w http.ResponseWriter, r *http.Request, id string) *refusal {
	addr := srv.clientAddr(r)
	if no := srv.addresses.stranger(addr, false); no != nil {
		return no
	}
	if srv.forward(w, r, id) {
		return &refusal{handled: true}
	}
	if no := srv.addresses.stranger(addr, true); no != nil {
		return no
	}
	return refuse(CodeSessionUnknown, "")
}

func (srv *Server) verifyHandshake(r *http.Request, rev revision) *refusal {
	if srv.overloaded() {
		return &refusal{busy: true}
	}
	if !srv.allowedOrigin(r) {
		return srv.refuseOrigin(r)
	}
	if len(r.URL.RawQuery)+len(r.URL.Path) > maxURIBytes {
		srv.count.hit(limitRequestURI)
		return refuse(CodeBadRequest, "URI_TOO_LONG")
	}
	if no := srv.throttle(r); no != nil {
		return no
	}
	if srv.opts.AllowRequest != nil {
		if err := srv.opts.AllowRequest(r); err != nil {
			return &refusal{code: CodeForbidden, message: err.Error(), err: err}
		}
	}
	if rev == revision3 && !srv.opts.AllowEIO3 {
		return refuse(CodeUnsupportedProtocol, "")
	}
	return nil
}

// revisionOf returns the revision a request asks for: anything but 4 means 3, as in
// the reference.
func revisionOf(r *http.Request) revision {
	if queryValue(r.URL.RawQuery, "EIO") == "4" {
		return revision4
	}
	return revision3
}

// refuse answers a plain HTTP request.
func (srv *Server) refuse(w http.ResponseWriter, r *http.Request, no *refusal) {
	if no.handled {
		return
	}
	if no.busy {
		srv.refuseBusy(w, r, no)
		return
	}
	status := http.StatusBadRequest
	switch {
	case no.status != 0:
		status = no.status
		srv.refuseLimit(w, no)
	case no.code == CodeForbidden:
		status = http.StatusForbidden
	}
	srv.countRefusal(r, no, status)
	body, _ := json.Marshal(struct {
		Code    Code   `json:"code"`
		Message string `json:"message"`
	}{no.code, no.text()})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// refuseUpgrade answers an upgrade request: always 400, and the text alone, as the
// reference's abortUpgrade.
func (srv *Server) refuseUpgrade(w http.ResponseWriter, r *http.Request, no *refusal) {
	if no.handled {
		return
	}
	if no.busy {
		srv.refuseBusy(w, r, no)
		return
	}
	status := http.StatusBadRequest
	if no.status != 0 {
		status = no.status
		srv.refuseLimit(w, no)
	}
	srv.countRefusal(r, no, status)
	abortUpgrade(w, status, no.text())
}

func abortUpgrade(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Connection", "close")
	h.Set("Content-Type", "text/html")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}

func (srv *Server) refuseBusy(w http.ResponseWriter, r *http.Request, no *refusal) {
	srv.count.overloaded.Add(1)
	srv.notify(r, no, http.StatusServiceUnavailable)
	w.Header().Set("Retry-After", retryAfter)
	w.WriteHeader(http.StatusServiceUnavailable)
}

func (srv *Server) countRefusal(r *http.Request, no *refusal, status int) {
	srv.count.refused[no.code].Add(1)
	srv.notify(r, no, status)
}

// newID makes the id of a new session.
func (srv *Server) newID(r *http.Request) (string, *refusal) {
	id, err := srv.opts.GenerateID(r)
	if err == nil && id == "" {
		err = errors.New("engineio: empty session id")
	}
	if err != nil {
		return "", &refusal{code: CodeBadRequest, context: "ID_GENERATION_ERROR", err: err}
	}
	return id, nil
}

// newSession makes a session that nobody knows yet. The caller gives it a
// transport and calls start.
func (srv *Server) newSession(r *http.Request, id string) *Session {
	s := &Session{
		srv:  srv,
		id:   id,
		req:  srv.newRequest(r),
		ctx:  valuesOnly(r),
		rev:  revisionOf(r),
		busy: true, // until the handler has said who receives
		refs: 1,
	}
	s.out.Share(&srv.budget.total)
	return s
}

// start registers the session and calls the handler. It returns false when the
// session must not be served.
func (s *Session) start() bool {
	srv := s.srv
	if !srv.admit(s) {
		return false
	}
	srv.count.opened[transportIndex(s.transport.name())].Add(1)
	srv.count.sessions.Add(1)
	srv.count.transport(s.transport.name()).Add(1)
	defer s.leave()
	s.receiver = srv.handler(s)
	s.mu.Lock()
	if s.state == stateOpen {
		s.startHeartbeatLocked()
	}
	s.mu.Unlock()
	return true
}

// openPacket is the first packet of a session.
func (s *Session) openPacket(upgrades []string) []byte {
	o := &s.srv.opts
	type open struct {
		SID          string   `json:"sid"`
		Upgrades     []string `json:"upgrades"`
		PingInterval int64    `json:"pingInterval"`
		PingTimeout  int64    `json:"pingTimeout"`
		MaxPayload   int64    `json:"maxPayload"`
	}
	text, _ := json.Marshal(open{s.id, upgrades, millis(o.PingInterval), millis(o.PingTimeout), o.MaxPayload})
	return text
}

func millis(d time.Duration) int64 {
	if d <= 0 {
		d = noTimeout
	}
	return d.Milliseconds()
}

// upgrades lists what a polling session may upgrade to.
func (srv *Server) upgrades(rev revision) []string {
	list := []string{}
	if srv.opts.DisableUpgrades {
		return list
	}
	if srv.opts.allows(WebSocket) {
		list = append(list, WebSocket)
	}
	if srv.opts.allows(WebTransport) && srv.streams.Load() > 0 && rev == revision4 {
		list = append(list, WebTransport)
	}
	return list
}

func (srv *Server) openPolling(w http.ResponseWriter, r *http.Request, began time.Time) {
	id, no := srv.newID(r)
	if no != nil {
		srv.refuse(w, r, no)
		return
	}
	s := srv.newSession(r, id)
	p := &polling{s: s, format: newFormat(s.rev, r.URL.RawQuery)}
	s.transport = p
	open := &batch{msgs: []*Message{control('0', string(s.openPacket(srv.upgrades(s.rev))))}}
	out := p.encode(open, "")
	if !s.start() {
		srv.refuse(w, r, srv.whyNot(r))
		return
	}
	if srv.opts.Cookie != nil {
		http.SetCookie(w, srv.cookie(id))
	}
	if srv.opts.InitialHeaders != nil {
		srv.opts.InitialHeaders(w.Header(), r)
	}
	if err := srv.writePayload(w, r, out); err != nil {
		s.fail(ReasonTransportError, err)
		return
	}
	srv.shookHands(Polling, began)
}

// shookHands counts how long a handshake took.
func (srv *Server) shookHands(transport string, began time.Time) {
	srv.count.handshakes[transportIndex(transport)].Since(began)
}

// cookie fills in the template.
func (srv *Server) cookie(id string) *http.Cookie {
	c := *srv.opts.Cookie
	if c.Name == "" {
		c.Name, c.Path, c.HttpOnly, c.SameSite = "io", "/", true, http.SameSiteLaxMode
	}
	c.Value = id
	return &c
}
