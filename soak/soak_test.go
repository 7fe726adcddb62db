package soak

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"go.uber.org/goleak"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	smoke  = 5 * time.Second // how long a run takes without SOAK
	warmUp = 3 * time.Second
	// settle bounds the wait for what clients left behind: the server's own
	// timeouts, the longest of which is the 30 s a closing polling session waits for
	// its client.
	settle = 60 * time.Second
	// rate is how many clients start per second. Each may leave a port in TIME_WAIT
	// for a minute, and there are 28,000 of them.
	rate = 150
)

// What may be left over: net/http and the runtime start and stop a few goroutines
// of their own, and buffers that were in use at the collection stay in pools.
const (
	extraGoroutines  = 3
	extraDescriptors = 3
	extraHeap        = 3 << 20
)

// TestSoak runs for SOAK, a duration.
func TestSoak(t *testing.T) {
	length := smoke
	if s := os.Getenv("SOAK"); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	srv, url := serve(t)
	run(t, srv, url, warmUp)
	idle(t, srv, figures{})
	base := measure()
	peak, tally := run(t, srv, url, length)
	last := idle(t, srv, base)
	report(t, length, base, peak, last, tally)
	if over := last.over(base); over != "" {
		t.Errorf("not given back: %s\n%s", over, stacks(last.goroutines > base.goroutines+extraGoroutines))
	}
	checkServer(t, srv, url)
}

