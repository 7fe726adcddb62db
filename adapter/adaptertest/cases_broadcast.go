package adaptertest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/socketfleet/socketfleet/adapter"
)

var broadcastCases = []testCase{
	{"broadcast-reaches-the-namespace", func(_ *testing.T, w *world) {
		for i := range w.nodes {
			p := w.event("all")
			w.must(w.nodes[i].a.Broadcast(p, adapter.Target{}))
			w.expect(p, w.all()...)
		}
	}},
	{"broadcast-reaches-a-room", func(_ *testing.T, w *world) {
		for i := range w.nodes {
			p := w.event("room")
			w.must(w.nodes[i].a.Broadcast(p, to("red")))
			w.expect(p, w.in("red")...)
		}
	}},
	{"broadcast-reaches-a-room-of-another-node-only", func(_ *testing.T, w *world) {
		p := w.event("far")
		w.must(w.nodes[0].a.Broadcast(p, to("last")))
		w.expect(p, w.in("last")...)
	}},
	{"broadcast-to-several-rooms-delivers-once", func(_ *testing.T, w *world) {
		p := w.event("union")
		w.must(w.nodes[0].a.Broadcast(p, to("red", "both", "last", "nobody", "red")))
		w.expect(p, w.all()...)
	}},
	{"broadcast-to-a-room-nobody-has", func(_ *testing.T, w *world) {
		p := w.event("nobody")
		w.must(w.nodes[0].a.Broadcast(p, to("nobody")))
		w.expect(p)
	}},
	{"broadcast-except-wins", func(_ *testing.T, w *world) {
		far := w.nodes[len(w.nodes)-1].socks[0]
		for _, c := range []struct {
			t    adapter.Target
			want []*Socket
		}{
			{adapter.Target{Except: []adapter.Room{"red"}}, w.in("blue")},
			{adapter.Target{Rooms: []adapter.Room{"both"}, Except: []adapter.Room{"red", "nobody"}}, w.in("blue")},
			{adapter.Target{Rooms: []adapter.Room{"red"}, Except: []adapter.Room{far.id}}, without(w.in("red"), far)},
			{adapter.Target{Except: []adapter.Room{far.id}}, without(w.all(), far)},
			{adapter.Target{Rooms: []adapter.Room{"red", "blue"}, Except: []adapter.Room{"both"}}, nil},
			{adapter.Target{Rooms: []adapter.Room{far.id}, Except: []adapter.Room{far.id}}, nil},
		} {
			p := w.event("except")
			w.must(w.nodes[0].a.Broadcast(p, c.t))
			w.expect(p, c.want...)
		}
	}},
	{"broadcast-reaches-a-socket-id-on-any-node", func(_ *testing.T, w *world) {
		for _, s := range w.all() {
			p := w.event("id")
			w.must(w.nodes[0].a.Broadcast(p, to(s.id)))
			w.expect(p, s)
		}
	}},
	{"broadcast-local-stays-here", func(_ *testing.T, w *world) {
		p := w.event("local")
		w.must(w.nodes[0].a.Broadcast(p, adapter.Target{Flags: adapter.Local}))
		w.expect(p, w.nodes[0].socks...)
	}},
	{"broadcast-volatile-carries-its-flag", func(t *testing.T, w *world) {
		p := w.event("volatile")
		w.must(w.nodes[0].a.Broadcast(p, adapter.Target{Flags: adapter.Volatile}))
		w.expect(p, w.all()...)
		for _, s := range w.all() {
			for _, r := range s.Received() {
				if samePacket(r.Packet, p) && !r.Flags.Has(adapter.Volatile) {
					t.Errorf("%s got the packet without the volatile flag", s.id)
				}
			}
		}
	}},
	{"broadcast-carries-binary", binary},
	{"broadcast-carries-large-packets", func(_ *testing.T, w *world) {
		p := packet(fmt.Sprintf(`["large",%q]`, strings.Repeat("0123456789", 30_000)))
		w.must(w.nodes[0].a.Broadcast(p, to("both")))
		w.expect(p, w.all()...)
	}},
	{"broadcast-to-rooms-with-odd-names", func(_ *testing.T, w *world) {
		last := w.nodes[len(w.nodes)-1]
		rooms := []adapter.Room{"a*b?[c]", "a#b#", "a b", "ü/😀", "12", "exactly-20-characters"[:20], "\\", `"q"`}
		for _, r := range rooms {
			last.a.Join(last.socks[0], r)
		}
		w.ready(rooms...)
		for _, r := range rooms {
			p := w.event("odd")
			w.must(w.nodes[0].a.Broadcast(p, to(r)))
			w.expect(p, last.socks[0])
		}
	}},
	{"broadcast-keeps-the-order-of-one-emitter", order},
	{"broadcast-does-not-alias-the-target", func(_ *testing.T, w *world) {
		rooms, p := []adapter.Room{"red"}, w.event("alias")
		w.must(w.nodes[0].a.Broadcast(p, adapter.Target{Rooms: rooms}))
		rooms[0] = "blue"
		w.expect(p, w.in("red")...)
	}},
	{"send-reaches-one-socket", func(t *testing.T, w *world) {
		s, p := w.nodes[0].socks[0], w.event("send")
		w.must(w.nodes[0].a.Send(t.Context(), s, p, adapter.Volatile, nil))
		w.expect(p, s)
	}},
	{"send-returns-why-a-socket-refused", func(t *testing.T, w *world) {
		s := NewSocket("closed")
		s.Close()
		if err := w.nodes[0].a.Send(t.Context(), s, w.event("send"), 0, nil); err == nil {
			t.Error("Send to a closed socket returned nil")
		}
	}},
}

