package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
)

var errDown = errors.New("bus is down")

// fakeBus records what it is given. publish, when set, decides its fate.
type fakeBus struct {
	mu       sync.Mutex
	publish  func(ctx context.Context, batch []*Message) error
	sent     []*Message
	replies  []*Message
	peers    int
	peersErr error
	receive  Receiver
	self     adapter.NodeID
	rooms    []string
}

func (b *fakeBus) Publish(ctx context.Context, batch []*Message) ([]adapter.Offset, error) {
	b.mu.Lock()
	fn := b.publish
	b.mu.Unlock()
	if fn != nil {
		err := fn(ctx, batch)
		if err != nil {
			n, _ := progress(err, len(batch))
			batch = batch[:n]
		}
		b.record(batch)
		return nil, err
	}
	b.record(batch)
	return nil, nil
}

func (b *fakeBus) record(batch []*Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = append(b.sent, batch...)
}

func (b *fakeBus) onPublish(fn func(ctx context.Context, batch []*Message) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.publish = fn
}

func (b *fakeBus) Reply(_ context.Context, to adapter.NodeID, m *Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.replies = append(b.replies, m)
	return nil
}

func (b *fakeBus) Attach(_ context.Context, a Attach) (Attachment, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.receive, b.self = a.Receive, a.Self
	return b, nil
}

func (b *fakeBus) Peers(context.Context) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.peers, b.peersErr
}

func (b *fakeBus) setPeers(n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.peers, b.peersErr = n, err
}

func (b *fakeBus) RoomCreated(r adapter.Room) { b.note("+" + r) }
func (b *fakeBus) RoomDeleted(r adapter.Room) { b.note("-" + r) }

func (b *fakeBus) note(s string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rooms = append(b.rooms, s)
}

func (b *fakeBus) Detach(context.Context) error { return nil }
func (b *fakeBus) Close(context.Context) error  { return nil }

// published returns what was sent of kind k.
func (b *fakeBus) published(k Kind) []*Message { return ofKind(b, &b.sent, k) }

func (b *fakeBus) answered(k Kind) []*Message { return ofKind(b, &b.replies, k) }

func ofKind(b *fakeBus, list *[]*Message, k Kind) []*Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []*Message
	for _, m := range *list {
		if m.Kind == k {
			found = append(found, m)
		}
	}
	return found
}

// rig is one node on a fakeBus.
type rig struct {
	bus  *fakeBus
	p    *Provider
	a    *Adapter
	host *adaptertest.Host
}

func newRig(t *testing.T, opts Options) *rig {
	t.Helper()
	opts.NoExtensions = true
	return newExtRig(t, opts)
}

// newExtRig is newRig with extensions.
func newExtRig(t *testing.T, opts Options) *rig {
	t.Helper()
	opts.Logger = slog.New(slog.DiscardHandler)
	r := &rig{bus: &fakeBus{peers: 2}, host: adaptertest.NewHost("/", "here")}
	r.p = NewProvider(r.bus, opts)
	a, err := r.p.Open(t.Context(), r.host)
	if err != nil {
		t.Fatal(err)
	}
	r.a = a.(*Adapter)
	t.Cleanup(func() {
		r.bus.onPublish(nil)
		if err := r.p.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return r
}

// socket joins a socket that answers [id,"second"].
func (r *rig) socket(id string, rooms ...adapter.Room) *adaptertest.Socket {
	s := adaptertest.NewSocket(id)
	s.SetAnswer(func(*adapter.Packet) *adapter.Packet { return pack(`["` + id + `","second"]`) })
	r.a.Join(s, append([]adapter.Room{id}, rooms...)...)
	return s
}

func (r *rig) from(node adapter.NodeID, m Message) {
	m.From, m.Namespace = node, "/"
	r.bus.receive(&m, "")
}

func pack(data string) *adapter.Packet { return &adapter.Packet{Data: []byte(data)} }

func numbered(i int) *adapter.Packet { return pack(fmt.Sprintf(`["n",%d]`, i)) }

func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("gave up waiting until %s", what)
		}
	}
}