// serve starts the server the clients meet, with timeouts short enough to see the
// end of what they abandon.
func serve(t *testing.T) (*core.Server, string) {
	t.Helper()
	srv, err := core.New(t.Context(), &core.Options{
		PingInterval: 500 * time.Millisecond, PingTimeout: time.Second, UpgradeTimeout: 500 * time.Millisecond,
		ConnectTimeout: 3 * time.Second, WriteTimeout: time.Second, MaxQueueBytes: 256 << 10, MaxInboundBytes: 64 << 10,
		CleanupEmptyNamespaces: true, Recovery: &core.RecoveryOptions{MaxDisconnection: time.Second},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	core.OnAck(srv, "echo", func(_ context.Context, _ *core.Socket, s string) (string, error) { return s, nil })
	core.On(srv, "join", func(_ context.Context, s *core.Socket, room string) error { return s.Join(room) })
	rooms := srv.OfPattern(regexp.MustCompile(`^/room-\d+$`))
	core.OnAck(rooms, "echo", func(_ context.Context, s *core.Socket, v string) (string, error) {
		return v, s.To("all").Emit("said", v)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &http.Server{Handler: srv, ReadHeaderTimeout: time.Second}
	go func() { _ = h.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		_ = h.Close()
	})
	return srv, "http://" + l.Addr().String()
}

// run plays all kinds of clients for d and waits for them.
func run(t *testing.T, srv *core.Server, url string, d time.Duration) (peak figures, tally string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	start := time.NewTicker(time.Second / rate)
	defer start.Stop()
	counts := make([]counter, len(kinds))
	var wg sync.WaitGroup
	for i, k := range kinds {
		for w := range k.workers {
			p := newPlayer(url, int64(i*100+w))
			wg.Go(func() {
				for wait(ctx, start.C) {
					counts[i].add(ctx, k.play(p, ctx))
				}
			})
		}
	}
	wg.Go(func() { // what slow readers do not read
		blob := strings.Repeat("b", 32<<10)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for wait(ctx, tick.C) {
			if err := srv.To("slow").Emit("blob", blob); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for wait(ctx, tick.C) {
			peak.raise(sample())
		}
	})
	wg.Wait()
	for i, k := range kinds {
		tally += fmt.Sprintf("%s %s, ", k.name, counts[i].String())
		if k.mustWork && 2*counts[i].failed > counts[i].played {
			t.Errorf("%s: %s", k.name, counts[i].String())
		}
	}
	return peak, strings.TrimSuffix(tally, ", ")
}

// wait waits for the next tick and reports whether ctx still holds.
func wait(ctx context.Context, tick <-chan time.Time) bool {
	select {
	case <-tick:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// counter counts the clients of one kind.
type counter struct {
	mu             sync.Mutex // guards the following
	played, failed int
	last           error
}

func (c *counter) add(ctx context.Context, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.played++
	if err != nil && ctx.Err() == nil {
		c.failed++
		c.last = err
	}
}

func (c *counter) String() string {
	if c.failed == 0 {
		return fmt.Sprint(c.played)
	}
	return fmt.Sprintf("%d (%d failed: %v)", c.played, c.failed, c.last)
}

// figures are what a leak shows in.
type figures struct{ goroutines, descriptors, heap int }

// sample takes figures without a collection.
func sample() figures {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fds, _ := os.ReadDir("/proc/self/fd") // none where there is no /proc
	return figures{runtime.NumGoroutine(), len(fds), int(m.HeapAlloc)}
}

// measure takes figures after a collection; two, because pools survive one.
func measure() figures {
	runtime.GC()
	debug.FreeOSMemory()
	return sample()
}

func (f *figures) raise(g figures) {
	f.goroutines = max(f.goroutines, g.goroutines)
	f.descriptors = max(f.descriptors, g.descriptors)
	f.heap = max(f.heap, g.heap)
}

// over says in what f exceeds the baseline by more than is allowed.
func (f figures) over(base figures) string {
	var out []string
	for _, x := range []struct {
		what             string
		got, base, extra int
	}{
		{"goroutines", f.goroutines, base.goroutines, extraGoroutines},
		{"descriptors", f.descriptors, base.descriptors, extraDescriptors},
		{"heap bytes", f.heap, base.heap, extraHeap},
	} {
		if x.got > x.base+x.extra {
			out = append(out, fmt.Sprintf("%d %s, baseline %d", x.got, x.what, x.base))
		}
	}
	return strings.Join(out, "; ")
}

// idle waits until the server holds nothing of its clients any more and, unless base
// is zero, until the figures are back, and returns them.
func idle(t *testing.T, srv *core.Server, base figures) figures {
	t.Helper()
	deadline := time.Now().Add(settle)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		<-tick.C
		st := srv.Stats()
		empty := st.Engine.Sessions == 0 && st.Sockets == 0 && st.PendingAcks == 0 && st.Namespaces == 1
		now := measure()
		if empty && (base == figures{} || now.over(base) == "") {
			return now
		}
		if time.Now().After(deadline) {
			if !empty {
				t.Errorf("left behind: %d sessions, %d sockets, %d acknowledgements, %d namespaces besides /",
					st.Engine.Sessions, st.Sockets, st.PendingAcks, st.Namespaces-1)
			}
			return now
		}
	}
}

func report(t *testing.T, length time.Duration, base, peak, last figures, tally string) {
	t.Helper()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tbaseline\tpeak\tafter\tallowed\t")
	fmt.Fprintf(w, "goroutines\t%d\t%d\t%d\t%d\t\n", base.goroutines, peak.goroutines, last.goroutines, base.goroutines+extraGoroutines)
	fmt.Fprintf(w, "descriptors\t%d\t%d\t%d\t%d\t\n", base.descriptors, peak.descriptors, last.descriptors, base.descriptors+extraDescriptors)
	fmt.Fprintf(w, "heap, KiB\t%d\t%d\t%d\t%d\t\n", base.heap>>10, peak.heap>>10, last.heap>>10, (base.heap+extraHeap)>>10)
	_ = w.Flush()
	t.Logf("%v of %s\n%s", length, tally, b.String())
}

// stacks returns all goroutines when they are what is wrong.
func stacks(wanted bool) string {
	if !wanted {
		return ""
	}
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// checkServer expects the server to have met every kind of fault, and to be well.
func checkServer(t *testing.T, srv *core.Server, url string) {
	t.Helper()
	st := srv.Stats()
	t.Logf("server: %d sessions, %d upgraded, %d slow consumers, %d protocol errors, %d events, ended by %v",
		st.Engine.Opened, st.Engine.Upgraded, st.Engine.SlowConsumers, st.ProtocolErrors, st.Events, st.Engine.Closed)
	if st.Engine.Panics+st.HandlerPanics > 0 {
		t.Errorf("%d panics in the engine, %d of handlers", st.Engine.Panics, st.HandlerPanics)
	}
	for what, n := range map[string]uint64{
		"upgrade": st.Engine.Upgraded, "slow consumer": st.Engine.SlowConsumers, "protocol error": st.ProtocolErrors,
		"ping timeout": st.Engine.Closed["ping timeout"], "transport error": st.Engine.Closed["transport error"],
	} {
		if n == 0 {
			t.Errorf("no %s in the whole run", what)
		}
	}
	c := testutil.MustDial(t, url, testutil.ClientOptions{})
	if _, err := c.EmitWithAck(t.Context(), "echo", "x"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
