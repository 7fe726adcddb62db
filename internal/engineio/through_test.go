package engineio

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/cluster/forward"
	"github.com/socketfleet/socketfleet/internal/sid"
)

// throughEnv makes newRig put a second node between clients and the server.
const throughEnv = "ENGINEIO_TEST_THROUGH_ANOTHER_NODE"

var through = os.Getenv(throughEnv) != ""

// notThrough are the tests whose subject differs behind another node, or that say
// nothing about requests.
var notThrough = []string{
	"TestTheSuiteThroughAnotherNode",
	// A POST reaches the owner when its body is complete.
	"TestOverlappingPosts", "TestUnfinishedPostIsDroppedByTheUpgrade",
	// Ids are signed, and so they are longer.
	"TestOpenPacketIsByteExact", "TestSessionIDsCarryTheNode",
	// Two connections of one client are not equally fast, each over a hop.
	"TestPollDoesNotOvertakeTheUpgrade", "TestCloseDoesNotOvertakeThePoll",
	// They measure memory.
	"TestIdleWebSocketMemory", "TestIdleDeflateMemory",
}

// The owner of a session must not notice that its requests came to another node: all
// tests run once more, in a process of its own, where each request of a session does.
func TestTheSuiteThroughAnotherNode(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^Test", "-test.skip=^("+strings.Join(notThrough, "|")+")$")
	cmd.Env = append(os.Environ(), throughEnv+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// sign makes a server of opts one that others can forward to.
func sign(t *testing.T, opts *Options) {
	t.Helper()
	var err error
	if opts.Signer, err = sid.NewSigner("the secret of the tests", "owner"); err != nil {
		t.Fatal(err)
	}
}

// misroute returns a load balancer that sends every request of a session to a node
// that does not have it.
func (r *rig) misroute(opts Options) http.Handler {
	r.t.Helper()
	registry := cluster.NewLoopback().Bus().Registry()
	accept, fwd := forward.New(&forward.Options{Registry: registry}), forward.New(&forward.Options{Registry: registry})
	inner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req = accept.Accept(w, req); req != nil {
			r.srv.ServeHTTP(w, req)
		}
	}))
	opts.Foreign, opts.Logger = fwd.Forward, discardLogger
	wrong, err := NewServer(opts, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.join(accept, opts.Signer.Owner(), inner.URL)
	r.join(fwd, "wrong.node", "http://127.0.0.1:1")
	r.t.Cleanup(func() {
		inner.Close()
		if err := wrong.Close(); err != nil {
			r.t.Errorf("Close of the other node: %v", err)
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if queryValue(req.URL.RawQuery, "sid") != "" {
			wrong.ServeHTTP(w, req)
			return
		}
		r.srv.ServeHTTP(w, req)
	})
}

// join opens a forwarder for the time of the test.
func (r *rig) join(f *forward.Forwarder, owner, url string) {
	r.t.Helper()
	l := r.srv.Limits()
	err := f.Open(context.Background(), adapter.ForwardNode{
		Owner: owner, Secret: "the secret of the tests", URL: url, Logger: discardLogger,
		MaxPayload: l.MaxPayload, BodyTimeout: l.BodyTimeout, PollTimeout: l.PollTimeout, WriteTimeout: l.WriteTimeout,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if err := f.Close(ctx); err != nil {
			r.t.Errorf("Close of a forwarder: %v", err)
		}
	})
}
