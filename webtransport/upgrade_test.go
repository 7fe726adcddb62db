package webtransport

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"

	"github.com/socketfleet/socketfleet/core"
)

// poller is a client that polls the same core over HTTP/1.
type poller struct {
	t   *testing.T
	web *httptest.Server
	sid string
}

func (r *rig) poll() (*poller, openData) {
	r.t.Helper()
	web := httptest.NewServer(r.core)
	r.t.Cleanup(func() {
		web.Client().CloseIdleConnections()
		web.CloseClientConnections()
		web.Close()
	})
	p := &poller{t: r.t, web: web}
	o := parseOpen(r.t, p.get())
	p.sid = o.SID
	return p, o
}

func (p *poller) url() string {
	u := p.web.URL + "/socket.io/?EIO=4&transport=polling"
	if p.sid != "" {
		u += "&sid=" + p.sid
	}
	return u
}

func (p *poller) get() string {
	p.t.Helper()
	resp, err := p.web.Client().Get(p.url())
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("poll: %s %q %v", resp.Status, body, err)
	}
	return string(body)
}

func (p *poller) post(body string) {
	p.t.Helper()
	resp, err := p.web.Client().Post(p.url(), "text/plain", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("post: %s %v", resp.Status, err)
	}
}

func TestPollingUpgrades(t *testing.T) {
	t.Parallel()
	r := newRig(t, core.Options{}, Options{})
	r.eventually("attached server", func() bool { _, o := r.poll(); return len(o.Upgrades) == 2 })
	p, o := r.poll()
	if !slices.Equal(o.Upgrades, []string{"websocket", "webtransport"}) {
		t.Fatalf("upgrades = %q", o.Upgrades)
	}
	p.post("40")
	p.get()
	s := recvFrom(t, "a socket", r.connected)
	c := r.stream()
	c.send(`0{"sid":"` + p.sid + `"}`)
	c.send("2probe")
	c.want("3probe")
	if got := s.Transport(); got != "polling" {
		t.Errorf("transport while probing = %q", got)
	}
	if got := p.get(); got != "6" {
		t.Errorf("poll while probing = %q, want a noop", got)
	}
	if err := s.Emit("queued"); err != nil {
		t.Fatal(err)
	}
	c.send("5")
	c.want(`42["queued"]`)
	if got := s.Transport(); got != "webtransport" {
		t.Errorf("transport after the upgrade = %q", got)
	}
	if st := r.core.Stats().Engine; st.Upgraded != 1 || st.Streams != 1 {
		t.Errorf("stats: %d upgraded, %d streams", st.Upgraded, st.Streams)
	}
	again := r.stream()
	again.send(`0{"sid":"` + p.sid + `"}`)
	again.wantEnd()
	if err := s.Emit("alive"); err != nil {
		t.Fatal(err)
	}
	c.want(`42["alive"]`)
}

func TestAProbeThatFailsLeavesPollingAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, core.Options{}, Options{})
	p, _ := r.poll()
	p.post("40")
	p.get()
	s := recvFrom(t, "a socket", r.connected)
	c := r.stream()
	c.send(`0{"sid":"` + p.sid + `"}`)
	c.send("4nonsense")
	c.wantEnd()
	if err := s.Emit("polled"); err != nil {
		t.Fatal(err)
	}
	if got := p.get(); got != `42["polled"]` {
		t.Errorf("poll = %q", got)
	}
}

func TestUpgradesAreListedOnlyWhereThereIsAServer(t *testing.T) {
	t.Parallel()
	r := newRig(t, core.Options{Transports: []string{"polling", "websocket"}}, Options{})
	if _, o := r.poll(); !slices.Equal(o.Upgrades, []string{"websocket"}) {
		t.Errorf("upgrades without the transport = %q", o.Upgrades)
	}
	if _, status, err := r.dial(nil, nil); err == nil || status != http.StatusBadRequest {
		t.Errorf("CONNECT without the transport: %d, %v", status, err)
	}
	alone, err := core.New(t.Context(), &core.Options{Transports: []string{"polling", "webtransport"}})
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	if _, o := (&rig{t: t, core: alone}).poll(); len(o.Upgrades) != 0 {
		t.Errorf("upgrades without a server = %q", o.Upgrades)
	}
}

