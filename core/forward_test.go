package core_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/cluster/forward"
	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

const clusterSecret = "known to these nodes"

func TestForwardingOptionsMustFitTogether(t *testing.T) {
	t.Parallel()
	f := forward.New(nil)
	for want, o := range map[string]core.Options{
		"Forwarder: forward.New(nil)": {ClusterSecret: clusterSecret, AdvertiseURL: "http://h:1"},
		"needs ClusterSecret":         {Forwarder: f, AdvertiseURL: "http://h:1"},
		"needs AdvertiseURL":          {Forwarder: f, ClusterSecret: clusterSecret},
		"at least 16":                 {ClusterSecret: "short"},
		"GenerateID":                  {ClusterSecret: clusterSecret, GenerateID: func(*http.Request) (string, error) { return "x", nil }},
		"a scheme, a host":            {Forwarder: f, ClusterSecret: clusterSecret, AdvertiseURL: "http://h:1/path"},
		"want a scheme":               {Forwarder: f, ClusterSecret: clusterSecret, AdvertiseURL: "10.0.0.1:3000"},
		"no registry":                 {Forwarder: f, ClusterSecret: clusterSecret, AdvertiseURL: "http://h:1"}, // memory://
	} {
		srv, err := core.New(t.Context(), &o)
		if err == nil {
			_ = srv.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
		if err != nil && strings.Contains(err.Error(), clusterSecret) {
			t.Error("the secret is in the error")
		}
	}
}

func TestASecretSignsSessionIDs(t *testing.T) {
	t.Parallel()
	srv, err := core.New(t.Context(), &core.Options{ClusterSecret: clusterSecret, NodeID: "node"})
	if err != nil {
		t.Fatal(err)
	}
	url := listen(t, srv, nil)
	c := testutil.MustDial(t, url, testutil.ClientOptions{Transports: []string{"polling"}})
	id := c.Engine().Handshake.SID
	if !strings.HasPrefix(id, "node.") || strings.Count(id, ".") != 2 {
		t.Errorf("the session id has %d parts", strings.Count(id, ".")+1)
	}
	if len(c.ID()) != 20 {
		t.Errorf("the socket's id has %d characters", len(c.ID()))
	}
}

// listen serves a handler on a free port, or on ln.
func listen(t *testing.T, srv *core.Server, ln net.Listener) (url string) {
	t.Helper()
	if ln == nil {
		ln = listener(t)
	}
	server := &http.Server{Handler: srv}
	go func() { _ = server.Serve(ln) }() // ends with Close
	t.Cleanup(func() {
		_ = srv.Close() // a test may have closed it
		_ = server.Close()
	})
	return "http://" + ln.Addr().String()
}

func listener(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// Three nodes behind a balancer that knows nothing: polling, upgrades, broadcasts.
func TestAnyNodeMayGetAnyRequest(t *testing.T) {
	t.Parallel()
	loop := cluster.NewLoopback()
	var servers []*core.Server
	var forwarders []*forward.Forwarder
	for range 3 {
		ln := listener(t)
		f := forward.New(nil)
		srv, err := core.New(t.Context(), &core.Options{
			Adapter:       cluster.NewProvider(loop.Bus(), cluster.Options{}),
			ClusterSecret: clusterSecret,
			AdvertiseURL:  "http://" + ln.Addr().String(),
			Forwarder:     f,
		})
		if err != nil {
			t.Fatal(err)
		}
		core.OnAck(srv, "echo", func(_ context.Context, _ *core.Socket, text string) (string, error) { return text, nil })
		listen(t, srv, ln)
		servers, forwarders = append(servers, srv), append(forwarders, f)
	}
	var turn atomic.Uint64
	front := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		servers[turn.Add(1)%3].ServeHTTP(w, r)
	})}
	ln := listener(t)
	go func() { _ = front.Serve(ln) }() // ends with Close
	t.Cleanup(func() { _ = front.Close() })

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var clients []*testutil.Client
	// Which node owns a session is up to the order of the requests.
	busy := func() bool {
		for _, f := range forwarders {
			if st := f.Stats(); st.Forwarded[forward.Poll] == 0 || st.Accepted == 0 {
				return false
			}
		}
		return true
	}
	for i := 0; i < 12 || i < 90 && !busy(); i++ {
		transports := [][]string{{"polling"}, {"polling", "websocket"}, {"websocket"}}[i%3]
		c := testutil.MustDial(t, "http://"+ln.Addr().String(), testutil.ClientOptions{Transports: transports})
		clients = append(clients, c)
		for range 5 {
			if _, err := c.EmitWithAck(ctx, "echo", "x"); err != nil {
				t.Fatalf("client %d: %v", i, err)
			}
		}
	}
	if err := servers[0].Emit("all", 1); err != nil {
		t.Fatal(err)
	}
	for i, c := range clients {
		if _, err := c.Next(ctx, "all"); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	}
	for i, f := range forwarders {
		st := f.Stats()
		for why, n := range st.Failed {
			if n > 0 {
				t.Errorf("node %d: %d requests failed: %s", i, n, why)
			}
		}
		if st.Forwarded[forward.Poll] == 0 || st.Accepted == 0 {
			t.Errorf("node %d forwarded nothing: %+v", i, st)
		}
	}
	if err := servers[2].Shutdown(ctx); err != nil {
		t.Error(err)
	}
}
