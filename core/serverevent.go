package core

import (
	"context"
	"sync"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/parser"
)

// maxServerEvents bounds the server-side events of a namespace that wait for
// their listeners.
const maxServerEvents = 10_000

// serverEvents queues what other nodes sent with ServerSideEmit: listeners run
// in order, on a goroutine that exists only while something is queued.
type serverEvents struct {
	mu      sync.Mutex // guards the following
	queue   []serverEvent
	running bool
}

type serverEvent struct {
	p   *adapter.Packet
	ack func(adapter.Reply) // nil when no answer is wanted
}

// push queues an event and never blocks.
func (q *serverEvents) push(n *Namespace, p *adapter.Packet, ack func(adapter.Reply)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) >= maxServerEvents {
		n.srv.stats.limit("server_events")
		return
	}
	q.queue = append(q.queue, serverEvent{p, ack})
	if !q.running {
		q.running = true
		n.srv.work.Add(1)
		go q.run(n)
	}
}

func (q *serverEvents) run(n *Namespace) {
	defer n.srv.work.Done()
	for {
		q.mu.Lock()
		if len(q.queue) == 0 {
			q.queue, q.running = nil, false
			q.mu.Unlock()
			return
		}
		batch := q.queue
		q.queue = nil
		q.mu.Unlock()
		for _, e := range batch {
			n.serverEvent(e)
		}
	}
}

// serverEvent runs the listeners of one event. The first answer counts.
func (n *Namespace) serverEvent(e serverEvent) {
	name, _, ok := parser.EventName(e.p.Data)
	if !ok {
		return
	}
	args := argsOfPacket(n.srv.codec, e.p, 1)
	var once sync.Once
	answer := func(values ...any) {
		if e.ack == nil {
			return
		}
		once.Do(func() {
			data, atts, err := n.srv.codec.AppendArray(nil, values...)
			if err != nil {
				n.srv.failed("OnServerEvent", n, err)
				return
			}
			e.ack(adapter.Reply{Packet: &adapter.Packet{Data: data, Attachments: ownAttachments(atts)}})
		})
	}
	ctx := context.Background()
	for h := range n.chain() {
		for _, r := range h.server[name] {
			n.srv.failed("OnServerEvent", n, guard(func() error { return r.fn(ctx, args, answer) }))
		}
	}
}
