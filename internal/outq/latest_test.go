package outq

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// model is the queue as its documentation has it.
type model struct {
	items []*item
	keys  []string
}

func (m *model) push(it *item, key string, inOrder bool) {
	i := slices.Index(m.keys, key)
	switch {
	case key == "" || i < 0:
	case inOrder:
		m.items, m.keys = slices.Delete(m.items, i, i+1), slices.Delete(m.keys, i, i+1)
	default:
		m.items[i] = it
		return
	}
	m.items, m.keys = append(m.items, it), append(m.keys, key)
}

func (m *model) size() (n int) {
	for _, it := range m.items {
		n += it.size
	}
	return n
}

func TestQueueKeepsTheLatestOfEachKey(t *testing.T) {
	t.Parallel()
	for _, inOrder := range []bool{false, true} {
		for seed := range uint64(8) {
			rng := rand.New(rand.NewPCG(seed, 7))
			var q Queue[*item]
			var m model
			takes := 2 + rng.IntN(40) // some queues run empty, others grow
			for n := range 3000 {
				if rng.IntN(takes) == 0 {
					batch, bytes := q.Take(nil, 1+rng.IntN(300))
					q.Done(bytes)
					want := m.items[:min(len(batch), len(m.items))]
					if !slices.Equal(batch, want) || len(batch) == 0 && len(m.items) > 0 {
						t.Fatalf("took %d items, not the first of the %d there should be", len(batch), len(m.items))
					}
					m.items, m.keys = m.items[len(batch):], m.keys[len(batch):]
				} else {
					it := &item{n: n, size: 1 + rng.IntN(100)}
					key := ""
					if rng.IntN(3) > 0 {
						key = fmt.Sprint(rng.IntN(30))
						q.PushLatest(it, key, inOrder, Bound{})
					} else {
						q.Push(it, Bound{})
					}
					m.push(it, key, inOrder)
				}
				if q.Len() != len(m.items) || q.Bytes() != m.size() {
					t.Fatalf("%d items of %d bytes, want %d of %d", q.Len(), q.Bytes(), len(m.items), m.size())
				}
				if q.Len() > 0 && q.Peek() != m.items[0] {
					t.Fatal("Peek is not the first")
				}
			}
		}
	}
}

func TestTakenItemsAreNotReplaced(t *testing.T) {
	t.Parallel()
	var q Queue[*item]
	q.PushLatest(&item{n: 1, size: 1}, "k", false, Bound{})
	q.Push(&item{n: 2, size: 1}, Bound{})
	batch, _ := q.Take(nil, 1)
	if _, replaced := q.PushLatest(&item{n: 3, size: 1}, "k", false, Bound{}); replaced {
		t.Error("replaced what has been taken")
	}
	if batch[0].n != 1 || q.Len() != 2 {
		t.Errorf("took %d, %d left", batch[0].n, q.Len())
	}
}

func TestReplacingObeysTheBounds(t *testing.T) {
	t.Parallel()
	var q Queue[*item]
	b := Bound{Bytes: 100, Items: 2}
	q.PushLatest(&item{size: 10}, "k", false, b)
	if fit, replaced := q.PushLatest(&item{size: 500}, "k", false, b); fit != Fits || !replaced {
		t.Errorf("a queue takes any one item: %v, %v", fit, replaced)
	}
	q.PushLatest(&item{size: 10}, "k", false, b)
	q.Push(&item{size: 50}, b)
	if fit, _ := q.PushLatest(&item{size: 50}, "k", false, b); fit != Fits {
		t.Errorf("full to the byte and the item: %v", fit)
	}
	if fit, _ := q.PushLatest(&item{size: 51}, "k", false, b); fit != TooManyBytes {
		t.Errorf("a byte too many: %v", fit)
	}
	if fit, _ := q.PushLatest(&item{size: 0}, "other", false, b); fit != TooManyItems {
		t.Errorf("an item too many: %v", fit)
	}
}

// A key that always changes, and keys that are used once, may not make a queue
// grow that holds next to nothing.
func TestKeysDoNotAccumulate(t *testing.T) {
	t.Parallel()
	for _, inOrder := range []bool{false, true} {
		var q Queue[*item]
		for i := range 100_000 {
			q.PushLatest(&item{size: 1}, "hot", inOrder, Bound{})
			q.PushLatest(&item{size: 1}, fmt.Sprint(i), inOrder, Bound{})
			if q.Len() > 8 {
				_, n := q.Take(nil, 4)
				q.Done(n)
			}
		}
		if len(q.items) > 200 || len(q.latest.at) > 200 {
			t.Errorf("%d slots and %d keys for %d items", len(q.items), len(q.latest.at), q.Len())
		}
	}
}

func BenchmarkPushLatest(b *testing.B) {
	for _, inOrder := range []bool{false, true} {
		b.Run(fmt.Sprintf("inOrder=%v", inOrder), func(b *testing.B) {
			var q Queue[*item]
			it := &item{size: 10}
			keys := make([]string, 64)
			for i := range keys {
				keys[i] = fmt.Sprint(i)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				q.PushLatest(it, keys[i%64], inOrder, Bound{})
			}
		})
	}
}
