package chatroom_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/examples/internal/chatroom"
	"github.com/socketfleet/socketfleet/internal/testutil"
	"github.com/socketfleet/socketfleet/presence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type answer struct {
	OK    chatroom.Message `json:"ok"`
	Error string           `json:"error"`
}

func serve(t *testing.T) string {
	t.Helper()
	srv, err := core.New(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	room, err := chatroom.Serve(srv, "node-1", true)
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(srv)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := room.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		ts.Close()
	})
	return ts.URL
}

// ask emits an event and decodes the answer.
func ask[T any](t *testing.T, c *testutil.Client, event string, args ...any) (v T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	a, err := c.EmitWithAck(ctx, event, args...)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Decode(0, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func enter(t *testing.T, url, name, room string) *testutil.Client {
	t.Helper()
	c := testutil.MustDial(t, url, testutil.ClientOptions{})
	if a := ask[answer](t, c, "enter", map[string]any{"name": name, "room": room}); a.Error != "" {
		t.Fatal(a.Error)
	}
	return c
}

func TestMessagesStayInTheirRoom(t *testing.T) {
	url := serve(t)
	alice, bob, eve := enter(t, url, "alice", "lobby"), enter(t, url, "bob", "lobby"), enter(t, url, "eve", "other")
	said := ask[answer](t, alice, "say", " hi ")
	var got chatroom.Message
	if err := bob.Expect(t, "message").Decode(0, &got); err != nil {
		t.Fatal(err)
	}
	if got.ID != said.OK.ID || got.Text != "hi" || got.From.Name != "alice" || got.From.Node != "node-1" {
		t.Errorf("bob got %+v", got)
	}
	ask[string](t, eve, "here") // behind anything that went to the wrong room
	for _, e := range eve.Pending() {
		if e.Name == "message" {
			t.Error("eve heard it")
		}
	}
	_ = bob.Emit("seen", map[string]any{"message": got.ID, "sender": got.From.ID})
	var seen struct{ Message, By string }
	if err := alice.Expect(t, "seen").Decode(0, &seen); err != nil || seen.By != "bob" || seen.Message != got.ID {
		t.Errorf("alice learned %+v, %v", seen, err)
	}
}

func TestFilesArriveAsBinaryWithATypeOfTheirContents(t *testing.T) {
	url := serve(t)
	alice, bob := enter(t, url, "alice", "lobby"), enter(t, url, "bob", "lobby")
	data := []byte("<!doctype html><script>alert(1)</script>")
	said := ask[answer](t, alice, "file", map[string]any{"name": "x.png", "type": "image/png", "data": data})
	if said.Error != "" {
		t.Fatal(said.Error)
	}
	var got chatroom.Message
	if err := bob.Expect(t, "message").Decode(0, &got); err != nil {
		t.Fatal(err)
	}
	if got.File == nil || !bytes.Equal(got.File.Data, data) || !strings.HasPrefix(got.File.Type, "text/html") {
		t.Errorf("bob got %+v", got.File)
	}
}

func TestWhatIsRefused(t *testing.T) {
	url := serve(t)
	c := testutil.MustDial(t, url, testutil.ClientOptions{})
	if a := ask[answer](t, c, "say", "hi"); a.Error == "" {
		t.Error("a client without a room spoke")
	}
	for _, e := range []map[string]any{{"name": "", "room": "r"}, {"name": "n", "room": " "}, {"name": strings.Repeat("n", 25), "room": "r"}} {
		if a := ask[answer](t, c, "enter", e); a.Error == "" {
			t.Errorf("%v was let in", e)
		}
	}
	ask[answer](t, c, "enter", map[string]any{"name": "n", "room": "r"})
	for what, a := range map[string]answer{
		"nothing":     ask[answer](t, c, "say", "  "),
		"long text":   ask[answer](t, c, "say", strings.Repeat("x", 2001)),
		"empty file":  ask[answer](t, c, "file", map[string]any{"name": "f", "data": []byte{}}),
		"large file":  ask[answer](t, c, "file", map[string]any{"name": "f", "data": make([]byte, 512<<10+1)}),
		"no filename": ask[answer](t, c, "file", map[string]any{"name": "", "data": []byte{1}}),
	} {
		if a.Error == "" {
			t.Errorf("%s was accepted", what)
		}
	}
}

// listed waits until the list of the room of c has these keys.
func listed(t *testing.T, c *testutil.Client, want ...string) []presence.Member {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		list := ask[[]presence.Member](t, c, "people")
		got := make([]string, 0, len(list))
		for _, m := range list {
			got = append(got, m.Key)
		}
		if slices.Equal(got, want) {
			return list
		}
		if time.Now().After(end) {
			t.Fatalf("the list has %v, not %v", got, want)
		}
	}
}

func TestWhoIsHereIsListedWithTheirNames(t *testing.T) {
	url := serve(t)
	alice := enter(t, url, "Alice", "lobby")
	bob := enter(t, url, "Bob", "lobby")
	var m chatroom.Member
	if err := json.Unmarshal(listed(t, alice, "alice", "bob")[1].Meta, &m); err != nil {
		t.Fatal(err)
	}
	if m.Name != "Bob" || m.Room != "lobby" || m.Node != "node-1" || m.ID != bob.ID() {
		t.Errorf("Bob is listed as %+v", m)
	}
	ask[answer](t, bob, "enter", map[string]any{"name": "Bob", "room": "other"})
	listed(t, alice, "alice")
	if all := ask[[]chatroom.Member](t, alice, "who"); len(all) != 2 {
		t.Errorf("in all rooms: %v", all)
	}
}

func TestSeveralSocketsOfOneNameAreOnePerson(t *testing.T) {
	url := serve(t)
	alice := enter(t, url, "Alice", "lobby")
	first, second := enter(t, url, "Bob", "lobby"), enter(t, url, "bob", "lobby")
	listed(t, alice, "alice", "bob")
	if all := ask[[]chatroom.Member](t, alice, "who"); len(all) != 3 {
		t.Errorf("sockets: %v", all)
	}
	first.Close()
	for end := time.Now().Add(30 * time.Second); len(ask[[]chatroom.Member](t, alice, "who")) != 2; {
		if time.Now().After(end) {
			t.Fatal("the socket that was closed is still listed")
		}
	}
	listed(t, alice, "alice", "bob")
	second.Close()
	listed(t, alice, "alice")
}

// Clients are told of changes, though not of each: one that has something else under
// way may miss some.
func TestChangesAreTold(t *testing.T) {
	url := serve(t)
	alice := enter(t, url, "Alice", "lobby")
	for i := range 50 {
		enter(t, url, fmt.Sprintf("guest %d", i), "lobby")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		heard, err := alice.Next(ctx, "presence")
		cancel()
		var e presence.Event
		if err == nil && heard.Decode(0, &e) == nil && e.Type == presence.Join && e.Room == "room:lobby" && strings.HasPrefix(e.Key, "guest ") {
			return
		}
	}
	t.Error("Alice was told of none of 50 guests")
}

func TestNobodyIsListedToThoseOutside(t *testing.T) {
	url := serve(t)
	enter(t, url, "Alice", "lobby")
	listed(t, testutil.MustDial(t, url, testutil.ClientOptions{}))
}
