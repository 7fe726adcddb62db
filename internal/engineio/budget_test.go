package engineio

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sessionOf is a polling session without a client: what is sent to it stays queued.
func sessionOf(t *testing.T, srv *Server, id string) *Session {
	t.Helper()
	req, _ := http.NewRequest(http.MethodGet, "/?EIO=4", nil)
	s := srv.newSession(req, id)
	s.transport = &polling{s: s}
	if !s.start() {
		t.Fatal("not started")
	}
	return s
}

func newSilent(t *testing.T, o Options, logs *syncBuffer) *Server {
	t.Helper()
	o.PingInterval = -1
	o.Logger = discardLogger
	if logs != nil {
		o.Logger = textLogger(logs)
	}
	srv, err := NewServer(o, func(*Session) Receiver { return sink{} })
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

func sized(n int) *Message { return text(strings.Repeat("x", n)) }

func isOpen(s *Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == stateOpen
}

func TestTheLargestQueuesAreCutFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logs syncBuffer
		srv := newSilent(t, Options{MaxTotalQueueBytes: 10_000}, &logs)
		defer srv.Close()
		unit := sized(100)
		fill := func(s *Session, n int) {
			for range n / unit.Size() {
				_ = s.Send(unit)
			}
		}
		small, large, middle := sessionOf(t, srv, "small"), sessionOf(t, srv, "large"), sessionOf(t, srv, "middle")
		fill(small, 1000)
		fill(large, 5000)
		fill(middle, 3000)
		for srv.budget.total.Bytes.Load()+int64(unit.Size()) <= 10_000 {
			_ = small.Send(unit)
		}
		time.Sleep(10 * reliefDelay)
		if !isOpen(small) || !isOpen(large) || !isOpen(middle) {
			t.Fatal("cut at the limit")
		}
		_ = small.Send(unit)
		time.Sleep(2 * reliefDelay)
		synctest.Wait()
		if !isOpen(small) || isOpen(large) || !isOpen(middle) {
			t.Errorf("open: small %v, large %v, middle %v; want the large one cut", isOpen(small), isOpen(large), isOpen(middle))
		}
		if err := large.Send(unit); !errors.Is(err, ErrClosed) {
			t.Errorf("Send = %v", err)
		}
		st := srv.Stats()
		if st.LimitsHit["total_queue_bytes"] != 1 || st.SlowConsumers != 1 || st.QueuedBytes > 9000 {
			t.Errorf("%v, %d slow consumers, %d bytes", st.LimitsHit, st.SlowConsumers, st.QueuedBytes)
		}
		if got := logs.String(); strings.Count(got, "slow clients disconnected") != 1 || !strings.Contains(got, "clients=1 bytes=") {
			t.Errorf("log: %s", got)
		}
	})
}

// One broadcast to many fast clients is no reason to cut any.
func TestABriefExcessIsTolerated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := newSilent(t, Options{MaxTotalQueueBytes: 1000}, nil)
		defer srv.Close()
		s := sessionOf(t, srv, "s")
		_ = s.Send(sized(2000))
		time.Sleep(reliefDelay / 2)
		s.mu.Lock()
		_, n := s.out.Take(nil, 1)
		s.out.Done(n)
		s.mu.Unlock()
		time.Sleep(10 * reliefDelay)
		if !isOpen(s) {
			t.Error("cut")
		}
	})
}

func TestDefaultBudgetFollowsTheMemoryLimit(t *testing.T) {
	old := debug.SetMemoryLimit(4 << 30)
	defer debug.SetMemoryLimit(old)
	if got := defaultTotal(); got != 1<<30 {
		t.Errorf("%d bytes of 4 GiB", got)
	}
	debug.SetMemoryLimit(1<<63 - 1)
	if got := defaultTotal(); got != 512<<20 {
		t.Errorf("%d bytes without a limit", got)
	}
}

func TestSlowClientsAreLoggedOnceASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logs syncBuffer
		srv := newSilent(t, Options{MaxQueuePackets: 1}, &logs)
		defer srv.Close()
		for _, id := range []string{"a", "b", "c"} {
			s := sessionOf(t, srv, id)
			_, _ = s.Send(sized(100)), s.Send(sized(100))
			synctest.Wait()
		}
		if got := strings.Count(logs.String(), "slow clients"); got != 1 {
			t.Errorf("%d lines at once", got)
		}
		time.Sleep(slowLogEvery)
		s := sessionOf(t, srv, "d")
		_, _ = s.Send(sized(100)), s.Send(sized(100))
		synctest.Wait()
		if got := logs.String(); !strings.Contains(got, "clients=3") {
			t.Errorf("those between are missing: %s", got)
		}
	})
}

