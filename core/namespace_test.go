package core_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestDynamicNamespacesAreMadeForClients(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.Use(func(context.Context, *core.Socket) error { t.Error("a middleware of / ran"); return nil })
	var asked journal
	byFunc := r.OfFunc(func(_ context.Context, name string, auth json.RawMessage) bool {
		asked.add(name + string(auth))
		return strings.HasPrefix(name, "/func-") && string(auth) == `{"k":1}`
	})
	byPattern := r.OfPattern(namePattern(`^/(func|pattern)-\d+$`))
	for name, f := range map[string]*core.NamespaceFamily{"func": byFunc, "pattern": byPattern} {
		core.OnAck(f, "who", func(_ context.Context, s *core.Socket, _ none) (string, error) {
			return name + " " + s.Namespace().Name(), nil
		})
	}
	c := testutil.MustDial(t, r.url, testutil.ClientOptions{Namespace: "/pattern-1"})
	equal(t, "pattern", ack(t, c.Socket, "who"), any("pattern /pattern-1"))
	s, err := c.Of(t.Context(), "/func-1", map[string]int{"k": 1})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "func", ack(t, s, "who"), any("func /func-1"))
	s, err = c.Of(t.Context(), "/func-2", nil)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the next family", ack(t, s, "who"), any("pattern /func-2"))
	again := r.join(t, "/func-1") // exists: nobody is asked
	equal(t, "existing", ack(t, again.Socket, "who"), any("func /func-1"))
	equal(t, "asked", asked.String(), `/pattern-1{} /func-1{"k":1} /func-2{}`)
	equal(t, "message", r.refused(t, "/pattern-x").Message, "Invalid namespace")
	equal(t, "of the func", len(byFunc.Namespaces()), 1)
	equal(t, "of the pattern", len(byPattern.Namespaces()), 2)

	if err := byPattern.Emit("news", 1); err != nil {
		t.Error(err)
	}
	c.Expect(t, "news")
	s.Expect(t, "news")
	equal(t, "other families", len(again.Pending()), 0)
}

func TestOfAdoptsAPatternButNotAFunc(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.OfFunc(func(context.Context, string, json.RawMessage) bool { return true }).Use(func(context.Context, *core.Socket) error {
		t.Error("the family of a function took part")
		return nil
	})
	f := r.OfPattern(namePattern(`^/a`))
	f.OnConnect(func(_ context.Context, s *core.Socket) error { return s.Emit("family") })
	if r.Of("/a1") != r.Of("a1") {
		t.Error("Of made two namespaces of one name")
	}
	r.Of("/b1")
	r.join(t, "/a1").Expect(t, "family")
	r.join(t, "/b1")
	equal(t, "namespaces of the pattern", len(f.Namespaces()), 1)
}

func TestNamesThatNoClientMayAskFor(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.OfPattern(namePattern(`(?s).*`))
	e := r.bare(t)
	for _, name := range []string{"/line\nfeed", "/nul\x00", "/del\x7f"} {
		send(t, e, "0"+name+",")
		equal(t, "answer", read(t, e), "4"+name+`,{"message":"Invalid namespace"}`)
	}
	for _, name := range []string{"/" + strings.Repeat("n", 255), "/__proto__", "/é?x=1", "/[*"} {
		send(t, e, "0"+name+",")
		if got := read(t, e); !strings.HasPrefix(got, "0"+name+`,{"sid":`) {
			t.Errorf("%s: %s", name, got)
		}
	}
	send(t, e, "0/"+strings.Repeat("n", 256)+",")
	ended(t, e) // the parser refuses longer names
}

func TestNamespaceLimits(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{MaxNamespacesPerClient: 3, MaxDynamicNamespaces: 4})
	r.OfPattern(namePattern(`^/d\d+$`))
	r.Of("/s")
	c := r.join(t, "/d1")
	for _, nsp := range []string{"/d2", "/s"} {
		if _, err := c.Of(t.Context(), nsp, nil); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Of(t.Context(), "/", nil)
	if err == nil || !strings.Contains(err.Error(), "too many namespaces") {
		t.Errorf("fourth namespace of a client: %v", err)
	}
	_ = c.Disconnect() // one less
	eventually(t, "there is room", func() bool { _, err := c.Of(t.Context(), "/", nil); return err == nil })

	r.join(t, "/d3")
	r.join(t, "/d4")
	equal(t, "fifth dynamic namespace", r.refused(t, "/d5").Message, "too many namespaces")
	r.join(t, "/d1") // exists
	equal(t, "limits hit", fmt.Sprint(r.Stats().LimitsHit), "map[dynamic_namespaces:1 namespaces_per_client:1]")
}

