package otel

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// rig is a traced server.
type rig struct {
	*core.Server
	t     *testing.T
	url   string
	spans *tracetest.SpanRecorder
	opts  *Options
	stop  func()
}

func start(t *testing.T, o core.Options, opts Options, sampler sdk.Sampler) *rig {
	t.Helper()
	r := &rig{t: t, spans: tracetest.NewSpanRecorder()}
	opts.TracerProvider = sdk.NewTracerProvider(sdk.WithSpanProcessor(r.spans), sdk.WithSampler(sampler))
	r.opts = &opts
	o.Use = append(o.Use, Handshake(&opts))
	srv, err := core.New(t.Context(), &o)
	if err != nil {
		t.Fatal(err)
	}
	r.Server, r.stop = srv, Observe(srv, &opts)
	web := httptest.NewServer(srv)
	r.url = web.URL
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = srv.Shutdown(ctx)
		web.Close()
	})
	return r
}

// named waits for an ended span.
func (r *rig) named(name string) sdk.ReadOnlySpan {
	r.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		for _, s := range r.spans.Ended() {
			if s.Name() == name {
				return s
			}
		}
	}
	r.t.Fatalf("no span %q among %q", name, r.names())
	return nil
}

func (r *rig) names() []string {
	var out []string
	for _, s := range r.spans.Ended() {
		out = append(out, s.Name())
	}
	return out
}

func (r *rig) dial(auth string, header http.Header) *websocket.Conn {
	r.t.Helper()
	url := "ws" + strings.TrimPrefix(r.url, "http") + "/socket.io/?EIO=4&transport=websocket"
	conn, resp, err := websocket.DefaultDialer.DialContext(r.t.Context(), url, header)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = resp.Body.Close()
	r.t.Cleanup(func() { _ = conn.Close() })
	r.send(conn, "40"+auth)
	r.read(conn, "40")
	return conn
}

func (r *rig) send(conn *websocket.Conn, text string) {
	r.t.Helper()
	if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) read(conn *websocket.Conn, start string) {
	r.t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	for {
		_, data, err := conn.ReadMessage()
		if err != nil {
			r.t.Fatalf("reading on for %q: %v", start, err)
		}
		if strings.HasPrefix(string(data), start) {
			return
		}
	}
}

func attr(s sdk.ReadOnlySpan, key string) string {
	for _, a := range s.Attributes() {
		if string(a.Key) == key {
			return a.Value.String()
		}
	}
	return ""
}

func linksTo(s sdk.ReadOnlySpan, to trace.SpanContext) bool {
	return slices.ContainsFunc(s.Links(), func(l sdk.Link) bool {
		return l.SpanContext.TraceID() == to.TraceID() && l.SpanContext.SpanID() == to.SpanID()
	})
}

func TestAConnectionIsTracedFromItsHandshake(t *testing.T) {
	t.Parallel()
	r := start(t, core.Options{}, Options{}, sdk.AlwaysSample())
	core.OnAck(r, "known", func(ctx context.Context, _ *core.Socket, _ any) (int, error) {
		return 1, r.To("room").WithContext(ctx).Emit("news")
	})
	core.On(r, "fails", func(context.Context, *core.Socket, any) error { return errors.New("no") })
	conn := r.dial("", nil)
	r.send(conn, `42["fails"]`)
	r.send(conn, `42["chosen by a client"]`)
	r.send(conn, `421["known"]`)
	r.read(conn, "431")

	handshake := r.named("socketio handshake")
	if got := attr(handshake, "http.response.status_code"); got != "101" {
		t.Errorf("status %s", got)
	}
	for _, name := range []string{"connect /", "known process", "_other process", "fails process"} {
		s := r.named(name)
		if s.Parent().IsValid() {
			t.Errorf("%s has a parent", name)
		}
		if !linksTo(s, handshake.SpanContext()) {
			t.Errorf("%s is not linked to the handshake", name)
		}
	}
	event, news := r.named("known process"), r.named("news broadcast")
	if news.Parent().SpanID() != event.SpanContext().SpanID() {
		t.Error("the broadcast is not a part of its event's trace")
	}
	if got := attr(event, "messaging.destination.name"); got != "//known" {
		t.Errorf("destination %q", got)
	}
	if s := r.named("fails process"); s.Status().Code != codes.Error || len(s.Events()) != 1 {
		t.Errorf("status %v, %d events", s.Status(), len(s.Events()))
	}
	for _, s := range r.spans.Ended() {
		if strings.Contains(fmt.Sprint(s.Name(), s.Attributes()), "chosen by a client") {
			t.Errorf("a client named %s", s.Name())
		}
	}
}

