package core

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/internal/engineio"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// A flood that reaches a socket before its client has been greeted ends the
// connection and takes no more memory.
func TestHeldBackMessagesAreBounded(t *testing.T) {
	t.Parallel()
	srv, err := New(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(srv)
	defer h.Close()
	defer srv.Close()
	c := testutil.MustDial(t, h.URL, testutil.ClientOptions{})
	s, ok := srv.Socket(c.ID())
	for deadline := time.Now().Add(10 * time.Second); !ok && time.Now().Before(deadline); s, ok = srv.Socket(c.ID()) {
		time.Sleep(time.Millisecond)
	}
	s.state.Store(stateGreeting)
	m := engineio.NewMessage(engineio.Reserve(1), nil)
	for range 2 * maxHeldBack {
		if !s.holdBack(m) {
			break // closed already
		}
	}
	select {
	case <-s.client.sess.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the connection stays open")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.heldBack); n > maxHeldBack+1 {
		t.Errorf("%d messages kept", n)
	}
	if !errors.Is(s.cause, ErrQueuePackets) {
		t.Errorf("cause %v", s.cause)
	}
	if n := srv.Stats().LimitsHit["held_back"]; n != 1 {
		t.Errorf("counted %d times", n)
	}
}
