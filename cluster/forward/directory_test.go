package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/sid"
)

// inBubble runs a test of an open Forwarder under a fake clock.
func inBubble(t *testing.T, run func(t *testing.T, f *Forwarder, g *registry, logs *strings.Builder)) {
	synctest.Test(t, func(t *testing.T) {
		g := newRegistry()
		logs := new(strings.Builder)
		f := New(&Options{Registry: g})
		if err := f.Open(t.Context(), forwardNode("self.epoch", logs)); err != nil {
			t.Fatal(err)
		}
		run(t, f, g, logs)
		if err := f.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// lockedWriter is for loggers of several goroutines.
type lockedWriter struct {
	mu sync.Mutex
	b  *strings.Builder
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func forwardNode(owner string, logs *strings.Builder) adapter.ForwardNode {
	return adapter.ForwardNode{Owner: owner, Secret: secret, URL: "http://127.0.0.1:1",
		Logger: slog.New(slog.NewTextHandler(&lockedWriter{b: logs}, nil))}
}

func find(t *testing.T, f *Forwarder, owner string) (string, error) {
	t.Helper()
	_, u, err := f.dir.find(t.Context(), owner)
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

func wantURL(t *testing.T, f *Forwarder, owner, want string) {
	t.Helper()
	if got, err := find(t, f, owner); got != want || err != nil {
		t.Errorf("find: %q, %v, want %q", got, err, want)
	}
}

func wantUnknown(t *testing.T, f *Forwarder, owner string) {
	t.Helper()
	if got, err := find(t, f, owner); !errors.Is(err, cluster.ErrNodeUnknown) {
		t.Errorf("find: %q, %v, want unknown", got, err)
	}
}

func TestLookupsAreSharedAndRemembered(t *testing.T) {
	inBubble(t, func(t *testing.T, f *Forwarder, g *registry, _ *strings.Builder) {
		g.block = make(chan struct{})
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { wantUnknown(t, f, "n.a") })
		}
		synctest.Wait()
		close(g.block)
		wg.Wait()
		wantUnknown(t, f, "n.a")
		if g.count() != 1 {
			t.Errorf("%d lookups for 51 requests", g.count())
		}
		g.put("n.a", "http://h:1")
		wantUnknown(t, f, "n.a")
		time.Sleep(negativeFor)
		wantURL(t, f, "n.a", "http://h:1")
		wantURL(t, f, "n.a", "http://h:1")
		g.put("n.b", "https://h:2/elsewhere?x=y")
		wantURL(t, f, "n.b", "https://h:2") // the path is the client's
		if g.count() != 3 {
			t.Errorf("%d lookups", g.count())
		}
	})
}

func TestAddressesSurviveTheRegistry(t *testing.T) {
	inBubble(t, func(t *testing.T, f *Forwarder, g *registry, _ *strings.Builder) {
		g.put("n.a", "http://h:1")
		wantURL(t, f, "n.a", "http://h:1")
		g.set(true)
		for range 9 {
			time.Sleep(time.Minute)
			wantURL(t, f, "n.a", "http://h:1")
			synctest.Wait()
		}
		if _, err := find(t, f, "n.b"); !errors.Is(err, errAway) {
			t.Errorf("a node nobody knew: %v", err)
		}
		time.Sleep(staleFor)
		if got, err := find(t, f, "n.a"); !errors.Is(err, errAway) {
			t.Errorf("after the bound: %q, %v", got, err)
		}
		g.set(false)
		time.Sleep(negativeFor)
		wantURL(t, f, "n.a", "http://h:1")
	})
}

func TestANodeThatLeftIsForgottenAfterItsLease(t *testing.T) {
	inBubble(t, func(t *testing.T, f *Forwarder, g *registry, _ *strings.Builder) {
		g.put("n.a", "http://h:1")
		wantURL(t, f, "n.a", "http://h:1")
		if err := g.Withdraw(t.Context(), "n.a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(freshFor + 1)
		wantURL(t, f, "n.a", "http://h:1") // asks behind the scenes
		synctest.Wait()
		wantURL(t, f, "n.a", "http://h:1") // a registry may have lost its memory
		time.Sleep(freshFor + 1)
		wantURL(t, f, "n.a", "http://h:1")
		synctest.Wait()
		wantUnknown(t, f, "n.a")
	})
}

func TestASlowRegistryIsNotWaitedForForLong(t *testing.T) {
	inBubble(t, func(t *testing.T, f *Forwarder, g *registry, _ *strings.Builder) {
		g.block = make(chan struct{})
		start := time.Now()
		g.away = true
		if _, err := find(t, f, "n.a"); err == nil {
			t.Error("no error")
		}
		if took := time.Since(start); took != lookupTimeout {
			t.Errorf("waited %v", took)
		}
	})
}

func TestTheDirectoryIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, f *Forwarder, _ *registry, _ *strings.Builder) {
		for i := range maxPeers {
			wantUnknown(t, f, fmt.Sprintf("n.%d", i))
		}
		if _, err := find(t, f, "n.more"); !errors.Is(err, errManyPeers) {
			t.Errorf("one more: %v", err)
		}
		time.Sleep(negativeFor + 1)
		wantUnknown(t, f, "n.more")
		if n := len(f.dir.peers); n != 1 {
			t.Errorf("%d are remembered", n)
		}
	})
}

func TestTheLeaseIsRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T, f *Forwarder, g *registry, logs *strings.Builder) {
		known := func() bool { _, err := g.Lookup(t.Context(), "self.epoch"); return err == nil }
		for range 4 {
			_ = g.Withdraw(t.Context(), "self.epoch")
			time.Sleep(f.opts.Lease * 2 / 5)
			synctest.Wait()
			if !known() {
				t.Fatal("not renewed")
			}
		}
		g.set(true)
		time.Sleep(f.opts.Lease)
		synctest.Wait()
		if n := f.Stats().LeaseFailures; n < 7 { // each second, where it is three in a lease otherwise
			t.Errorf("%d attempts", n)
		}
		_ = g.Withdraw(t.Context(), "self.epoch")
		g.set(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !known() {
			t.Error("a registry that is back is not told at once")
		}
		for _, event := range []string{"forward.registry_down", "forward.registry_up"} {
			if n := strings.Count(logs.String(), event); n != 1 {
				t.Errorf("%s logged %d times", event, n)
			}
		}
		if strings.Contains(logs.String(), secret) {
			t.Error("the secret is in the log")
		}
	})
}

