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
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A page needs nothing from elsewhere: it, its parts and the client are all served.
func TestThePageAndItsClientAreServed(t *testing.T) {
	srv, room, err := newServer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(routes(srv))
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := room.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		ts.Close()
		http.DefaultClient.CloseIdleConnections()
	}()
	for path, want := range map[string]string{
		"/":          `src="/socket.io/socket.io.min.js"`,
		"/app.js":    "io(",
		"/map.js":    "ClusterMap",
		"/style.css": "prefers-color-scheme",

		"/socket.io/socket.io.min.js": "Manager",
	} {
		resp, err := http.Get(ts.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: status %d, %v", path, resp.StatusCode, err)
		}
		if strings.Contains(string(body), "https://cdn") {
			t.Errorf("%s loads something from elsewhere", path)
		}
	}
}
