package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const wait = 10 * time.Second

// journal is what the program logs.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

// await waits until a line has been logged.
func (j *journal) await(t *testing.T, want string) {
	t.Helper()
	for deadline := time.Now().Add(wait); ; time.Sleep(time.Millisecond) {
		j.mu.Lock()
		text := j.text.String()
		j.mu.Unlock()
		if strings.Contains(text, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q is not in the log:\n%s", want, text)
		}
	}
}

func serve(t *testing.T, origins string) (url string, logged *journal) {
	t.Helper()
	logged = new(journal)
	log.SetOutput(logged)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	srv, err := newServer(t.Context(), origins)
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(routes(srv))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		ts.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return ts.URL, logged
}

func expect(t *testing.T, c *testutil.Client, event string, want ...any) {
	t.Helper()
	got := c.Expect(t, event)
	for i := range want {
		if got.At(i) != want[i] {
			t.Errorf("%s: argument %d is %v, want %v", event, i, got.At(i), want[i])
		}
	}
}

func TestTheIntroduction(t *testing.T) {
	url, logged := serve(t, "")
	alice := testutil.MustDial(t, url, testutil.ClientOptions{})
	var welcome struct{ Message, ID string }
	if err := alice.Expect(t, "welcome").Decode(0, &welcome); err != nil || welcome.ID != alice.ID() || welcome.Message != "Hello!" {
		t.Fatalf("welcomed with %+v, %v", welcome, err)
	}
	_ = alice.Emit("thanks", "for having me")
	logged.await(t, alice.ID()+` says thanks: "for having me"`)

	bob := testutil.MustDial(t, url, testutil.ClientOptions{Transports: []string{"polling"}})
	eve := testutil.MustDial(t, url, testutil.ClientOptions{})
	expect(t, alice, "joined", bob.ID()) // everybody but bob
	expect(t, alice, "joined", eve.ID())
	expect(t, bob, "joined", eve.ID())

	_ = alice.Emit("whisper", map[string]string{"to": bob.ID(), "text": "to one"})
	expect(t, bob, "message", alice.ID(), "to one")
	_ = alice.Emit("shout", "to all")
	for _, c := range []*testutil.Client{alice, bob, eve} { // the first message alice and eve get
		expect(t, c, "message", alice.ID(), "to all")
	}

	id := eve.ID()
	_ = eve.Disconnect()
	expect(t, alice, "left", id)
	logged.await(t, id+" disconnected: client namespace disconnect")
}

func TestAllowedOrigins(t *testing.T) {
	url, _ := serve(t, "https://page.example,https://other.example")
	for origin, want := range map[string]int{
		"":                      http.StatusOK,
		"https://page.example":  http.StatusOK,
		"https://other.example": http.StatusOK,
		"https://evil.example":  http.StatusForbidden,
	} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		_, err := testutil.DialEngine(t.Context(), url, testutil.EngineOptions{Transports: []string{"polling"}, Header: header})
		status := http.StatusOK
		if refused := (*testutil.HTTPError)(nil); errors.As(err, &refused) {
			status = refused.Status
		} else if err != nil {
			t.Fatal(err)
		}
		if status != want {
			t.Errorf("origin %q: status %d, want %d", origin, status, want)
		}
	}
}

func TestThePageIsServedBesideTheSocket(t *testing.T) {
	url, _ := serve(t, "")
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Contains(body, []byte("io.connect()")) {
		t.Errorf("status %d, %v", resp.StatusCode, err)
	}
}