func TestDrainTellsTheRegistry(t *testing.T) {
	inBubble(t, func(t *testing.T, f *Forwarder, g *registry, _ *strings.Builder) {
		if err := f.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(f.opts.Lease) // renewals must not take it back
		n, err := g.Lookup(t.Context(), "self.epoch")
		if err != nil || !n.Draining || n.URL == "" {
			t.Errorf("%+v, %v", n, err)
		}
		g.set(true)
		if err := f.Drain(t.Context()); !errors.Is(err, errAway) {
			t.Errorf("drain without a registry: %v", err)
		}
	})
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	away := newRegistry()
	away.away = true
	for what, tt := range map[string]struct {
		opts Options
		url  string
	}{
		"no registry":   {url: "http://h:1"},
		"no answer":     {Options{Registry: away}, "http://h:1"},
		"a useless URL": {Options{Registry: newRegistry()}, "h:1"},
	} {
		f := New(&tt.opts)
		n := forwardNode("n.e", new(strings.Builder))
		n.URL = tt.url
		if err := f.Open(t.Context(), n); err == nil {
			t.Errorf("%s: no error", what)
		}
		if err := f.Close(t.Context()); err != nil {
			t.Errorf("%s: close: %v", what, err)
		}
	}
}

func TestARegistryThatIsAwayHarmsNoOwnedSession(t *testing.T) {
	t.Parallel()
	owner, other, g := pair(t)
	s := owner.session()
	if resp := other.do(http.MethodPost, s.query, "4x"); resp.body != "ok" {
		t.Fatalf("%+v", resp)
	}
	g.set(true)
	for _, n := range []*node{owner, other} {
		if resp := n.do(http.MethodPost, s.query, "4x"); resp.body != "ok" {
			t.Errorf("%+v", resp)
		}
	}
	stranger, err := sid.NewSigner(secret, "elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if resp := other.do(http.MethodGet, polling+"&sid="+stranger.New(), ""); !resp.isUnknown() {
			t.Errorf("%+v", resp)
		}
	}
	if n := g.count(); n != 2 {
		t.Errorf("%d lookups, want one for each owner", n)
	}
	g.set(false) // Close withdraws
}
