package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

// letter is a message in the form Redis gets it.
type letter struct {
	to     *goredis.Client
	add    func(ctx context.Context, pipe goredis.Pipeliner) goredis.Cmder
	repeat bool // better twice than not at all
}

// errNoForm says that a kind of message does not exist on a wire.
var errNoForm = errors.New("no form for this message")

// errNoServer wraps the reason why no server can be found for a message now.
type errNoServer struct{ error }

// post publishes batches: one pipeline for each server that is concerned, all at
// once. It belongs to the goroutine that publishes.
type post struct {
	link  *link
	write func(ctx context.Context, m *cluster.Message) (letter, error)

	// sent holds what went out of the last batch behind the first message that did
	// not, and comes again.
	sent map[*cluster.Message]adapter.Offset
}

// publish has the contract of cluster.Bus.Publish.
func (p *post) publish(ctx context.Context, batch []*cluster.Message) ([]adapter.Offset, error) {
	b := bundle{
		done:  make([]bool, len(batch)),
		out:   make([]adapter.Offset, len(batch)),
		cmds:  make([]goredis.Cmder, len(batch)),
		again: make([]bool, len(batch)),
		pipes: make(map[*goredis.Client]goredis.Pipeliner),
	}
	permanent := p.fill(ctx, &b, batch)
	b.exec(ctx)
	b.settle()
	return p.outcome(ctx, &b, batch, permanent)
}

// fill writes the letters. It stops at the first message that can never be
// written and returns why.
func (p *post) fill(ctx context.Context, b *bundle, batch []*cluster.Message) error {
	for i, m := range batch {
		if at, ok := p.sent[m]; ok {
			b.done[i], b.out[i] = true, at
			continue
		}
		l, err := p.write(ctx, m)
		var missing errNoServer
		switch {
		case errors.Is(err, errNoForm):
			b.done[i] = true
		case errors.As(err, &missing):
			b.err = err
		case err != nil:
			b.n = i
			return err
		default:
			b.again[i] = l.repeat
			b.cmds[i] = l.add(ctx, b.pipe(l.to))
		}
	}
	b.n = len(batch)
	return nil
}

func (p *post) outcome(ctx context.Context, b *bundle, batch []*cluster.Message, permanent error) ([]adapter.Offset, error) {
	p.sent = nil
	first := b.n
	for i := b.n - 1; i >= 0; i-- {
		if !b.done[i] {
			first = i
		}
	}
	if first == len(batch) {
		return b.out, nil
	}
	if first == b.n {
		return nil, &cluster.PublishError{Sent: first, Permanent: true, Err: permanent}
	}
	p.link.failed(ctx)
	p.sent = make(map[*cluster.Message]adapter.Offset)
	for i := first + 1; i < b.n; i++ {
		if b.done[i] {
			p.sent[batch[i]] = b.out[i]
		}
	}
	return nil, &cluster.PublishError{Sent: first, Err: fmt.Errorf("socketio: redis: publish: %w", b.err)}
}

// bundle is what is known about the messages of one batch, by index.
type bundle struct {
	n     int // how many were looked at
	done  []bool
	out   []adapter.Offset
	cmds  []goredis.Cmder // nil: not to be sent
	again []bool
	pipes map[*goredis.Client]goredis.Pipeliner
	err   error
}

func (b *bundle) pipe(c *goredis.Client) goredis.Pipeliner {
	pipe := b.pipes[c]
	if pipe == nil {
		pipe = c.Pipeline()
		b.pipes[c] = pipe
	}
	return pipe
}

func (b *bundle) exec(ctx context.Context) {
	var running sync.WaitGroup
	left := len(b.pipes)
	for _, pipe := range b.pipes {
		run := func() { _, _ = pipe.Exec(ctx) } // the commands hold the errors
		if left--; left == 0 {
			run()
		} else {
			running.Go(run)
		}
	}
	running.Wait()
}

// settle reads the results of the commands.
func (b *bundle) settle() {
	for i, cmd := range b.cmds {
		if cmd == nil {
			continue
		}
		if err := cmd.Err(); err != nil {
			b.done[i] = !b.again[i] && !unsent(err)
			b.err = err
			continue
		}
		b.done[i] = true
		if id, ok := cmd.(*goredis.StringCmd); ok {
			b.out[i] = id.Val()
		}
	}
}
