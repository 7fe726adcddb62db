package core_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/socketfleet/socketfleet/core"
)

// pollingRig is a server whose clients are polling sessions without a connection:
// nothing but the server's own work is measured.
type pollingRig struct {
	*core.Server
	tb testing.TB
}

func newPollingRig(tb testing.TB) *pollingRig {
	tb.Helper()
	r := newRig(tb, &core.Options{MaxQueueBytes: -1, PingInterval: -1, MaxInboundBytes: -1})
	tb.Cleanup(func() { _ = r.Close() })
	return &pollingRig{r.Server, tb}
}

func (r *pollingRig) do(method, sid, body string) string {
	w := httptest.NewRecorder()
	target := "/socket.io/?EIO=4&transport=polling"
	if sid != "" {
		target += "&sid=" + sid
	}
	r.ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader(body)))
	if w.Code != http.StatusOK {
		r.tb.Errorf("%s: status %d: %s", method, w.Code, w.Body)
	}
	return w.Body.String()
}

// dial returns the session id of a client that has joined "/".
func (r *pollingRig) dial() string {
	sid := strings.Split(r.do("GET", "", ""), `"`)[3]
	r.do("POST", sid, "40")
	r.do("GET", sid, "")
	return sid
}

func (r *pollingRig) socket() (s *core.Socket) {
	for s = range r.Sockets() {
	}
	return s
}

// payload holds n events.
func payload(n int) string { return strings.Repeat("\x1e42[\"e\",1]", n)[1:] }

// listen counts events and tells when n have been handled.
func (r *pollingRig) listen(n int) <-chan struct{} {
	done := make(chan struct{})
	count := 0
	core.On(r.Server, "e", func(context.Context, *core.Socket, int) error {
		if count++; count%n == 0 {
			done <- struct{}{}
		}
		return nil
	})
	return done
}

func TestAllocations(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Log("the race detector allocates; the ceilings are those of ordinary builds")
		return
	}
	t.Run("of an emit to one socket", func(t *testing.T) {
		r := newPollingRig(t)
		r.dial()
		s := r.socket()
		ceiling(t, 8, 1, func() { _ = s.Emit("e", 1) })
	})
	t.Run("of a broadcast, whatever the number of sockets", func(t *testing.T) {
		for n, most := range map[int]float64{1: 8, 1000: 8 + 50} { // queues that grow
			r := newPollingRig(t)
			for range n {
				r.dial()
			}
			for range 200 { // room in most queues for the events measured
				_ = r.Emit("e", 1)
			}
			ceiling(t, most, 1, func() { _ = r.Emit("e", 1) })
		}
	})
	t.Run("of an event on its way to its handler", func(t *testing.T) {
		const n = 1000
		r := newPollingRig(t)
		sid := r.dial()
		done := r.listen(n)
		body := payload(n)
		ceiling(t, 10, n, func() { r.do("POST", sid, body); <-done })
	})
}

func ceiling(t *testing.T, most float64, units int, fn func()) {
	t.Helper()
	got := testing.AllocsPerRun(100, fn) / float64(units)
	t.Logf("%.1f allocations", got)
	if got > most {
		t.Errorf("%.1f allocations, want at most %v", got, most)
	}
}

func BenchmarkEmit(b *testing.B) {
	r := newPollingRig(b)
	sid := r.dial()
	s := r.socket()
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if err := s.Emit("e", 1); err != nil {
			b.Fatal(err)
		}
		if n%1000 == 999 {
			b.StopTimer()
			r.do("GET", sid, "")
			b.StartTimer()
		}
	}
}

func BenchmarkBroadcast(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint("sockets=", n), func(b *testing.B) {
			r := newPollingRig(b)
			sids := make([]string, n)
			for i := range sids {
				sids[i] = r.dial()
			}
			b.ReportAllocs()
			for k := 0; b.Loop(); k++ {
				_ = r.Emit("e", 1)
				if k%1000 == 999 {
					b.StopTimer()
					for _, sid := range sids {
						r.do("GET", sid, "")
					}
					b.StartTimer()
				}
			}
		})
	}
}

func BenchmarkDispatch(b *testing.B) {
	const n = 1000
	r := newPollingRig(b)
	sid := r.dial()
	done := r.listen(n)
	body := payload(n)
	b.ReportAllocs()
	for b.Loop() {
		r.do("POST", sid, body)
		<-done
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/event")
}
