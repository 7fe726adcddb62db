package forward

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/engineio"
	"github.com/socketfleet/socketfleet/internal/sid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	wait    = 20 * time.Second
	secret  = "a secret of this deployment"
	polling = "EIO=4&transport=polling"
)

// registry is a Registry that can be told to fail, and counts.
type registry struct {
	mu      sync.Mutex // guards the following
	nodes   map[string]cluster.Node
	away    bool
	lookups int
	block   chan struct{} // lookups wait for its end; nil: they do not
}

func newRegistry() *registry { return &registry{nodes: make(map[string]cluster.Node)} }

var errAway = errors.New("the registry is away")

func (g *registry) Announce(_ context.Context, n cluster.Node, _ time.Duration) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.away {
		return errAway
	}
	g.nodes[n.ID] = n
	return nil
}

func (g *registry) Lookup(ctx context.Context, id string) (cluster.Node, error) {
	g.mu.Lock()
	g.lookups++
	n, ok := g.nodes[id]
	away, block := g.away, g.block
	g.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
		}
	}
	switch {
	case away:
		return cluster.Node{}, errAway
	case !ok:
		return cluster.Node{}, cluster.ErrNodeUnknown
	}
	return n, nil
}

func (g *registry) Withdraw(_ context.Context, id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.nodes, id)
	return nil
}

func (g *registry) set(away bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.away = away
}

func (g *registry) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lookups
}

func (g *registry) put(id, url string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.nodes[id] = cluster.Node{ID: id, URL: url}
}

// node is an engine with a forwarder and an HTTP server. Sessions echo their texts.
type node struct {
	t      *testing.T
	fwd    *Forwarder
	engine *engineio.Server
	signer *sid.Signer
	http   *httptest.Server
	opened chan *receiver
}

type receiver struct {
	s      *engineio.Session
	got    chan string
	closed chan engineio.Reason
}

func (r *receiver) Text(data []byte) {
	r.got <- string(data)
	_ = r.s.Send(engineio.NewMessage(append(engineio.Reserve(len(data)), data...), nil)) // the session may have ended
}
func (r *receiver) Binary([]byte)                       {}
func (r *receiver) Closed(why engineio.Reason, _ error) { r.closed <- why }

// config is what tests change of a node.
type config struct {
	opts   Options
	engine engineio.Options
	wrap   func(http.Handler) http.Handler
	serve  func(*httptest.Server) // starts the server; nil: Start
	secret string
}

func startNode(t *testing.T, g cluster.Registry, c config) *node {
	t.Helper()
	if c.secret == "" {
		c.secret = secret
	}
	if c.opts.Registry == nil {
		c.opts.Registry = g
	}
	signer, err := sid.NewSigner(c.secret, "node")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, fwd: New(&c.opts), signer: signer, opened: make(chan *receiver, 64)}
	c.engine.Signer, c.engine.Foreign, c.engine.Logger = signer, n.fwd.Forward, slog.New(slog.DiscardHandler)
	if n.engine, err = engineio.NewServer(c.engine, n.accept); err != nil {
		t.Fatal(err)
	}
	var handler http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r = n.fwd.Accept(w, r); r != nil {
			n.engine.ServeHTTP(w, r)
		}
	})
	if c.wrap != nil {
		handler = c.wrap(handler)
	}
	n.http = httptest.NewUnstartedServer(handler)
	if c.serve != nil {
		c.serve(n.http)
	} else {
		n.http.Start()
	}
	limits := n.engine.Limits()
	err = n.fwd.Open(t.Context(), adapter.ForwardNode{
		Owner: signer.Owner(), Secret: c.secret, URL: n.http.URL, MaxPayload: limits.MaxPayload, BodyTimeout: limits.BodyTimeout,
		PollTimeout: limits.PollTimeout, WriteTimeout: limits.WriteTimeout, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.close)
	return n
}

func (n *node) accept(s *engineio.Session) engineio.Receiver {
	r := &receiver{s: s, got: make(chan string, 1024), closed: make(chan engineio.Reason, 1)}
	n.opened <- r
	return r
}

// close ends a node; a second call does nothing.
func (n *node) close() {
	_ = n.engine.Close()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if err := n.fwd.Close(ctx); err != nil {
		n.t.Errorf("close: %v", err)
	}
	n.http.Client().CloseIdleConnections()
	n.http.Close()
}

// pair returns the owner of sessions and a node that has none.
func pair(t *testing.T) (owner, other *node, g *registry) {
	t.Helper()
	g = newRegistry()
	return startNode(t, g, config{}), startNode(t, g, config{}), g
}

type response struct {
	status int
	header http.Header
	body   string
}

const unknown = `{"code":1,"message":"Session ID unknown"}`

func (r response) isUnknown() bool { return r.status == 400 && r.body == unknown }

func (n *node) try(ctx context.Context, method, query, body string, header ...string) (response, error) {
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, n.http.URL+"/socket.io/?"+query, in)
	if err != nil {
		return response{}, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := n.http.Client().Do(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, string(data)}, err
}

func (n *node) do(method, query, body string, header ...string) response {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), wait)
	defer cancel()
	resp, err := n.try(ctx, method, query, body, header...)
	if err != nil {
		n.t.Fatalf("%s: %v", method, err)
	}
	return resp
}

// later does a request in the background.
func (n *node) later(method, query, body string) <-chan response {
	ch := make(chan response, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		resp, err := n.try(ctx, method, query, body)
		if err != nil {
			resp.body = "error: " + err.Error()
		}
		ch <- resp
	}()
	return ch
}

// session is one that n owns, seen from its client.
type session struct {
	*receiver
	id    string
	query string
}

func (n *node) session() *session {
	n.t.Helper()
	resp := n.do(http.MethodGet, polling, "")
	var open struct{ SID string }
	if resp.status != 200 || json.Unmarshal([]byte(resp.body[1:]), &open) != nil {
		n.t.Fatalf("handshake: %+v", resp)
	}
	return &session{receive(n.t, "session", n.opened), open.SID, polling + "&sid=" + open.SID}
}

func receive[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(wait):
		t.Fatalf("timed out waiting for %s", what)
		panic("unreachable")
	}
}

// eventually polls cond with a deadline.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(wait)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s after %v", what, wait)
		}
		<-tick.C
	}
}

// failed returns how often forwarding failed for a reason.
func (n *node) failed(why Failure) uint64  { return n.fwd.Stats().Failed[why] }
func (n *node) refused(why Refusal) uint64 { return n.fwd.Stats().Refused[why] }
func (n *node) forwarded(kind Kind) uint64 { return n.fwd.Stats().Forwarded[kind] }
