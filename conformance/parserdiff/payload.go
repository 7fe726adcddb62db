package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/socketfleet/socketfleet/internal/engineio"
)

// payloads decodes polling payloads the way a server gets them: POSTed to a
// session.
type payloads struct {
	srv  *engineio.Server
	last *sink // of the current session
}

func newPayloads() (*payloads, error) {
	p := new(payloads)
	var err error
	p.srv, err = engineio.NewServer(engineio.Options{Path: "/"}, func(s *engineio.Session) engineio.Receiver {
		p.last = &sink{session: s, got: []any{}, closed: make(chan engineio.Reason, 1)}
		return p.last
	})
	return p, err
}

func (p *payloads) close(ctx context.Context) error { return p.srv.Shutdown(ctx) }

func (p *payloads) decode(messages []message) outcome {
	sid, err := p.handshake()
	if err != nil {
		return outcome{Error: err.Error()}
	}
	for _, m := range messages {
		p.request(http.MethodPost, "&sid="+sid, string(m.data))
	}
	p.last.session.Close(engineio.ReasonForcedClose, false) // unless an error has
	reason := <-p.last.closed
	o := outcome{Packets: p.last.got}
	if reason == engineio.ReasonParseError {
		o.Error = string(reason)
	}
	return o
}

func (p *payloads) handshake() (string, error) {
	w := p.request(http.MethodGet, "", "")
	var h struct {
		SID string `json:"sid"`
	}
	text := strings.TrimPrefix(w.Body.String(), "0")
	if err := json.Unmarshal([]byte(text), &h); err != nil || h.SID == "" {
		return "", fmt.Errorf("handshake: status %d: %s", w.Code, text)
	}
	return h.SID, nil
}

func (p *payloads) request(method, query, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/?EIO=4&transport=polling"+query, strings.NewReader(body))
	r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	w := httptest.NewRecorder()
	p.srv.ServeHTTP(w, r)
	return w
}

// sink keeps what a client sends.
type sink struct {
	session *engineio.Session
	got     []any
	closed  chan engineio.Reason
}

func (s *sink) Text(data []byte)                  { s.got = append(s.got, string(data)) }
func (s *sink) Binary(data []byte)                { s.got = append(s.got, map[string][]byte{"$bin": data}) }
func (s *sink) Closed(r engineio.Reason, _ error) { s.closed <- r }