func TestEmptyDynamicNamespacesAreRemovedOnRequest(t *testing.T) {
	t.Parallel()
	for _, cleanup := range []bool{false, true} {
		r := start(t, &core.Options{CleanupEmptyNamespaces: cleanup})
		f := r.OfPattern(namePattern(`^/d`))
		f.Use(func(_ context.Context, s *core.Socket) error {
			if s.Namespace().Name() == "/d-no" {
				return &core.ConnectError{Message: "no"}
			}
			return nil
		})
		r.Of("/static")
		held := r.Of("/d-held") // by the program
		a, b := r.join(t, "/d"), r.join(t, "/d")
		h, s := r.join(t, "/d-held"), r.join(t, "/static")
		r.refused(t, "/d-no")
		for _, c := range []*testutil.Client{a, h, s} {
			_ = c.Disconnect()
		}
		eventually(t, "three have left", func() bool { return r.Stats().Sockets == 1 })
		equal(t, "/d is in use", len(f.Namespaces()) >= 2, true)
		_ = b.Disconnect()
		want := map[bool]int{false: 4, true: 3}[cleanup] // "/", /static, /d-held; /d. Nobody was ever in /d-no
		eventually(t, "what is to go is gone", func() bool { return r.Stats().Namespaces == want })
		equal(t, "the program's namespace stays", r.Of("/d-held") == held, true)
		r.join(t, "/d")
	}
}

// What a namespace's own end hooks emit still reaches the cluster, so cleanup
// waits for them; see also TestTheLastOnDisconnectReachesOtherNodes.
func TestJoinersRacingWithCleanupAreNotLost(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{CleanupEmptyNamespaces: true})
	f := r.OfPattern(namePattern(`^/d$`))
	var connected, left atomic.Int64
	f.OnConnect(func(_ context.Context, s *core.Socket) error {
		connected.Add(1)
		return s.Namespace().To(s.ID()).Emit("hello") // through the rooms
	})
	f.OnDisconnect(func(context.Context, *core.Socket, core.DisconnectReason) { left.Add(1) })
	const clients, rounds = 20, 10
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			c, err := testutil.Dial(context.Background(), r.url, testutil.ClientOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for range rounds {
				s, err := c.Of(context.Background(), "/d", nil)
				if err != nil {
					t.Error(err)
					return
				}
				ctx, cancel := context.WithTimeout(context.Background(), wait)
				if _, err := s.Next(ctx, "hello"); err != nil {
					t.Errorf("a socket was lost: %v", err)
				}
				cancel()
				_ = s.Disconnect()
			}
		})
	}
	all.Wait()
	eventually(t, "all have left", func() bool { return left.Load() == clients*rounds })
	equal(t, "connected", connected.Load(), clients*rounds)
	eventually(t, "the namespace is removed", func() bool { return len(f.Namespaces()) == 0 && r.Stats().Namespaces == 1 })
}

func TestSimultaneousJoinersShareOneNamespace(t *testing.T) {
	t.Parallel()
	for range 10 {
		r := start(t, nil)
		r.OfFunc(func(_ context.Context, name string, _ json.RawMessage) bool { return name == "/d" })
		clients, sockets := make([]*testutil.Client, 10), make([]*testutil.Socket, 10)
		var all sync.WaitGroup
		for i := range clients {
			clients[i] = r.dial(t)
		}
		for i, c := range clients {
			all.Go(func() { sockets[i], _ = c.Of(context.Background(), "/d", nil) })
		}
		all.Go(func() { r.Of("/d") })
		all.Wait()
		equal(t, "namespaces", r.Stats().Namespaces, 2)
		for _, s := range sockets {
			r.seated(t, s)
		}
		_ = r.Of("/d").Emit("news")
		for _, s := range sockets {
			s.Expect(t, "news")
		}
	}
}
