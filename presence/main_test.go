package presence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Child, when set by the tests of package presence_test, is another program that this
// binary can be.
var Child func()

func TestMain(m *testing.M) {
	if Child != nil {
		Child()
	}
	goleak.VerifyTestMain(m)
}

// conn is a socket without a client.
type conn string

func (c conn) ID() string { return string(c) }

// fabric joins nodes of one process. Messages arrive in order, one at a time.
type fabric struct {
	mu    sync.Mutex
	nodes []*fakeNode
	lose  func(from, to *fakeNode, payload []byte) bool // nil: nothing is lost
}

type fakeNode struct {
	*Presence
	f    *fabric
	name string

	mu     sync.Mutex
	down   bool     // sends and gets nothing
	events []string // what listeners heard
	told   []string // what clients got
	sent   []string // kinds of messages
}

func (n *fakeNode) emit(payload []byte) error {
	n.f.mu.Lock()
	defer n.f.mu.Unlock()
	if n.down {
		return errors.New("down")
	}
	n.sent = append(n.sent, string(payload))
	for _, to := range n.f.nodes {
		if to != n && !to.down && (n.f.lose == nil || !n.f.lose(n, to, payload)) {
			to.receive(payload)
		}
	}
	return nil
}

func (n *fakeNode) count(context.Context) (int, error) {
	n.f.mu.Lock()
	defer n.f.mu.Unlock()
	return len(n.f.nodes), nil
}

func (n *fakeNode) tell(name string, e Event) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = append(n.told, fmt.Sprintf("%s %s %s %s %s", name, e.Type, e.Room, e.Key, e.Meta))
	return nil
}

func (n *fakeNode) setDown(down bool) {
	n.f.mu.Lock()
	defer n.f.mu.Unlock()
	n.down = down
}

// die ends a node without a goodbye.
func (n *fakeNode) die(t testing.TB) {
	n.setDown(true)
	n.close(t)
}

func (n *fakeNode) close(t testing.TB) {
	if err := n.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// add starts a node.
func (f *fabric) add(t testing.TB, opts Options) *fakeNode {
	t.Helper()
	f.mu.Lock()
	n := &fakeNode{f: f, name: fmt.Sprint("n", len(f.nodes))}
	var err error
	if n.Presence, err = newPresence(n, n.name, opts); err != nil {
		t.Fatal(err)
	}
	f.nodes = append(f.nodes, n)
	f.mu.Unlock()
	hear := func(e Event) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.events = append(n.events, fmt.Sprintf("%s %s/%s %s", e.Type, e.Room, e.Key, e.Meta))
	}
	n.OnJoin(hear)
	n.OnLeave(hear)
	n.OnUpdate(hear)
	n.start()
	t.Cleanup(func() { n.close(t) })
	return n
}

func (f *fabric) setLose(lose func(from, to *fakeNode, payload []byte) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lose = lose
}

// heard returns what the listeners heard since the last call.
func (n *fakeNode) heard() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := strings.Join(n.events, "; ")
	n.events = nil
	return out
}

// kinds counts the messages of a kind that n has sent.
func (n *fakeNode) kinds(kind string) (count int) {
	n.f.mu.Lock()
	defer n.f.mu.Unlock()
	for _, s := range n.sent {
		if strings.Contains(s, `"k":"`+kind+`","f"`) {
			count++
		}
	}
	return count
}

func (n *fakeNode) put(t testing.TB, id, room, key string, meta any) {
	t.Helper()
	if err := n.track(conn(id), room, key, meta); err != nil {
		t.Fatal(err)
	}
}

// who describes the members of a room: key, meta and sockets.
func (n *fakeNode) who(t testing.TB, room string) string {
	t.Helper()
	list, err := n.List(context.Background(), room)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range list {
		text := m.Key + string(m.Meta)
		for _, s := range m.Sockets {
			text += " " + s.ID + "@" + s.Node
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

// sameEverywhere compares all tables of the living nodes, sockets and all.
func (f *fabric) sameEverywhere(t testing.TB) {
	t.Helper()
	var want string
	for i, n := range f.nodes {
		if n.down {
			continue
		}
		got := n.dump()
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("node %d has\n%s\nwant\n%s", i, got, want)
		}
	}
}

func (p *Presence) dump() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lines []string
	for key, u := range p.users {
		for _, e := range u.entries {
			lines = append(lines, fmt.Sprint(key, e.owner.id, e.ref, e.socket, e.meta, e.since, e.at, u.announced, u.meta))
		}
	}
	slices.Sort(lines)
	return cmp.Or(strings.Join(lines, "\n"), "nobody")
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

const lease = 15 * time.Second
