package adaptertest

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/socketfleet/socketfleet/adapter"
)

// Benchmark measures the paths that carry load, on one node of h.
func Benchmark(b *testing.B, h Harness) {
	b.Run("broadcast/members=1000", func(b *testing.B) { benchBroadcast(b, h, 1000, adapter.Target{Rooms: []adapter.Room{"room"}}) })
	b.Run("broadcast/members=10", func(b *testing.B) { benchBroadcast(b, h, 10, adapter.Target{Rooms: []adapter.Room{"room"}}) })
	b.Run("broadcast/union=2x1000", func(b *testing.B) {
		benchBroadcast(b, h, 1000, adapter.Target{Rooms: []adapter.Room{"room", "same"}})
	})
	b.Run("broadcast/except=own", func(b *testing.B) {
		benchBroadcast(b, h, 1000, adapter.Target{Rooms: []adapter.Room{"room"}, Except: []adapter.Room{"bench-7"}})
	})
	b.Run("broadcast/namespace=1000", func(b *testing.B) { benchBroadcast(b, h, 1000, adapter.Target{}) })
	b.Run("join-leave", func(b *testing.B) { benchChurn(b, h) })
	b.Run("small-rooms-and-churn", func(b *testing.B) { benchMixed(b, h) })
}

// sink is a host whose deliveries do nothing, so that only the adapter is
// measured.
type sink struct{ *Host }

func (s *sink) Deliver(*adapter.Packet, adapter.Flags) adapter.Delivery { return &null{} }

type null struct{ n int }

func (d *null) To(adapter.Member) error { d.n++; return nil }
func (d *null) Count() int              { return d.n }

func openBench(b *testing.B, h Harness) adapter.Adapter {
	b.Helper()
	p := h.Nodes(b, 1)[0]
	ctx, cancel := closing()
	defer cancel()
	a, err := p.Open(ctx, &sink{NewHost("/bench", "bench")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { shut(b, a, p) })
	return a
}

func benchBroadcast(b *testing.B, h Harness, members int, t adapter.Target) {
	t.Flags |= adapter.Local
	a := openBench(b, h)
	for i := range members {
		s := NewSocket(fmt.Sprintf("bench-%d", i))
		a.Join(s, s.ID(), "room", "same")
	}
	p := packet(`["event",1]`)
	b.ReportAllocs()
	for b.Loop() {
		if err := a.Broadcast(p, t); err != nil {
			b.Fatal(err)
		}
	}
}

func benchChurn(b *testing.B, h Harness) {
	a := openBench(b, h)
	s := NewSocket("bench")
	a.Join(s, s.ID())
	b.ReportAllocs()
	for b.Loop() {
		a.Join(s, "room")
		a.Leave(s, "room")
	}
}

// benchMixed has every CPU broadcast to small rooms, and change rooms one time
// in ten.
func benchMixed(b *testing.B, h Harness) {
	const rooms, perRoom = 1000, 4
	a := openBench(b, h)
	names := make([]adapter.Room, rooms)
	for i := range names {
		names[i] = fmt.Sprintf("room-%d", i)
		for k := range perRoom {
			s := NewSocket(fmt.Sprintf("bench-%d-%d", i, k))
			a.Join(s, s.ID(), names[i])
		}
	}
	p := packet(`["event",1]`)
	var id atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		s := NewSocket(fmt.Sprintf("runner-%d", id.Add(1)))
		a.Join(s, s.ID())
		for i := 0; pb.Next(); i++ {
			room := names[i%rooms]
			if i%10 == 0 {
				a.Join(s, room)
				a.Leave(s, room)
				continue
			}
			if err := a.Broadcast(p, adapter.Target{Rooms: names[i%rooms : i%rooms+1], Flags: adapter.Local}); err != nil {
				b.Error(err)
			}
		}
	})
}
