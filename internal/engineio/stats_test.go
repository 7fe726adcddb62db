package engineio

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestSessionsAreCountedByTransport(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	r.poll()
	s := r.srv.all()[0]
	st := r.srv.Stats()
	if st.OpenedOn[Polling] != 1 || st.Opened != 1 || st.OpenedOn[WebSocket] != 0 {
		t.Errorf("opened %v", st.OpenedOn)
	}
	// The answer has been read before it has been timed.
	for end := time.Now().Add(10 * time.Second); r.srv.Stats().Handshakes[Polling].Count != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the handshake is not timed")
		}
	}
	s.Close(ReasonForcedClose, false)
	st = r.srv.Stats()
	if st.ClosedOn[Polling][ReasonForcedClose] != 1 || st.Closed[ReasonForcedClose] != 1 || st.ClosedOn[WebSocket][ReasonForcedClose] != 0 {
		t.Errorf("closed %v, in all %v", st.ClosedOn, st.Closed)
	}
}

func TestTheTimeFromPingToPongIsMeasured(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newBareRig(t, Options{NoPingJitter: true}, nil)
		s := r.session(t)
		<-r.recv
		s.pong() // unsolicited
		time.Sleep(25 * time.Second)
		synctest.Wait()
		time.Sleep(300 * time.Millisecond)
		s.pong()
		h := r.srv.Stats().PingRTT
		if h.Count != 1 || h.Sum != 0.3 {
			t.Errorf("%d measured, %v s", h.Count, h.Sum)
		}
		s.Close(ReasonForcedClose, false)
		synctest.Wait()
	})
}

// answerProbe makes polling a candidate, for a test that needs any.
func (p *polling) answerProbe() {}

func TestAProbeThatLeadsNowhereIsCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	s := r.session(t)
	s.mu.Lock()
	s.newProbeLocked(&polling{s: s})
	s.mu.Unlock()
	s.Close(ReasonForcedClose, false)
	if st := r.srv.Stats(); st.UpgradesFailed != 1 || st.Upgraded != 0 {
		t.Errorf("%d failed, %d succeeded", st.UpgradesFailed, st.Upgraded)
	}
}

func TestPollsUnderWayAreCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	p := r.poll()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.do(http.MethodGet, p.query, "")
	}()
	for end := time.Now().Add(10 * time.Second); r.srv.Stats().Polls != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the poll is not counted")
		}
	}
	r.srv.all()[0].Close(ReasonForcedClose, false)
	<-done // the client has the answer; the handler is about to return
	for end := time.Now().Add(10 * time.Second); r.srv.Stats().Polls != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d polls are left", r.srv.Stats().Polls)
		}
	}
}
