package core_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestHooksOfAllNamespacesRunFirst(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	var calls journal
	mark := func(text string) func(core.EventHandler) core.EventHandler {
		return func(next core.EventHandler) core.EventHandler {
			return func(ctx context.Context, s *core.Socket, e *core.Event) error {
				calls.add(text)
				return next(ctx, s, e)
			}
		}
	}
	f := r.OfPattern(namePattern(`^/dyn$`))
	f.UseEvent(mark("family"))
	r.UseEvent(mark("own"))
	r.OfAll().UseEvent(mark("all"))
	core.OnAck(r.OfAll(), "where", func(_ context.Context, s *core.Socket, _ none) (string, error) {
		return s.Namespace().Name(), nil
	})
	c := r.dial(t)
	equal(t, "answer", ack(t, c.Socket, "where"), any("/"))
	dyn, err := c.Of(t.Context(), "/dyn", nil)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "answer of a dynamic one", ack(t, dyn, "where"), any("/dyn"))
	equal(t, "order", calls.String(), "all own all family")
	equal(t, "namespaces", len(r.OfAll().Namespaces()), 2)
	equal(t, "sockets", r.Of("/dyn").SocketCount(), 1)
	equal(t, "lets nobody in", r.refused(t, "/other").Message, "Invalid namespace")
}

func TestSocketsOfAConnectionShareItsID(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.Of("/b")
	c := r.dial(t)
	b, err := c.Of(t.Context(), "/b", nil)
	if err != nil {
		t.Fatal(err)
	}
	other := r.socket(t, r.dial(t)).ConnectionID()
	id := r.socket(t, c).ConnectionID()
	s, _ := r.Of("/b").Socket(b.ID())
	equal(t, "the id in another namespace", s.ConnectionID(), id)
	if len(id) != 12 || id == other || strings.Contains(c.Engine().Handshake.SID, id) {
		t.Errorf("ids %q and %q of session %q", id, other, c.Engine().Handshake.SID)
	}
}

func TestUpdatesOfSocketsAreReported(t *testing.T) {
	t.Parallel()
	for name, recovery := range map[string]*core.RecoveryOptions{"plain": nil, "with recovery": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			upgrade := make(chan struct{})
			r := start(t, &core.Options{Recovery: recovery, Use: []func(http.Handler) http.Handler{
				func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
						if q.FormValue("transport") == "websocket" {
							recv(t, "leave to upgrade", upgrade)
						}
						next.ServeHTTP(w, q)
					})
				},
			}})
			updates := make(chan string, 8)
			names := map[core.SocketUpdate]string{core.DataUpdated: "data", core.TransportUpdated: "transport"}
			r.OnUpdate(func(s *core.Socket, u core.SocketUpdate) { updates <- names[u] + " " + s.Transport() })
			r.Use(func(_ context.Context, s *core.Socket) error { return s.SetData("early: not reported") })
			c := r.connect(t, testutil.ClientOptions{Transports: []string{"polling", "websocket"}})
			if err := r.socket(t, c).SetData("x"); err != nil {
				t.Fatal(err)
			}
			equal(t, "first", recv(t, "an update", updates), "data polling")
			close(upgrade)
			equal(t, "second", recv(t, "an update", updates), "transport websocket")
		})
	}
}

func TestEveryReceiverOfAnEventIsReported(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	sent := make(chan string, 8)
	a, b := r.dial(t), r.dial(t)
	r.OnSent(func(s *core.Socket, event string, args core.Args) {
		sent <- strings.Join([]string{s.ID(), event, string(args.Raw(0))}, " ")
	})
	if err := r.socket(t, a).Emit("one", 1); err != nil {
		t.Fatal(err)
	}
	equal(t, "an emit", recv(t, "a report", sent), a.ID()+" one 1")
	if err := r.Except(a.ID()).Emit("some", "x"); err != nil {
		t.Fatal(err)
	}
	equal(t, "a broadcast", recv(t, "a report", sent), b.ID()+` some "x"`)
	if err := r.Emit("all"); err != nil {
		t.Fatal(err)
	}
	got := []string{recv(t, "a report", sent), recv(t, "a report", sent)}
	if got[0] == got[1] {
		t.Errorf("both reports are %q", got[0])
	}
}

func TestWhatFetchSocketsShowsCanBeChanged(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.dial(t)
	if err := r.socket(t, c).SetData(map[string]int{"n": 1}); err != nil {
		t.Fatal(err)
	}
	r.OnDescribe(func(_ *core.Socket, data json.RawMessage) json.RawMessage {
		return json.RawMessage(`{"more":` + string(data) + `}`)
	})
	r.OnDescribe(func(*core.Socket, json.RawMessage) json.RawMessage { return json.RawMessage(`{`) }) // ignored
	r.OnDescribe(func(*core.Socket, json.RawMessage) json.RawMessage { panic("and so is this") })
	all, err := r.FetchSockets(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	var shown json.RawMessage
	if err := all[0].Data(&shown); err != nil {
		t.Fatal(err)
	}
	equal(t, "data", string(shown), `{"more":{"n":1}}`)
	own, _ := core.Data[map[string]int](r.socket(t, c))
	equal(t, "the socket's own", own["n"], 1)
}
