package core_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/memory"
	_ "github.com/socketfleet/socketfleet/adapter/redis"
	"github.com/socketfleet/socketfleet/core"
)

// flaky is a provider that fails for one namespace until told otherwise.
type flaky struct {
	adapter.Provider
	broken string
	healed atomic.Bool
	opened atomic.Int64
	closed atomic.Int64
}

func (f *flaky) Open(ctx context.Context, h adapter.Host) (adapter.Adapter, error) {
	f.opened.Add(1)
	if h.Namespace() == f.broken && !f.healed.Load() {
		return nil, errors.New("backend away")
	}
	return f.Provider.Open(ctx, h)
}

func (f *flaky) Close(ctx context.Context) error {
	f.closed.Add(1)
	return f.Provider.Close(ctx)
}

func TestANamespaceWithoutAdapterRefusesItsClientsOnly(t *testing.T) {
	t.Parallel()
	f := &flaky{Provider: memory.NewProvider(memory.Options{}), broken: "/d-broken"}
	r := start(t, &core.Options{Adapter: f})
	r.OfPattern(namePattern(`^/d-`))
	c := r.dial(t)
	equal(t, "message", r.refused(t, "/d-broken").Message, "namespace unavailable")
	r.join(t, "/d-fine")
	equal(t, "others", c.Connected(), true)
	logged := r.logs.find(slog.LevelError, "event", "adapter.open_failed")
	if len(logged) != 1 || logged[0].attrs["namespace"] != "/d-broken" || logged[0].attrs["error"] != "backend away" {
		t.Errorf("log has %v", logged)
	}
	f.healed.Store(true) // the next client gets a new attempt
	eventually(t, "the namespace works", func() bool {
		s, err := c.Of(t.Context(), "/d-broken", nil)
		return err == nil && s.Connected()
	})
}

func TestAStaticNamespaceWithoutAdapterRefusesItsClients(t *testing.T) {
	t.Parallel()
	f := &flaky{Provider: memory.NewProvider(memory.Options{}), broken: "/static"}
	r := start(t, &core.Options{Adapter: f})
	n := r.Of("/static")
	equal(t, "message", r.refused(t, "/static").Message, "namespace unavailable")
	if err := n.Emit("e"); err != nil {
		t.Errorf("Emit to nobody: %v", err)
	}
	r.dial(t)
}

func TestNewFailsWhenTheFirstNamespaceHasNoAdapter(t *testing.T) {
	t.Parallel()
	f := &flaky{Provider: memory.NewProvider(memory.Options{}), broken: "/"}
	_, err := core.New(t.Context(), &core.Options{Adapter: f, Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "backend away") {
		t.Errorf("got %v", err)
	}
	equal(t, "provider closed", f.closed.Load(), 1)
}

func TestTheProviderIsClosedOnceByTheServer(t *testing.T) {
	t.Parallel()
	f := &flaky{Provider: memory.NewProvider(memory.Options{})}
	r := newRig(t, &core.Options{Adapter: f})
	r.stop(t)
	r.stop(t)
	equal(t, "closed", f.closed.Load(), 1)
}

func TestAnUnknownSchemeNamesTheImport(t *testing.T) {
	t.Parallel()
	_, err := core.New(t.Context(), &core.Options{AdapterURL: "nats://user:hunter2@host"})
	if err == nil || !strings.Contains(err.Error(), "nats") || !strings.Contains(err.Error(), "import") {
		t.Errorf("got %v, want the import line", err)
	}
	if strings.Contains(fmt.Sprint(err), "hunter2") {
		t.Errorf("the error shows the password: %v", err)
	}
}

func TestNewFailsSoonWhenRedisIsAway(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // a port nobody listens on
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	begin := time.Now()
	_, err = core.New(t.Context(), &core.Options{AdapterURL: "redis://user:hunter2@" + addr, Logger: slog.New(slog.DiscardHandler)})
	took := time.Since(begin)
	t.Logf("failed after %v: %v", took, err)
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	if took > 6*time.Second {
		t.Errorf("took %v, want at most 5 s", took)
	}
}
