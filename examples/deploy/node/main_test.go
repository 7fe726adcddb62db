package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"go.uber.org/goleak"

	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestANodeServesUntilItIsStopped(t *testing.T) {
	listen, health := freeAddr(t), freeAddr(t)
	for name, value := range map[string]string{
		"SOCKETIO_ADAPTER":        "redis://" + miniredis.RunT(t).Addr(),
		"SOCKETIO_NODE_ID":        "n1",
		"SOCKETIO_CLUSTER_SECRET": "a secret of this test",
		"SOCKETIO_ADVERTISE_URL":  "http://" + listen,
		"LISTEN":                  listen,
		"HEALTH_LISTEN":           health,
		"DRAIN_GRACE":             "0s",
		"DRAIN_WINDOW":            "0s",
	} {
		t.Setenv(name, value)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	life, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- serve(life, io.Discard) }()

	for probe(ctx, nil) != nil {
		select {
		case err := <-ended:
			t.Fatalf("the node ended: %v", err)
		case <-ctx.Done():
			t.Fatal("the node never became healthy")
		case <-time.After(10 * time.Millisecond):
		}
	}
	c, err := testutil.Dial(ctx, "http://"+listen, testutil.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answer, err := c.EmitWithAck(ctx, "whoami")
	if err != nil {
		t.Fatal(err)
	}
	var at place
	if err := answer.Decode(0, &at); err != nil || at.Node != "n1" {
		t.Errorf("the client is at %+v, %v; want n1", at, err)
	}
	res, err := http.Get("http://" + health + "/stats")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var counts stats
	if err := json.NewDecoder(res.Body).Decode(&counts); err != nil || counts.Sessions != 1 || counts.Sockets != 1 || counts.Forwarded == nil {
		t.Errorf("with one client /stats has %+v, %v", counts, err)
	}

	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Fatal("the node did not end")
	}
	if err := probe(t.Context(), nil); err == nil {
		t.Error("a node that has ended is healthy")
	}
}

func TestABrokenEnvironmentIsAnErrorThatNamesTheVariable(t *testing.T) {
	for name, value := range map[string]string{
		"SOCKETIO_PING_INTERVAL": "often",
		"DRAIN_WINDOW":           "60",
		"DRAIN_GRACE":            "soon",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			t.Setenv("LISTEN", "127.0.0.1:0")
			t.Setenv("HEALTH_LISTEN", "127.0.0.1:0")
			// A node that starts all the same ends at once.
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := serve(ctx, io.Discard); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s=%s: got error %v", name, value, err)
			}
		})
	}
}
