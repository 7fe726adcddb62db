package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5/middleware"
	"go.uber.org/goleak"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestMain(m *testing.M) {
	// The routers' own access logs.
	gin.DefaultWriter, gin.DefaultErrorWriter = io.Discard, io.Discard
	middleware.DefaultLogger = middleware.RequestLogger(&middleware.DefaultLogFormatter{Logger: quiet{}})
	slog.SetDefault(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
}

type quiet struct{}

func (quiet) Print(...any) {}

const patience = 30 * time.Second

var transports = map[string][]string{
	"polling":   {"polling"},
	"websocket": {"websocket"},
	"upgrade":   {"polling", "websocket"},
}

// serve runs the program's handler with one router.
func serve(t *testing.T, build func(http.Handler) http.Handler) (string, *core.Server) {
	t.Helper()
	srv, err := newServer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(build(srv))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		ts.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return ts.URL, srv
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// eachRouter runs a test with every router and transport.
func eachRouter(t *testing.T, test func(t *testing.T, url string, names []string)) {
	for name, build := range routers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, _ := serve(t, build)
			for transport, names := range transports {
				t.Run(transport, func(t *testing.T) { test(t, url, names) })
			}
		})
	}
}

func dial(t *testing.T, url string, names []string, token string) *testutil.Client {
	t.Helper()
	c := testutil.MustDial(t, url, testutil.ClientOptions{Transports: names, Header: bearer(token)})
	if len(names) > 1 {
		select {
		case <-c.Engine().Upgraded():
		case <-time.After(patience):
			t.Fatal("no upgrade")
		}
	}
	return c
}

func whoami(t *testing.T, c *testutil.Client) any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	answer, err := c.EmitWithAck(ctx, "whoami")
	if err != nil {
		t.Fatal(err)
	}
	return answer.At(0)
}

func TestHandlersSeeTheUserTheMiddlewareFound(t *testing.T) {
	t.Parallel()
	eachRouter(t, func(t *testing.T, url string, names []string) {
		for user, token := range map[string]string{"alice": "alice-token", "bob": "bob-token"} {
			c := dial(t, url, names, token)
			if got := whoami(t, c); got != user {
				t.Errorf("whoami = %v, want %s", got, user)
			}
		}
	})
}

func TestATokenInTheQueryCounts(t *testing.T) {
	t.Parallel()
	eachRouter(t, func(t *testing.T, rawURL string, names []string) {
		c := testutil.MustDial(t, rawURL, testutil.ClientOptions{Transports: names, Query: url.Values{"token": {"bob-token"}}})
		if got := whoami(t, c); got != "bob" {
			t.Errorf("whoami = %v, want bob", got)
		}
	})
}

func TestAStrangerIsRefusedByTheRouter(t *testing.T) {
	t.Parallel()
	eachRouter(t, func(t *testing.T, url string, names []string) {
		_, err := testutil.Dial(t.Context(), url, testutil.ClientOptions{Transports: names})
		var refused *testutil.HTTPError
		if !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized {
			t.Errorf("dial = %v, want status 401", err)
		}
	})
}

// Text and binary pass the routers' ResponseWriters.
func TestMessagesReachEverybody(t *testing.T) {
	t.Parallel()
	eachRouter(t, func(t *testing.T, url string, names []string) {
		alice, bob := dial(t, url, names, "alice-token"), dial(t, url, names, "bob-token")
		data := bytes.Repeat([]byte("data"), 50_000)
		for _, sent := range []any{"hi", data} {
			if err := alice.Emit("say", sent); err != nil {
				t.Fatal(err)
			}
			for _, c := range []*testutil.Client{alice, bob} {
				got := c.Expect(t, "said")
				if want := []any{"alice", sent}; !reflect.DeepEqual(got.All(), want) {
					t.Errorf("got %.80v, want %.80v", got.All(), want)
				}
			}
		}
	})
}

func TestOtherRoutesStayTheRouters(t *testing.T) {
	t.Parallel()
	for name, build := range routers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, _ := serve(t, build)
			for path, want := range map[string]int{"/health": http.StatusNoContent, "/nothing": http.StatusNotFound} {
				resp, err := http.Get(url + path)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if resp.StatusCode != want {
					t.Errorf("GET %s = %d, want %d", path, resp.StatusCode, want)
				}
			}
		})
	}
}

// A client that goes away ends its socket, although the router's handler has long
// returned from the upgrade.
func TestTheServerLearnsThatAClientHasGone(t *testing.T) {
	t.Parallel()
	for name, build := range routers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, srv := serve(t, build)
			gone := make(chan string, len(transports))
			srv.OnDisconnect(func(ctx context.Context, _ *core.Socket, _ core.DisconnectReason) { gone <- userOf(ctx) })
			for _, names := range transports {
				dial(t, url, names, "alice-token").Close()
				select {
				case user := <-gone:
					if user != "alice" {
						t.Errorf("%v: the context of OnDisconnect has user %q, want alice", names, user)
					}
				case <-time.After(patience):
					t.Fatalf("%v: the server did not notice", names)
				}
			}
		})
	}
}

func TestAnUnknownRouterIsAnError(t *testing.T) {
	t.Parallel()
	if err := run(t.Context(), "none", ""); err == nil {
		t.Error("no error")
	}
}
