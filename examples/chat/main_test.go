package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T) string {
	t.Helper()
	srv, err := core.New(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	serveChat(srv)
	ts := httptest.NewServer(routes(srv))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		ts.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return ts.URL
}

func TestAMessageReachesEverybody(t *testing.T) {
	url := serve(t)
	alice := testutil.MustDial(t, url, testutil.ClientOptions{})
	bob := testutil.MustDial(t, url, testutil.ClientOptions{})
	alice.Expect(t, "notice")

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, err := alice.EmitWithAck(ctx, "chat", message{From: "alice", Text: "hi"})
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.At(0); got != "delivered" {
		t.Errorf("acknowledgement = %v, want delivered", got)
	}
	for _, c := range []*testutil.Client{alice, bob} {
		var got message
		if err := c.Expect(t, "chat").Decode(0, &got); err != nil {
			t.Fatal(err)
		}
		if want := (message{From: "alice", Text: "hi"}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestThePageIsServed(t *testing.T) {
	resp, err := http.Get(serve(t))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(body), "<title>Chat</title>") {
		t.Errorf("status %d, page %q", resp.StatusCode, body)
	}
}
