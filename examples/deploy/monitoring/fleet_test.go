package monitoring

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	_ "github.com/socketfleet/socketfleet/adapter/redis" // redis://
	"github.com/socketfleet/socketfleet/cluster/forward"
	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
	"github.com/socketfleet/socketfleet/telemetry/prometheus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// node is one server of the fleet with its metrics.
type node struct {
	*core.Server
	url     string
	metrics http.Handler
}

func startFleet(t *testing.T, count int) []*node {
	t.Helper()
	backend := testutil.LocalRedis(t).URL
	var nodes []*node
	for i := range count {
		nodes = append(nodes, startNode(t, fmt.Sprint("node-", i), backend))
	}
	return nodes
}

func startNode(t *testing.T, name, backend string) *node {
	t.Helper()
	web := httptest.NewUnstartedServer(nil)
	url := "http://" + web.Listener.Addr().String()
	srv, err := core.New(t.Context(), &core.Options{
		NodeID:        name,
		AdapterURL:    backend,
		ClusterSecret: "a secret of sixteen bytes or more",
		AdvertiseURL:  url,
		Forwarder:     forward.New(nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	web.Config.Handler = srv
	web.Start()
	c := prometheus.New(srv, nil)
	core.OnAck(srv, "say", func(ctx context.Context, s *core.Socket, text string) (string, error) {
		if err := s.Join("room"); err != nil {
			return "", err
		}
		return text, srv.To("room").WithContext(ctx).Emit("said", text)
	})
	core.On(srv, "leave", func(_ context.Context, s *core.Socket, _ any) error { s.Disconnect(true); return nil })
	srv.Of("/private").Use(func(context.Context, *core.Socket) error { return fmt.Errorf("members only") })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = srv.Shutdown(ctx)
		web.Close()
		_ = c.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return &node{Server: srv, url: url, metrics: prometheus.Handler(c)}
}

// exposed returns what a scrape of the node finds.
func (n *node) exposed(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	rec := httptest.NewRecorder()
	n.metrics.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	all, err := parser.TextToMetricFamilies(rec.Body)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// traffic has clients do, through WebSockets and through polls at the wrong node, what
// gives every metric something to count.
func traffic(t *testing.T, nodes []*node) {
	t.Helper()
	for i, n := range nodes {
		conn := dial(t, n)
		send(t, conn, "40", "40")
		send(t, conn, "40/private,", "44/private")
		send(t, conn, fmt.Sprintf(`421["say","hello from %d"]`, i), "431")
		if _, err := n.FetchSockets(t.Context()); err != nil {
			t.Error(err)
		}
		pollElsewhere(t, n, nodes[(i+1)%len(nodes)])
		send(t, conn, `42["leave"]`, "41")
		_ = conn.Close()
	}
}

func dial(t *testing.T, n *node) *websocket.Conn {
	t.Helper()
	url := "ws" + strings.TrimPrefix(n.url, "http") + "/socket.io/?EIO=4&transport=websocket"
	conn, resp, err := websocket.DefaultDialer.DialContext(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// send sends a message and reads until one begins with answer.
func send(t *testing.T, conn *websocket.Conn, text, answer string) {
	t.Helper()
	if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	for {
		_, data, err := conn.ReadMessage()
		if err != nil {
			t.Fatalf("%s: reading on for %s: %v", text, answer, err)
		}
		if strings.HasPrefix(string(data), answer) {
			return
		}
	}
}

// pollElsewhere begins a connection at one node and goes on at another, which
// forwards.
func pollElsewhere(t *testing.T, n, other *node) {
	t.Helper()
	const query = "/socket.io/?EIO=4&transport=polling"
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(request(t, http.MethodGet, n.url+query, "")[1:]), &open); err != nil {
		t.Fatal(err)
	}
	at := other.url + query + "&sid=" + open.SID
	if got := request(t, http.MethodPost, at, "40"); got != "ok" {
		t.Errorf("post: %s", got)
	}
	if got := request(t, http.MethodGet, at, ""); !strings.HasPrefix(got, "40") {
		t.Errorf("poll: %s", got)
	}
}

func request(t *testing.T, method, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || len(text) == 0 {
		t.Fatalf("%s %s: %q %v", method, url, text, err)
	}
	return string(text)
}
