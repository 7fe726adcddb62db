package core_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/cluster/forward"
	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/sid"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// A node that drains says so in the registry, goes on with the requests of other
// nodes' clients, and in the end sends away those whose WebSocket goes through it.
func TestDrainForwardsUntilItEndsItsTunnels(t *testing.T) {
	t.Parallel()
	loop := cluster.NewLoopback()
	var servers []*core.Server
	var registry cluster.Registry
	var url string // of the last one
	reasons := make(chan core.DisconnectReason, 2)
	for range 2 {
		ln, bus := listener(t), loop.Bus()
		registry = bus.Registry()
		srv, err := core.New(t.Context(), &core.Options{
			Adapter:       cluster.NewProvider(bus, cluster.Options{}),
			ClusterSecret: clusterSecret,
			AdvertiseURL:  "http://" + ln.Addr().String(),
			Forwarder:     forward.New(nil),
		})
		if err != nil {
			t.Fatal(err)
		}
		core.OnAck(srv, "echo", func(_ context.Context, _ *core.Socket, text string) (string, error) { return text, nil })
		url = listen(t, srv, ln)
		servers = append(servers, srv)
	}
	owner, draining := servers[0], servers[1]
	owner.OnDisconnect(func(_ context.Context, _ *core.Socket, why core.DisconnectReason) { reasons <- why })

	// Handshakes come to the owner, everything else to the node that drains.
	var requests atomic.Int64
	front := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !r.URL.Query().Has("sid") {
			owner.ServeHTTP(w, r)
			return
		}
		requests.Add(1)
		draining.ServeHTTP(w, r)
	})}
	ln := listener(t)
	go func() { _ = front.Serve(ln) }() // ends with Close
	t.Cleanup(func() { _ = front.Close() })
	dial := func(transports ...string) *testutil.Client {
		return testutil.MustDial(t, "http://"+ln.Addr().String(), testutil.ClientOptions{Transports: transports})
	}
	tunneled, polling := dial("polling", "websocket"), dial("polling")
	equal(t, "an answer", ack(t, tunneled.Socket, "echo", "before"), any("before"))
	id, ok := sid.Owner(testutil.MustDial(t, url, testutil.ClientOptions{}).Engine().Handshake.SID)
	if !ok {
		t.Fatal("the node's session ids name no owner")
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reports := make(chan core.DrainReport, 1)
	go func() {
		report, _ := draining.Drain(ctx, core.DrainOptions{Grace: time.Hour})
		reports <- report
	}()
	eventually(t, "the registry says that the node drains", func() bool {
		n, err := registry.Lookup(t.Context(), id)
		return err == nil && n.Draining
	})
	before := requests.Load()
	for _, c := range []*testutil.Client{tunneled, polling} {
		equal(t, "an answer", ack(t, c.Socket, "echo", "during"), any("during"))
	}
	if requests.Load() == before {
		t.Error("nothing was forwarded by the node that drains")
	}
	cancel() // the end of the grace
	equal(t, "tunnels", recv(t, "Drain", reports).Tunnels, 1)
	equal(t, "the client's reason", reason(t, tunneled.Socket), "transport close")
	equal(t, "the owner's reason", recv(t, "OnDisconnect", reasons), core.ReasonTransportClose)
	equal(t, "the other client's answer", ack(t, polling.Socket, "echo", "after"), any("after"))
}
