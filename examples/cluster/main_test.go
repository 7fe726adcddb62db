package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// TestMain is also the main of the nodes' processes.
func TestMain(m *testing.M) {
	if os.Getenv(envName) != "" {
		exit(runNode(context.Background()))
	}
	goleak.VerifyTestMain(m)
}

func TestTheProofHolds(t *testing.T) {
	t.Setenv("REDIS_URL", "")
	if err := runCluster(t.Context(), "", true); err != nil {
		t.Fatal(err)
	}
}

func TestAnUnreachableRedisIsAClearError(t *testing.T) {
	t.Setenv("REDIS_URL", "redis://:secret@127.0.0.1:1")
	err := runCluster(t.Context(), "", true)
	if err == nil || !strings.Contains(err.Error(), "node-1") {
		t.Fatalf("got %v", err)
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error tells the password: %v", err)
	}
}

func TestTheFrontKeepsForeignPagesOut(t *testing.T) {
	h := newFront([]*node{newNode("node-1", "", "")})
	for what, tc := range map[string]struct {
		method, path, site string
		status             int
	}{
		"list":           {"GET", "/nodes", "", http.StatusOK},
		"foreign page":   {"POST", "/nodes/node-1/kill", "cross-site", http.StatusForbidden},
		"own page":       {"POST", "/nodes/node-1/kill", "same-origin", http.StatusNoContent},
		"unknown node":   {"POST", "/nodes/node-9/kill", "same-origin", http.StatusNotFound},
		"nobody serves":  {"GET", "/socket.io/", "", http.StatusServiceUnavailable},
		"page":           {"GET", "/", "", http.StatusOK},
		"unknown method": {"GET", "/nodes/node-1/kill", "", http.StatusNotFound},
	} {
		r := httptest.NewRequest(tc.method, tc.path, nil)
		r.Header.Set("Sec-Fetch-Site", tc.site)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		body, _ := io.ReadAll(w.Result().Body)
		if w.Code != tc.status {
			t.Errorf("%s: status %d, want %d: %.80s", what, w.Code, tc.status, body)
		}
	}
}