func TestQueuesAreBoundedInPackets(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{MaxQueuePackets: 3}, nil)
	p := r.poll()
	for i := range 3 {
		if err := p.recv.s.Send(text("x")); err != nil {
			t.Fatal(i, err)
		}
	}
	if n, m := p.recv.s.Queued(); m != 3 || n != 3*text("x").Size() {
		t.Errorf("queued %d bytes in %d messages", n, m)
	}
	if err := p.recv.s.Send(text("x")); err != ErrQueuePackets {
		t.Errorf("Send = %v", err)
	}
	p.wantClosed(ReasonTransportError, ErrQueuePackets)
	if got := r.hits(limitQueuePackets); got != 1 {
		t.Errorf("counted %d", got)
	}
}

func TestTheProgramDecidesAboutSlowClients(t *testing.T) {
	t.Parallel()
	asked := make(chan Slow, 10)
	decide := make(chan bool)
	r := newRig(t, Options{MaxQueuePackets: 4, OnSlow: func(r Receiver, slow Slow) bool {
		if _, ok := r.(*probeReceiver); !ok {
			t.Errorf("receiver %T", r)
		}
		asked <- slow
		return <-decide
	}}, nil)
	p := r.poll()
	send := func(n int) {
		t.Helper()
		for range n {
			if err := p.recv.s.Send(text("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(5)
	slow := recvFrom(t, "the question", asked)
	if slow.Cause != ErrQueuePackets || slow.Packets != 5 || slow.Bytes != 5*text("x").Size() {
		t.Errorf("asked about %+v", slow)
	}
	decide <- true
	send(3) // twice the bound
	p.do(http.MethodGet, p.query, "")
	send(5)
	recvFrom(t, "the next question", asked)
	send(3)
	if err := p.recv.s.Send(text("x")); err != ErrQueuePackets {
		t.Errorf("beyond twice the bound: %v", err)
	}
	p.wantClosed(ReasonTransportError, ErrQueuePackets)
	decide <- true

	p = r.poll()
	send(5)
	recvFrom(t, "the question about another", asked)
	decide <- false
	p.wantClosed(ReasonTransportError, ErrQueuePackets)
	if len(asked) != 0 {
		t.Error("asked too often")
	}
}

func TestAPanicOfThePolicyDisconnects(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{MaxQueuePackets: 1, OnSlow: func(Receiver, Slow) bool { panic("x") }}, nil)
	p := r.poll()
	_, _ = p.recv.s.Send(text("x")), p.recv.s.Send(text("x"))
	p.wantClosed(ReasonTransportError, ErrPanic)
}

func latest(t *testing.T, s *Session, key, body string, att ...[]byte) {
	t.Helper()
	if err := s.SendLatest(NewMessage(append(Reserve(0), body...), att), Latest{Key: key}); err != nil {
		t.Fatal(err)
	}
}

func TestPollingGetsTheLatest(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	p := r.poll()
	latest(t, p.recv.s, "k", "1-old", []byte{1})
	_ = p.recv.s.Send(text("between"))
	latest(t, p.recv.s, "k", "1-new", []byte{2})
	if resp := p.do(http.MethodGet, p.query, ""); resp.body != "41-new\x1ebAg==\x1e4between" {
		t.Errorf("%q", resp.body)
	}
	if got := r.srv.Stats().Conflated; got != 1 {
		t.Errorf("counted %d", got)
	}
}

// gateConn lets writes pass one at a time.
type gateConn struct {
	fakeConn
	writing chan string
	pass    chan struct{}
}

func (c *gateConn) Write(p []byte) (int, error) {
	c.writing <- string(p)
	<-c.pass
	return len(p), nil
}

func TestWebSocketsGetTheLatest(t *testing.T) {
	t.Parallel()
	srv := newSilent(t, Options{}, nil)
	c := &gateConn{writing: make(chan string), pass: make(chan struct{})}
	req, _ := http.NewRequest(http.MethodGet, "/?EIO=4", nil)
	s := srv.newSession(req, "s")
	w := newWSConn()
	w.nc, w.active, w.s = net.Conn(c), true, s
	s.transport = w
	s.start()
	var ends sync.WaitGroup
	ends.Go(func() {
		latest(t, s, "k", "one")
	})
	first := <-c.writing
	ends.Wait()
	latest(t, s, "k", "two")
	_ = s.Send(text("between"))
	latest(t, s, "k", "1-three", []byte("bin"))
	c.pass <- struct{}{}
	second := <-c.writing
	c.pass <- struct{}{}
	if first != "\x81\x044one" {
		t.Errorf("first write %q", first)
	}
	if second != "\x81\x0841-three\x82\x03bin\x81\x084between" {
		t.Errorf("second write %q", second)
	}
	go func() { <-c.writing; c.pass <- struct{}{} }() // the close frame
	_ = srv.Close()
}

func textLogger(b *syncBuffer) *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }
