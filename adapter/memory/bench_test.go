package memory_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/adapter/memory"
)

func BenchmarkAdapter(b *testing.B) {
	adaptertest.Benchmark(b, adaptertest.Harness{Nodes: func(testing.TB, int) []adapter.Provider {
		return []adapter.Provider{memory.NewProvider(memory.Options{})}
	}})
}

// BenchmarkLock compares one lock with eight independent adapters, which is more
// than sharding the rooms could ever gain: joins and broadcasts to small rooms
// from every CPU.
func BenchmarkLock(b *testing.B) {
	for _, n := range []int{1, 8} {
		b.Run(fmt.Sprintf("adapters=%d", n), func(b *testing.B) {
			const rooms, perRoom = 1024, 4
			as := make([]*memory.Adapter, n)
			for i := range as {
				as[i] = memory.New(sink{adaptertest.NewHost("/", "n")}, memory.Options{})
			}
			names := make([]adapter.Room, rooms)
			for i := range names {
				names[i] = fmt.Sprintf("room-%d", i)
				for k := range perRoom {
					s := adaptertest.NewSocket(fmt.Sprintf("s-%d-%d", i, k))
					as[i%n].Join(s, s.ID(), names[i])
				}
			}
			p := &adapter.Packet{Data: []byte(`["e"]`)}
			var id atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				s := adaptertest.NewSocket(fmt.Sprintf("r-%d", id.Add(1)))
				for _, a := range as {
					a.Join(s, s.ID())
				}
				for i := int(id.Load()) * 37; pb.Next(); i++ {
					k := i % rooms
					a := as[k%n]
					if i%10 == 0 {
						a.Join(s, names[k])
						a.Leave(s, names[k])
						continue
					}
					_ = a.Broadcast(p, adapter.Target{Rooms: names[k : k+1]})
				}
			})
		})
	}
}

type sink struct{ *adaptertest.Host }

func (sink) Deliver(*adapter.Packet, adapter.Flags) adapter.Delivery { return &null{} }

type null struct{ n int }

func (d *null) To(adapter.Member) error { d.n++; return nil }
func (d *null) Count() int              { return d.n }