// The chain of checks is the same on every transport (engine.io 6.6.7 left
// WebTransport out).
func TestTheRequestIsCheckedAsAnyHandshake(t *testing.T) {
	t.Parallel()
	refused := errors.New("not you")
	for name, tc := range map[string]struct {
		opts   core.Options
		header http.Header
		path   string
		want   int
	}{
		"a foreign origin":       {header: http.Header{"Origin": {"https://evil.example"}}, want: 403},
		"a listed origin":        {opts: core.Options{Origins: []string{"https://good.example"}}, header: http.Header{"Origin": {"https://good.example"}}, want: 200},
		"AllowRequest":           {opts: core.Options{AllowRequest: func(*http.Request) error { return refused }}, want: 403},
		"a middleware":           {opts: core.Options{Use: []func(http.Handler) http.Handler{teapot}}, want: 418},
		"a middleware that asks": {opts: core.Options{Use: []func(http.Handler) http.Handler{hide}}, want: 200},
		"another path":           {path: "/other/", want: 404},
		"no slash at the end":    {path: "/socket.io", want: 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, tc.opts, Options{})
			if tc.path != "" {
				r.path = tc.path
			}
			_, status, err := r.dial(tc.header, nil)
			if status != tc.want || (err == nil) != (tc.want == 200) {
				t.Errorf("status = %d, %v; want %d", status, err, tc.want)
			}
		})
	}
}

func teapot(http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
}

// hide passes on a writer of which nothing else is known.
func hide(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(struct{ http.ResponseWriter }{w}, r)
	})
}

func TestLimitsOfHandshakesApply(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		opts core.Options
		want int
	}{
		"connections":             {core.Options{MaxConnections: 1}, 503},
		"connections per address": {core.Options{MaxConnectionsPerAddress: 1}, 429},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, tc.opts, Options{})
			silent, _, err := r.dial(nil, nil) // counts before it has said anything
			if err != nil {
				t.Fatal(err)
			}
			if _, status, err := r.dial(nil, nil); err == nil || status != tc.want {
				t.Errorf("second client: %d, %v; want %d", status, err, tc.want)
			}
			_ = silent.sess.CloseWithError(0, "")
			r.eventually("room for another", func() bool {
				_, _, err := r.dial(nil, nil)
				return err == nil
			})
		})
	}
}

func TestOtherStreamsAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, core.Options{}, Options{})
	c, s := r.open()
	for range 20 { // more than may be open at a time (CVE-2026-21438 of webtransport-go)
		ctx := t.Context()
		st, err := c.sess.OpenStreamSync(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = st.Write([]byte{0x01, '0'})
		if _, err := st.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Fatalf("a second stream read %v, want a reset", err)
		}
		uni, err := c.sess.OpenUniStreamSync(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = uni.Write([]byte("x"))
		recvFrom(t, "the refusal", uni.Context().Done())
	}
	if err := s.Emit("alive"); err != nil {
		t.Fatal(err)
	}
	c.want(`42["alive"]`)
}

func TestAConnectionWithoutASessionEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t, core.Options{}, Options{HandshakeTimeout: 50e6})
	tlsConf := testTLS.Clone()
	tlsConf.InsecureSkipVerify = true
	tlsConf.NextProtos = []string{"h3"}
	conn, err := quic.DialAddr(t.Context(), r.addr, tlsConf, &quic.Config{KeepAlivePeriod: 10e6, EnableDatagrams: true, EnableStreamResetPartialDelivery: true})
	if err != nil {
		t.Fatal(err)
	}
	if st, err := conn.OpenStream(); err == nil {
		_, _ = st.Write([]byte{0x01}) // a request that never ends
	}
	recvFrom(t, "the end of the connection", conn.Context().Done())
	c, _ := r.open()
	if c.sess.Context().Err() != nil {
		t.Error("a connection with a session ended")
	}
}

func TestAReasonFitsItsCapsule(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in   string
		want int
	}{{"", 0}, {"forced close", 12}, {strings.Repeat("a", 123), 123}, {strings.Repeat("a", 124), 123}, {strings.Repeat("é", 62), 122}} {
		if got := clip(tc.in); len(got) != tc.want || !strings.HasPrefix(tc.in, got) {
			t.Errorf("clip of %d bytes = %d bytes, want %d", len(tc.in), len(got), tc.want)
		}
	}
}

func TestAServerNeedsACertificate(t *testing.T) {
	t.Parallel()
	if _, err := NewServer(nil, nil); err == nil {
		t.Error("no error")
	}
}

func TestAClientOfRevision3IsNotUpgraded(t *testing.T) {
	t.Parallel()
	r := newRig(t, core.Options{AllowEIO3: true}, Options{})
	r.eventually("attached server", func() bool { _, o := r.poll(); return len(o.Upgrades) == 2 })
	web := httptest.NewServer(r.core)
	defer web.Close()
	resp, err := web.Client().Get(web.URL + "/socket.io/?EIO=3&transport=polling")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	_, packet, _ := strings.Cut(string(body), ":")
	packet = packet[:strings.LastIndexByte(packet, '}')+1]
	o := parseOpen(t, packet)
	if !slices.Equal(o.Upgrades, []string{"websocket"}) {
		t.Errorf("upgrades = %q", o.Upgrades)
	}
	c := r.stream()
	c.send(`0{"sid":"` + o.SID + `"}`)
	c.wantEnd()
}
