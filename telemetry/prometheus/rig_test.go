package prometheus

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	prom "github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	_ "github.com/socketfleet/socketfleet/adapter/redis" // redis://
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test.
const patience = 30 * time.Second

// node is one server with its metrics.
type node struct {
	*core.Server
	t        *testing.T
	url      string
	c        *Collector
	registry *prom.Registry
}

func startNode(t *testing.T, o core.Options, po *Options) *node {
	t.Helper()
	srv, err := core.New(t.Context(), &o)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv)
	n := &node{Server: srv, t: t, url: web.URL, c: New(srv, po), registry: prom.NewPedanticRegistry()}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = srv.Shutdown(ctx)
		web.Close()
		_ = n.c.Close()
	})
	n.registry.MustRegister(n.c)
	return n
}

// startCluster returns nodes that share a bus and know of each other.
func startCluster(t *testing.T, count int) []*node {
	t.Helper()
	loop := cluster.NewLoopback()
	var nodes []*node
	for i := range count {
		nodes = append(nodes, startNode(t, core.Options{
			NodeID:  fmt.Sprint("node-", i),
			Adapter: cluster.NewProvider(loop.Bus(), cluster.Options{}),
		}, nil))
	}
	for _, n := range nodes {
		n.eventually("the nodes know of each other", func() bool { return n.value("socketio_cluster_nodes") == float64(count) })
	}
	return nodes
}

// startRedis returns nodes that share a Redis server of their own.
func startRedis(t *testing.T, count int) ([]*node, *testutil.RedisServer) {
	t.Helper()
	server := testutil.LocalRedis(t)
	var nodes []*node
	for i := range count {
		nodes = append(nodes, startNode(t, core.Options{
			NodeID: fmt.Sprint("node-", i), AdapterURL: server.URL + "?probe_interval=200ms",
			Logger: slog.New(slog.DiscardHandler),
		}, nil))
	}
	for _, n := range nodes {
		n.want(float64(count), "socketio_cluster_nodes")
	}
	return nodes, server
}

func (n *node) eventually(what string, ok func() bool) {
	n.t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			n.t.Fatalf("never happened: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (n *node) scrape() []*dto.MetricFamily {
	n.t.Helper()
	all, err := n.registry.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	return all
}

// value returns the sum of a metric's series that have all of labels, given as
// name, value, ...; the count of observations for a histogram.
func (n *node) value(name string, labels ...string) float64 {
	n.t.Helper()
	var sum float64
	for _, f := range n.scrape() {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if !has(m, labels) {
				continue
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// exposes reports whether a metric has a series with labels.
func (n *node) exposes(name string, labels ...string) bool {
	n.t.Helper()
	for _, f := range n.scrape() {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && has(m, labels) {
				return true
			}
		}
	}
	return false
}

func has(m *dto.Metric, labels []string) bool {
	found := 0
	for i := 0; i < len(labels); i += 2 {
		for _, l := range m.GetLabel() {
			if l.GetName() == labels[i] && l.GetValue() == labels[i+1] {
				found++
			}
		}
	}
	return 2*found == len(labels)
}

// want waits until a metric has a value.
func (n *node) want(v float64, name string, labels ...string) {
	n.t.Helper()
	var got float64
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if got = n.value(name, labels...); got == v {
			return
		}
	}
	n.t.Errorf("%s%v = %v, want %v", name, labels, got, v)
}

// series counts the time series of a scrape.
func (n *node) series() int {
	n.t.Helper()
	count := 0
	for _, f := range n.scrape() {
		count += len(f.GetMetric())
	}
	return count
}

// client is a bare Socket.IO client over WebSocket.
type client struct {
	t    *testing.T
	conn *websocket.Conn

	mu sync.Mutex // guards writes
}

func (n *node) dial(nsp string) *client {
	n.t.Helper()
	c := n.open()
	c.send("40" + prefix(nsp))
	c.read("40")
	return c
}

// open returns a client that has joined no namespace.
func (n *node) open() *client {
	n.t.Helper()
	url := "ws" + strings.TrimPrefix(n.url, "http") + "/socket.io/?EIO=4&transport=websocket"
	conn, resp, err := websocket.DefaultDialer.DialContext(n.t.Context(), url, http.Header{})
	if err != nil {
		n.t.Fatal(err)
	}
	_ = resp.Body.Close()
	n.t.Cleanup(func() { _ = conn.Close() })
	c := &client{t: n.t, conn: conn}
	c.read("0")
	return c
}

func prefix(nsp string) string {
	if nsp == "/" {
		return ""
	}
	return nsp + ","
}

func (c *client) send(text string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// read reads messages until one begins with start, and answers pings.
func (c *client) read(start string) string {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		_, data, err := c.conn.ReadMessage()
		if err != nil {
			c.t.Fatalf("reading on for %q: %v", start, err)
		}
		if string(data) == "2" {
			c.send("3")
		}
		if strings.HasPrefix(string(data), start) {
			return string(data)
		}
	}
}