func TestABroadcastIsTracedAcrossNodes(t *testing.T) {
	t.Parallel()
	loop := cluster.NewLoopback()
	var rigs []*rig
	for i := range 3 {
		rigs = append(rigs, start(t, core.Options{
			NodeID: fmt.Sprint("node-", i), Adapter: cluster.NewProvider(loop.Bus(), cluster.Options{}),
		}, Options{}, sdk.AlwaysSample()))
		rigs[i].dial("", nil)
	}
	ctx, span := rigs[0].opts.tracer().Start(t.Context(), "request")
	if err := rigs[0].Except("nobody").WithContext(ctx).Emit("news"); err != nil {
		t.Fatal(err)
	}
	span.End()
	news, publish := rigs[0].named("news broadcast"), rigs[0].named("adapter publish")
	if news.Parent().SpanID() != span.SpanContext().SpanID() {
		t.Error("the broadcast is not a part of its caller's trace")
	}
	if publish.Parent().SpanID() != news.SpanContext().SpanID() || publish.EndTime().Before(publish.StartTime()) {
		t.Error("the publication is not a part of the broadcast")
	}
	for _, r := range rigs[1:] {
		s := r.named("adapter receive")
		if !linksTo(s, news.SpanContext()) || s.Parent().IsValid() {
			t.Errorf("links %v, parent %v", s.Links(), s.Parent())
		}
		if attr(s, "socketio.recipients") != "1" {
			t.Errorf("recipients %q", attr(s, "socketio.recipients"))
		}
	}
}

func TestWhatIsNotSampledDoesNotTravel(t *testing.T) {
	t.Parallel()
	loop := cluster.NewLoopback()
	a := start(t, core.Options{Adapter: cluster.NewProvider(loop.Bus(), cluster.Options{})}, Options{}, sdk.NeverSample())
	b := start(t, core.Options{Adapter: cluster.NewProvider(loop.Bus(), cluster.Options{})}, Options{}, sdk.AlwaysSample())
	conn := b.dial("", nil)
	if err := a.Emit("news"); err != nil {
		t.Fatal(err)
	}
	b.read(conn, `42["news"`)
	if err := b.Emit("last"); err != nil {
		t.Fatal(err)
	}
	b.named("last broadcast")
	b.read(conn, `42["last"`)
	if names := b.names(); slices.Contains(names, "adapter receive") {
		t.Errorf("spans %q", names)
	}
}

// Without a span of the caller an emit to one socket is none; within one it must not
// end the caller's.
func TestEmitsToOneSocketAreSpansOfTheirCaller(t *testing.T) {
	t.Parallel()
	r := start(t, core.Options{}, Options{}, sdk.AlwaysSample())
	core.On(r, "ask me", func(ctx context.Context, s *core.Socket, _ any) error {
		if err := s.Emit("untraced"); err != nil {
			return err
		}
		_, err := core.EmitWithAck[string](ctx, s, "question")
		return err
	})
	conn := r.dial("", nil)
	r.send(conn, `42["ask me"]`)
	r.read(conn, `42`)
	r.read(conn, `420`)
	r.send(conn, `430["answer"]`)
	event, send := r.named("ask me process"), r.named("question send")
	if send.Parent().SpanID() != event.SpanContext().SpanID() || send.EndTime().After(event.EndTime()) {
		t.Error("the question is not within its event")
	}
	if slices.Contains(r.names(), "untraced send") {
		t.Errorf("spans %q", r.names())
	}
}

const remote = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestClientsNameTracesOnlyWhereTheyMay(t *testing.T) {
	t.Parallel()
	header := http.Header{"Traceparent": {remote}}
	auth := `{"trace":"` + remote + `"}`
	for _, c := range []struct {
		name           string
		opts           Options
		parent, linked bool
	}{
		{"nowhere by default", Options{}, false, false},
		{"in the header", Options{TrustHeaders: true}, true, false},
		{"in auth", Options{AuthField: "trace"}, false, true},
		{"not in another field of auth", Options{AuthField: "other"}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, core.Options{}, c.opts, sdk.AlwaysSample())
			r.dial(auth, header)
			from := fromTraceparent(remote)
			if got := r.named("socketio handshake").Parent().SpanID() == from.SpanID(); got != c.parent {
				t.Errorf("parent of the handshake: %v", got)
			}
			if got := linksTo(r.named("connect /"), from); got != c.linked {
				t.Errorf("link of the connect: %v", got)
			}
		})
	}
}

func TestPollsAreNoSpans(t *testing.T) {
	t.Parallel()
	r := start(t, core.Options{}, Options{}, sdk.AlwaysSample())
	for _, query := range []string{"", "&sid=unknown"} {
		resp, err := http.Get(r.url + "/socket.io/?EIO=4&transport=polling" + query)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	if s := r.named("socketio handshake"); attr(s, "http.response.status_code") != "200" {
		t.Errorf("status %s", attr(s, "http.response.status_code"))
	}
	if n := len(r.spans.Started()); n != 1 {
		t.Errorf("%d spans", n)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestAnythingMayStandWhereATraceShould(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "x", remote[1:], strings.Repeat("0", 55), remote + "-" + strings.Repeat("x", 1000)} {
		if fromTraceparent(text).IsValid() {
			t.Errorf("%q is taken for a trace", text)
		}
	}
	if sc := fromTraceparent(remote); traceparent(sc) != remote {
		t.Errorf("%q became %q", remote, traceparent(sc))
	}
}
