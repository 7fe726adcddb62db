package bench_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/socketfleet/socketfleet/bench/loadgen"
	"github.com/socketfleet/socketfleet/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server and connects clients to it.
func serve(t testing.TB, clients int) (*core.Server, *loadgen.Fleet) {
	t.Helper()
	srv, err := core.New(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv)
	t.Cleanup(func() {
		web.Close()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	fleet, err := loadgen.Dial(t.Context(), strings.TrimPrefix(web.URL, "http://"), clients, 16)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fleet.Close)
	return srv, fleet
}

func TestABroadcastReachesEveryClient(t *testing.T) {
	t.Parallel()
	const clients, messages = 50, 20
	srv, fleet := serve(t, clients)
	for range messages {
		if err := srv.Emit("fan", "payload"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := fleet.AwaitEvents(ctx, clients*messages); err != nil {
		t.Fatal(err)
	}
}

// Clients and server share the process, so the time is that of both; the clients
// allocate nothing. Allocations must not grow with the number of members.
func BenchmarkLocalBroadcast(b *testing.B) {
	for _, members := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			srv, fleet := serve(b, members)
			payload := strings.Repeat("x", 64)
			var sent int64
			b.ReportAllocs()
			for b.Loop() {
				if err := srv.Emit("fan", payload); err != nil {
					b.Fatal(err)
				}
				sent++
				if err := fleet.AwaitEvents(b.Context(), sent*int64(members)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(sent)/float64(members), "ns/delivery")
		})
	}
}
