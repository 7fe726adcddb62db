package core_test

import (
	"strings"
	"testing"

	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/core"
)

// pending is a polling client that has joined and is not asking for anything.
type pending struct {
	*core.Socket
	r     *rig
	query string
}

func (r *rig) pending(t *testing.T) *pending {
	t.Helper()
	query := r.openPolling(t)
	r.request(t, "POST", query, "40")
	p := &pending{r: r, query: query}
	eventually(t, "the socket is there", func() bool {
		for s := range r.Sockets() {
			if s.Transport() == "polling" && p.Socket == nil {
				p.Socket = s
			}
		}
		return p.Socket != nil
	})
	equal(t, "CONNECT", p.fetch(t)[:2], "40")
	return p
}

func (p *pending) fetch(t *testing.T) string {
	t.Helper()
	return p.r.request(t, "GET", p.query, "").body
}

func TestKeepLatestReplacesWhatWaits(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	p := r.pending(t)
	emit := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	emit(p.KeepLatest("price").Emit("price", 1))
	emit(p.Emit("between"))
	emit(r.To(p.ID()).KeepLatest("price").Emit("cost", 2, []byte{7}))
	emit(r.KeepLatest("other").Emit("price", 3))
	emit(r.KeepLatest("price").Volatile().Emit("price", 4, []byte{8}))
	emit(r.KeepLatest("").Emit("all"))
	emit(r.KeepLatest("").Emit("all"))
	equal(t, "payload", p.fetch(t),
		"451-[\"price\",4,{\"_placeholder\":true,\"num\":0}]\x1ebCA==\x1e42[\"between\"]\x1e42[\"price\",3]\x1e42[\"all\"]\x1e42[\"all\"]")
	equal(t, "Conflated", r.Stats().Engine.Conflated, 2)

	emit(p.KeepLatest("price").Emit("price", 5))
	equal(t, "payload", p.fetch(t), `42["price",5]`)
}

func TestAnOperatorWithAKeyIsAValue(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	p := r.pending(t)
	all := r.To()
	keyed := all.KeepLatest("k")
	for i := range 2 {
		_ = keyed.Emit("keyed", i)
		_ = all.Emit("plain", i)
	}
	equal(t, "payload", p.fetch(t), "42[\"keyed\",1]\x1e42[\"plain\",0]\x1e42[\"plain\",1]")
}

// Clients confirm events in the order of their offsets.
func TestKeepLatestKeepsTheOrderWithRecovery(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{Recovery: &core.RecoveryOptions{}})
	p := r.pending(t)
	_ = p.KeepLatest("k").Emit("k", 1)
	_ = p.Emit("between")
	_ = r.KeepLatest("k").Emit("k", 2)
	text := p.fetch(t)
	if !strings.HasPrefix(text, `42["between",`) || !strings.Contains(text, "\x1e42[\"k\",2,") || strings.Count(text, "\x1e") != 1 {
		t.Errorf("payload %q", text)
	}
}

func TestKeysReachOtherNodes(t *testing.T) {
	t.Parallel()
	loop := cluster.NewLoopback()
	near := start(t, &core.Options{Adapter: cluster.NewProvider(loop.Bus(), cluster.Options{})})
	far := start(t, &core.Options{Adapter: cluster.NewProvider(loop.Bus(), cluster.Options{})})
	p := far.pending(t)
	for i := range 3 {
		if err := near.KeepLatest("k").Emit("k", i); err != nil {
			t.Fatal(err)
		}
	}
	_ = near.Emit("last")
	eventually(t, "they have arrived", func() bool { return far.Stats().Engine.Conflated == 2 })
	if got := p.fetch(t); !strings.HasPrefix(got, `42["k",2]`) {
		t.Errorf("payload %q", got)
	}
}

func ExampleBroadcastOperator_KeepLatest() {
	var srv *core.Server // from core.New
	price := func(symbol string, value float64) error {
		return srv.To("market").KeepLatest("price:"+symbol).Emit("price", symbol, value)
	}
	_ = price
}