func without(list []*Socket, s *Socket) []*Socket {
	return slices.DeleteFunc(slices.Clone(list), func(o *Socket) bool { return o == s })
}

// binary checks that attachments arrive, in order, where their placeholders are,
// and that a user's object that looks like a placeholder stays one.
func binary(t *testing.T, w *world) {
	const ph0, ph1 = `{"_placeholder":true,"num":0}`, `{"_placeholder":true,"num":1}`
	data := `["bin",` + ph0 + `,{"b":[` + ph1 + `,"` + "ü" + `"]}]`
	blob := bytes.Repeat([]byte{0, 1, 0xff, 0xc1}, 5000)
	p := &adapter.Packet{Data: []byte(data), Attachments: []adapter.Attachment{
		{At: strings.Index(data, ph0), Data: []byte{}},
		{At: strings.Index(data, ph1), Data: blob},
	}}
	w.must(w.nodes[0].a.Broadcast(p, to("both")))
	w.expect(p, w.all()...)
	for _, s := range w.all() {
		for _, r := range s.Received() {
			for i, att := range r.Packet.Attachments {
				want := []string{ph0, ph1}[i]
				if att.At < 0 || att.At > len(r.Packet.Data) || !bytes.HasPrefix(r.Packet.Data[att.At:], []byte(want)) {
					t.Errorf("%s: attachment %d is at %d, where no placeholder stands: %s", s.id, i, att.At, r.Packet.Data)
				}
			}
		}
	}
}

// order checks that each socket gets one emitter's packets in the order of its
// calls, on every node.
func order(t *testing.T, w *world) {
	const count = 300
	for k := range count {
		w.must(w.nodes[0].a.Broadcast(packet(fmt.Sprintf(`["n",%d]`, k)), to("both")))
	}
	last := packet(fmt.Sprintf(`["n",%d]`, count-1))
	for _, s := range w.all() {
		w.poll(s.id+" gets the last packet", func() bool { return s.has(last) })
		got := s.events()
		if len(got) != count {
			t.Fatalf("%s got %d packets, want %d", s.id, len(got), count)
		}
		for k, text := range got {
			if !sameJSON([]byte(text), fmt.Appendf(nil, `["n",%d]`, k)) {
				t.Fatalf("%s got %s at position %d", s.id, text, k)
			}
		}
	}
}
