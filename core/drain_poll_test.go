package core_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/socketfleet/socketfleet/core"
)

// still is a server whose requests are made without a network, for a bubble of
// testing/synctest.
type still struct {
	*core.Server
	t *testing.T
}

// inStillness runs a test on the clock of a bubble.
func inStillness(t *testing.T, opts core.Options, test func(t *testing.T, s still)) {
	synctest.Test(t, func(t *testing.T) {
		opts.Logger, opts.PingInterval = slog.New(slog.DiscardHandler), -1
		srv, err := core.New(t.Context(), &opts)
		if err != nil {
			t.Fatal(err)
		}
		test(t, still{srv, t})
		_ = srv.Close() // the test may have ended it
	})
}

func (s still) do(method, query, body string) string {
	s.t.Helper()
	r := httptest.NewRequest(method, "/socket.io/?"+pollingQuery+query, io.NopCloser(strings.NewReader(body)))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Body.String()
}

// between splits a text at two marks.
func between(text, from, to string) string {
	_, text, _ = strings.Cut(text, from)
	text, _, _ = strings.Cut(text, to)
	return text
}

// arrive connects a client that polls, with an auth object, and takes what is
// queued. It returns the rest of its URLs and the answer.
func (s still) arrive(auth string) (query, answer string) {
	s.t.Helper()
	query = "&sid=" + between(s.do(http.MethodGet, "", ""), `"sid":"`, `"`)
	if got := s.do(http.MethodPost, query, "40"+auth); got != "ok" {
		s.t.Fatalf("CONNECT: %q", got)
	}
	return query, s.do(http.MethodGet, query, "")
}

const goodbye = "6\x1e1" // a noop and a close packet

// A client between two polls is told to go by the next one, if there is one.
func TestDrainWaitsForTheNextPollButNotForever(t *testing.T) {
	for name, tc := range map[string]struct {
		poll bool
		want core.DrainReport
	}{
		"a client that polls":   {true, core.DrainReport{Connections: 1, Closed: 1, Flushed: 1}},
		"a client that is gone": {false, core.DrainReport{Connections: 1, Closed: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			inStillness(t, core.Options{}, func(t *testing.T, s still) {
				query, _ := s.arrive("")
				reports := make(chan core.DrainReport, 1)
				go func() {
					report, err := s.Drain(t.Context(), core.DrainOptions{Window: -1})
					if err != nil {
						t.Error(err)
					}
					reports <- report
				}()
				time.Sleep(7 * time.Second) // Grace is 5 s
				if tc.poll {
					equal(t, "the next poll", s.do(http.MethodGet, query, ""), goodbye)
				}
				report := <-reports
				if report.Duration > 20*time.Second {
					t.Errorf("drained in %v", report.Duration)
				}
				drained(t, report, tc.want)
			})
		})
	}
}

func TestShutdownDoesNotWaitForPollsAfterADrain(t *testing.T) {
	inStillness(t, core.Options{}, func(t *testing.T, s still) {
		s.arrive("")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Drain(ctx, quick()); err == nil {
			t.Error("a drain that was cut short has no error")
		}
		begin := time.Now()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("Shutdown waited %v for a client that polls", took)
		}
	})
}

// Connections that began together end one by one.
func TestConnectionAgeIsSpread(t *testing.T) {
	const clients, age = 300, time.Hour
	inStillness(t, core.Options{MaxConnectionAge: age}, func(t *testing.T, s still) {
		begin, ends := time.Now(), make(chan time.Duration, clients)
		s.OnDisconnect(func(context.Context, *core.Socket, core.DisconnectReason) { ends <- time.Since(begin) })
		for range clients {
			s.arrive("")
		}
		var times []time.Duration
		for range clients {
			times = append(times, <-ends)
		}
		slices.Sort(times)
		if times[0] < age*9/10 || times[clients-1] > age {
			t.Errorf("ended from %v to %v", times[0], times[clients-1])
		}
		for i := range clients - clients/3 { // a third of them takes more than a sixth of the time
			if took := times[i+clients/3] - times[i]; took < age/10/6 {
				t.Fatalf("%d of %d ended within %v", clients/3, clients, took)
			}
		}
	})
}

// The client gets no DISCONNECT packet, which would keep it from coming back.
func TestClientsThatReachTheAgeAreRecovered(t *testing.T) {
	opts := core.Options{MaxConnectionAge: time.Hour, Recovery: &core.RecoveryOptions{}}
	inStillness(t, opts, func(t *testing.T, s still) {
		reasons, connects := make(chan core.DisconnectReason, 1), make(chan bool, 2)
		s.OnDisconnect(func(_ context.Context, _ *core.Socket, why core.DisconnectReason) { reasons <- why })
		s.OnConnect(func(_ context.Context, s *core.Socket) error { connects <- s.Recovered(); return nil })
		query, answer := s.arrive("")
		equal(t, "recovered", <-connects, false)
		if err := s.Emit("hello"); err != nil { // its offset is what a client comes back with
			t.Fatal(err)
		}
		hello := s.do(http.MethodGet, query, "")
		equal(t, "the poll that waits", s.do(http.MethodGet, query, ""), "1")
		equal(t, "reason", <-reasons, core.ReasonForcedClose)
		s.arrive(`{"pid":"` + between(answer, `"pid":"`, `"`) + `","offset":"` + between(hello, `["hello","`, `"`) + `"}`)
		equal(t, "recovered", <-connects, true)
	})
}
