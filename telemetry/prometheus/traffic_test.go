package prometheus

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/socketfleet/socketfleet/core"
)

// request does one request of polling. query goes behind that of the protocol.
func (n *node) request(method, query, body string) string {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), method, n.url+"/socket.io/?EIO=4&transport=polling"+query, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return string(text)
}

// poller begins a connection over polling and returns the query of its session. It
// has joined "/" and no poll waits.
func (n *node) poller() string {
	n.t.Helper()
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(n.request(http.MethodGet, "", "")[1:]), &open); err != nil {
		n.t.Fatal(err)
	}
	session := "&sid=" + open.SID
	n.request(http.MethodPost, session, "40")
	if got := n.request(http.MethodGet, session, ""); !strings.HasPrefix(got, "40") {
		n.t.Fatalf("poll: %s", got)
	}
	return session
}

func TestPacketsAndBytesShowTransportAndType(t *testing.T) {
	t.Parallel()
	n := startNode(t, core.Options{}, nil)
	c := n.dial("/") // open and CONNECT out, CONNECT in
	n.poller()
	c.send(`42["nobody listens"]`)
	for _, want := range []struct {
		value                    float64
		direction, carrier, kind string
	}{
		{1, "out", "websocket", "open"},
		{1, "out", "websocket", "message"},
		{2, "in", "websocket", "message"},
		{0, "in", "websocket", "pong"},
		{1, "out", "polling", "open"},
		{1, "out", "polling", "message"},
		{1, "in", "polling", "message"},
		{0, "in", "webtransport", "message"},
	} {
		n.want(want.value, "socketio_engine_packets_total", "direction", want.direction, "transport", want.carrier, "type", want.kind)
	}
	n.want(3, "socketio_engine_packets_total", "direction", "in")
	for _, carrier := range []string{"websocket", "polling"} {
		for _, direction := range []string{"in", "out"} {
			if n.value("socketio_engine_bytes_total", "direction", direction, "transport", carrier) == 0 {
				t.Errorf("no bytes %s over %s", direction, carrier)
			}
		}
	}
	c = n.dial("/")
	c.send("9")
	n.want(1, "socketio_engine_packets_total", "direction", "in", "type", "invalid")
}

func TestClientsAboveTheHighWaterMarkShow(t *testing.T) {
	t.Parallel()
	n := startNode(t, core.Options{HighWaterBytes: 1000}, nil)
	session := n.poller()
	n.want(0, "socketio_send_buffer_high_watermark_sockets")
	if err := n.Emit("long", strings.Repeat("x", 2000)); err != nil {
		t.Fatal(err)
	}
	n.want(1, "socketio_send_buffer_high_watermark_sockets")
	if err := n.Volatile().Emit("news"); err != nil {
		t.Fatal(err)
	}
	n.want(1, "socketio_volatile_dropped_total", "cause", "no_poll")
	n.want(0, "socketio_volatile_dropped_total", "cause", "high_water")
	n.request(http.MethodGet, session, "")
	n.want(0, "socketio_send_buffer_high_watermark_sockets")
}

func TestRecoveriesShowHowTheyEnded(t *testing.T) {
	t.Parallel()
	n := startNode(t, core.Options{Recovery: &core.RecoveryOptions{}}, nil)
	for _, result := range []string{"full", "none_missed", "expired", "trimmed", "epoch", "limit", "error"} {
		if !n.exposes("socketio_recoveries_total", "result", result) {
			t.Errorf("no series for %s", result)
		}
	}
	c, pid := n.arrive("")
	n.drop(c)
	for range 2 {
		if err := n.Emit("missed"); err != nil {
			t.Fatal(err)
		}
	}
	c, again := n.arrive(pid)
	if again != pid {
		t.Error("not recovered")
	}
	n.want(1, "socketio_recoveries_total", "result", "full")
	n.want(1, "socketio_recovered_packets")
	n.want(0, "socketio_recoveries_total", "result", "expired")
	c.close()
	n.arrive(strings.Repeat("0", len(pid)))
	n.want(1, "socketio_recoveries_total", "result", "expired")
	n.want(1, "socketio_recovered_packets")
}

// arrive joins "/", and resumes the session of pid if it can.
func (n *node) arrive(pid string) (*client, string) {
	n.t.Helper()
	c := n.open()
	auth := ""
	if pid != "" {
		auth = `{"pid":"` + pid + `"}`
	}
	c.send("40" + auth)
	var back struct{ PID string }
	if err := json.Unmarshal([]byte(c.read("40")[2:]), &back); err != nil {
		n.t.Fatal(err)
	}
	return c, back.PID
}

// drop loses a connection without a word and waits until the node has noticed.
func (n *node) drop(c *client) {
	n.t.Helper()
	c.close()
	n.want(0, "socketio_sockets")
}

func (c *client) close() { _ = c.conn.NetConn().Close() }
