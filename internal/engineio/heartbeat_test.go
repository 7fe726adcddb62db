package engineio

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestHeartbeatOnPolling(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{PingInterval: 20 * time.Millisecond, PingTimeout: 5 * time.Second}, nil).poll()
	for range 3 {
		if resp := p.do(http.MethodGet, p.query, ""); resp.body != "2" {
			t.Fatalf("%q", resp.body)
		}
		p.do(http.MethodPost, p.query, "3")
	}
	p = newRig(t, Options{PingInterval: 20 * time.Millisecond, PingTimeout: 20 * time.Millisecond}, nil).poll()
	p.wantClosed(ReasonPingTimeout, errPongTimeout)
}

// session returns a polling session that no HTTP request stands behind.
func (r *rig) session(t *testing.T) *Session {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "/socket.io/?EIO=4", nil)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := r.srv.newID(req)
	s := r.srv.newSession(req, id)
	s.transport = &polling{s: s}
	if !s.start() {
		t.Fatal("not started")
	}
	return s
}

// Only the pong counts, the next ping is scheduled from it, and pongs nobody asked
// for change nothing.
func TestHeartbeatSchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newBareRig(t, Options{NoPingJitter: true}, nil)
		s := r.session(t)
		p := <-r.recv
		pings := func() int {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.out.Len()
		}
		time.Sleep(25*time.Second - time.Millisecond)
		synctest.Wait()
		if pings() != 0 {
			t.Fatal("ping too early")
		}
		s.pong() // unsolicited
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if pings() != 1 {
			t.Fatal("no ping after the interval")
		}
		time.Sleep(10 * time.Second)
		s.pong()
		s.pong() // out of sequence
		time.Sleep(25*time.Second - time.Millisecond)
		synctest.Wait()
		if pings() != 1 {
			t.Fatal("ping not scheduled from the pong")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if pings() != 2 {
			t.Fatal("no second ping")
		}
		time.Sleep(20*time.Second - time.Millisecond)
		synctest.Wait()
		if len(p.closed) != 0 {
			t.Fatal("closed before the timeout")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if got := <-p.closed; got.reason != ReasonPingTimeout {
			t.Fatalf("closed with %v", got)
		}
	})
}

func TestFirstPingIsJittered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newBareRig(t, Options{}, nil)
		distinct := make(map[time.Duration]bool)
		start := time.Now()
		var all []*Session
		for range 50 {
			s := r.session(t)
			s.mu.Lock()
			d := s.due.Sub(start)
			s.mu.Unlock()
			if d < 12500*time.Millisecond || d > 25*time.Second {
				t.Errorf("first ping after %v", d)
			}
			distinct[d] = true
			all = append(all, s)
		}
		if len(distinct) < 40 {
			t.Errorf("only %d different delays", len(distinct))
		}
		for _, s := range all {
			s.Close(ReasonForcedClose, false)
		}
		synctest.Wait()
	})
}

// While a handler blocks, the pong cannot be read: the session must not be blamed.
func TestBlockedReceiverSuspendsTheTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newBareRig(t, Options{NoPingJitter: true}, func(*Session, []byte) { <-release })
		s := r.session(t)
		p := <-r.recv
		go s.deliver(true, []byte("x"))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(p.closed) != 0 {
			t.Fatal("closed while the handler blocked")
		}
		close(release)
		time.Sleep(19 * time.Second)
		if len(p.closed) != 0 {
			t.Fatal("closed before the client had a chance")
		}
		time.Sleep(25 * time.Second)
		synctest.Wait()
		if got := <-p.closed; got.reason != ReasonPingTimeout {
			t.Fatalf("closed with %v", got)
		}
	})
}
