package core

import (
	"context"
	"testing"
	"time"
)

// A scrape must not cost something per socket: Stats takes no socket's lock, and
// counts acknowledgements and sockets without walking.
func TestStatsDoNotWalkTheSockets(t *testing.T) {
	t.Parallel()
	srv, err := New(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	s := &Socket{nsp: srv.Namespace, id: "locked", client: &client{srv: srv}}
	srv.add(s)
	if err := s.addAck(newPendingAck(context.Background(), 1, nil)); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	got := make(chan Stats, 1)
	go func() { got <- srv.Stats() }()
	select {
	case st := <-got:
		if st.Sockets != 1 || st.PendingAcks != 1 || st.ByNamespace["/"].Sockets != 1 {
			t.Errorf("%d sockets, %d acknowledgements", st.Sockets, st.PendingAcks)
		}
	case <-time.After(10 * time.Second):
		t.Error("Stats waits for a socket")
	}
	s.mu.Unlock()
	s.forgetAck(1)
	srv.remove(s)
	if st := srv.Stats(); st.PendingAcks != 0 || st.Sockets != 0 {
		t.Errorf("%d sockets, %d acknowledgements are left", st.Sockets, st.PendingAcks)
	}
}
