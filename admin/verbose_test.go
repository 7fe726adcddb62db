package admin_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/socketfleet/socketfleet/admin"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func TestAUserIsGreeted(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		own  admin.Options
		want string
	}{
		"production":  {admin.Options{}, `["AGGREGATED_EVENTS"]`},
		"development": {admin.Options{Development: true}, `["AGGREGATED_EVENTS","ALL_EVENTS"]`},
		"writable": {admin.Options{Writable: true, Development: true},
			`["EMIT","JOIN","LEAVE","DISCONNECT","MJOIN","MLEAVE","MDISCONNECT","AGGREGATED_EVENTS","ALL_EVENTS"]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, tt.own, core.Options{Recovery: &core.RecoveryOptions{}})
			c := r.ui(t)
			c.Expect(t, "session")
			if got := c.Expect(t, "config").JSON(); !strings.HasPrefix(got, `["config",{"supportedFeatures":`+tt.want+`}`) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestSocketsRoomsAndEventsAreReported(t *testing.T) {
	t.Parallel()
	r := start(t, admin.Options{Development: true}, core.Options{})
	r.Use(func(_ context.Context, s *core.Socket) error {
		if err := s.SetData(map[string]any{"name": "x"}); err != nil {
			return err
		}
		return s.Join("early")
	})
	core.OnAck(r, "hello", func(_ context.Context, s *core.Socket, _ string) (string, error) {
		return "ok", s.Emit("welcome", []byte{1, 2}, 3)
	})
	ui := r.ui(t)
	own := ui.ID()
	equal(t, "all_sockets holds the UI itself", len(decode[[]info](t, ui.Expect(t, "all_sockets"), 0)), 1)
	eventually(t, "the UI's own socket is reported", func() bool {
		return strings.Contains(ui.Expect(t, "socket_connected").JSON(), own)
	})
	drain(ui)

	c := testutil.MustDial(t, r.url, testutil.ClientOptions{
		Header: map[string][]string{"Cookie": {"secret=1"}, "Authorization": {"Bearer secret"}},
		Auth:   map[string]string{"token": "secret"},
	})
	id := c.ID()
	text := func(event string) string { t.Helper(); return shape(ui.Expect(t, event).JSON(), id) }
	equal(t, "first", text("room_joined"), `["room_joined","/","<id1>","<id1>","<date>"]`)
	connected := ui.Expect(t, "socket_connected")
	s := decode[info](t, connected, 0)
	if strings.Contains(connected.JSON(), "secret") {
		t.Errorf("secrets are shown: %s", connected.JSON())
	}
	local, _ := r.Socket(id)
	equal(t, "id", s.ID, id)
	equal(t, "client", s.ClientID, local.ConnectionID())
	equal(t, "namespace", s.Nsp, "/")
	equal(t, "data", string(s.Data), `{"name":"x"}`)
	equal(t, "rooms", strings.Join(s.Rooms, " "), id)
	equal(t, "url", s.Handshake.URL, local.Handshake().URL())
	equal(t, "early", text("room_joined"), `["room_joined","/","early","<id1>","<date>"]`)

	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	if _, err := c.EmitWithAck(ctx, "hello", "you"); err != nil {
		t.Fatal(err)
	}
	equal(t, "received", text("event_received"), `["event_received","/","<id1>",["hello","you"],"<date>"]`)
	sent := ui.Expect(t, "event_sent")
	equal(t, "sent", shape(sent.JSON(), id), `["event_sent","/","<id1>",["welcome",{"_placeholder":true,"num":0},3],"<date>"]`)
	if err := local.SetData("no object"); err != nil {
		t.Fatal(err)
	}
	equal(t, "data", text("socket_updated"), `["socket_updated",{"id":"<id1>","nsp":"/","data":"no object"}]`)
	if err := local.Join("later"); err != nil {
		t.Fatal(err)
	}
	equal(t, "join", text("room_joined"), `["room_joined","/","later","<id1>","<date>"]`)
	local.Leave("later")
	equal(t, "leave", text("room_left"), `["room_left","/","later","<id1>","<date>"]`)
	if err := c.Disconnect(); err != nil {
		t.Fatal(err)
	}
	equal(t, "end", text("socket_disconnected"), `["socket_disconnected","/","<id1>","client namespace disconnect","<date>"]`)
	for _, a := range ui.Pending() {
		if strings.HasPrefix(a.JSON(), `["event_`) {
			t.Errorf("an event of the UI is reported: %s", a.JSON())
		}
	}
}

// drain throws away what has arrived.
func drain(c *testutil.Client) {
	for _, a := range c.Pending() {
		ctx, cancel := context.WithCancel(context.Background())
		_, _ = c.Next(ctx, a.Name)
		cancel()
	}
}

func TestASocketThatLeftItsOwnRoomStillEnds(t *testing.T) {
	t.Parallel()
	r := start(t, admin.Options{Development: true}, core.Options{})
	ui, c := r.ui(t), r.dial(t)
	s, _ := r.Socket(c.ID())
	eventually(t, "the socket is in its room", func() bool { return len(s.Rooms()) == 1 })
	s.Leave(c.ID())
	equal(t, "left", shape(ui.Expect(t, "room_left").JSON(), c.ID()), `["room_left","/","<id1>","<id1>","<date>"]`)
	for _, a := range ui.Pending() {
		if a.Name == "socket_disconnected" {
			t.Error("reported as disconnected before it is")
		}
	}
	s.Disconnect(true)
	equal(t, "end", shape(ui.Expect(t, "socket_disconnected").JSON(), c.ID()),
		`["socket_disconnected","/","<id1>","server namespace disconnect","<date>"]`)
}

func TestInProductionOnlyStatisticsAreReported(t *testing.T) {
	t.Parallel()
	r := start(t, admin.Options{}, core.Options{})
	ui, c := r.ui(t), r.dial(t)
	s, _ := r.Socket(c.ID())
	if err := s.Join("x"); err != nil {
		t.Fatal(err)
	}
	if err := s.Emit("x"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		ui.Expect(t, "server_stats")
	}
	for _, a := range ui.Pending() {
		if a.Name != "session" && a.Name != "config" {
			t.Errorf("got %s", a.JSON())
		}
	}
	all, err := r.FetchSockets(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	var data json.RawMessage
	if err := all[0].Data(&data); err != nil || string(data) != "{}" {
		t.Errorf("data = %s, %v", data, err)
	}
}

func TestStatisticsCountSinceTheLastReport(t *testing.T) {
	t.Parallel()
	r := start(t, admin.Options{ServerID: "one"}, core.Options{})
	ui := r.ui(t)
	type event struct {
		Timestamp     int64
		Type, SubType string
		Count         int
	}
	type stats struct {
		ServerID, Hostname string
		PID                int
		Uptime             float64
		Clients            int `json:"clientsCount"`
		Polling            int `json:"pollingClientsCount"`
		AggregatedEvents   []event
		Namespaces         []struct {
			Name         string
			SocketsCount int
		}
	}
	c := testutil.MustDial(t, r.url, testutil.ClientOptions{Transports: []string{"polling"}})
	total := map[string]int{}
	var last stats
	look := func() {
		last = decode[stats](t, ui.Expect(t, "server_stats"), 0)
		for _, e := range last.AggregatedEvents {
			if e.Timestamp%1000 != 0 || e.Timestamp == 0 {
				t.Errorf("timestamp %d is no full second", e.Timestamp)
			}
			total[strings.TrimSpace(e.Type+" "+e.SubType)] += e.Count
		}
	}
	for last.Clients != 2 || last.Polling != 1 || last.Namespaces[0].SocketsCount != 1 {
		look()
	}
	if last.ServerID != "one" || last.Hostname == "" || last.PID == 0 || last.Uptime <= 0 || len(last.Namespaces) != 2 ||
		last.Namespaces[0].Name != "/" || last.Namespaces[0].SocketsCount != 1 || last.Namespaces[1].SocketsCount != 1 {
		t.Errorf("stats = %+v", last)
	}
	c.Close()
	for last.Clients != 1 {
		look()
	}
	if total["rawConnection"] != 2 || total["packetsIn"] < 2 || total["bytesOut"] < 2 || len(total) < 6 {
		t.Errorf("counted %v", total)
	}
	if err := r.a.Close(); err != nil {
		t.Error(err)
	}
}

func TestAUIOnOneNodeSeesAllNodes(t *testing.T) {
	t.Parallel()
	bus := cluster.NewLoopback()
	node := func(id string) *rig {
		return start(t, admin.Options{Development: true, Writable: true},
			core.Options{NodeID: id, Adapter: cluster.NewProvider(bus.Bus(), cluster.Options{})})
	}
	a, b := node("a"), node("b")
	early := b.dial(t)
	s, _ := b.Socket(early.ID())
	eventually(t, "the socket is in its room", func() bool { return len(s.Rooms()) == 1 })
	ui := a.ui(t)
	found := false
	for _, x := range decode[[]info](t, ui.Expect(t, "all_sockets"), 0) {
		if x.ID == early.ID() {
			found = true
			equal(t, "client of the other node", x.ClientID, s.ConnectionID())
			equal(t, "transport", x.Transport, s.Transport())
			equal(t, "data", string(x.Data), "{}")
		}
	}
	equal(t, "all_sockets has the other node's", found, true)
	late := b.dial(t)
	eventually(t, "a connection to the other node", func() bool {
		return decode[info](t, ui.Expect(t, "socket_connected"), 0).ID == late.ID()
	})
	nodes := map[string]bool{}
	for len(nodes) < 2 {
		nodes[decode[struct{ ServerID string }](t, ui.Expect(t, "server_stats"), 0).ServerID] = true
	}
	if err := ui.Emit("join", "/", "far", late.ID()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a join on the other node", func() bool {
		return strings.HasPrefix(shape(ui.Expect(t, "room_joined").JSON(), late.ID()), `["room_joined","/","far","<id1>"`)
	})
}
