package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

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
	onGap func(Gap) // may be nil
	write func(ctx context.Context, m *cluster.Message) (letter, error)

	// sent holds what went out of the last batch behind the first message that did
	// not, and comes again.
	sent map[*cluster.Message]adapter.Offset
	// wary says that the last batch failed. Redis may get well in the middle of a
	// pipeline and take later messages after it refused earlier ones, so that these
	// would come too late: the first message of the next goes alone.
	wary bool
}

// publish has the contract of cluster.Bus.Publish. What is lost, because nobody
// knows whether Redis took it or because Redis will never take it, counts as sent;
// the error tells.
func (p *post) publish(ctx context.Context, batch []*cluster.Message) ([]adapter.Offset, error) {
	b := bundle{
		wary:    p.wary,
		done:    make([]bool, len(batch)),
		out:     make([]adapter.Offset, len(batch)),
		letters: make([]letter, len(batch)),
		errs:    make([]error, len(batch)),
		parts:   make(map[*goredis.Client][]int),
	}
	permanent := p.fill(ctx, &b, batch)
	began := time.Now()
	b.exec(ctx)
	if n, err := b.lost(); n > 0 && p.onGap != nil {
		p.onGap(Gap{Kind: GapPublish, From: began, To: time.Now(), Dropped: n, Reason: err.Error()})
	}
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
			b.errs[i] = err
		case err != nil:
			b.n = i
			return err
		default:
			b.letters[i] = l
			b.parts[l.to] = append(b.parts[l.to], i)
		}
	}
	b.n = len(batch)
	return nil
}

func (p *post) outcome(ctx context.Context, b *bundle, batch []*cluster.Message, permanent error) ([]adapter.Offset, error) {
	p.sent, p.wary = nil, false
	first := b.n
	for i := b.n - 1; i >= 0; i-- {
		if !b.done[i] {
			first = i
		}
	}
	err := b.err()
	if err != nil {
		err = fmt.Errorf("socketio: redis: publish: %w", err)
		p.link.failed(ctx)
	}
	switch {
	case first == len(batch) && err == nil:
		return b.out, nil
	case first == len(batch):
		return b.out, &cluster.PublishError{Sent: first, Err: err}
	case first == b.n:
		return nil, &cluster.PublishError{Sent: first, Permanent: true, Err: permanent}
	}
	p.sent, p.wary = make(map[*cluster.Message]adapter.Offset), true
	for i := first + 1; i < b.n; i++ {
		if b.done[i] {
			p.sent[batch[i]] = b.out[i]
		}
	}
	return nil, &cluster.PublishError{Sent: first, Err: err}
}

// bundle is what is known about the messages of one batch, by index.
type bundle struct {
	n       int // how many were looked at
	wary    bool
	done    []bool
	out     []adapter.Offset
	letters []letter
	errs    []error
	parts   map[*goredis.Client][]int // which go to each server, in order
}

func (b *bundle) exec(ctx context.Context) {
	var running sync.WaitGroup
	left := len(b.parts)
	for to, list := range b.parts {
		run := func() { b.part(ctx, to, list) }
		if left--; left == 0 {
			run()
		} else {
			running.Go(run)
		}
	}
	running.Wait()
}

// part sends one server its messages. When the bundle is wary, the rest does not
// follow a first one that may be taken later.
func (b *bundle) part(ctx context.Context, to *goredis.Client, list []int) {
	if b.wary && len(list) > 1 {
		b.pipe(ctx, to, list[:1])
		if !b.done[list[0]] {
			return
		}
		list = list[1:]
	}
	b.pipe(ctx, to, list)
}

func (b *bundle) pipe(ctx context.Context, to *goredis.Client, list []int) {
	pipe := to.Pipeline()
	cmds := make([]goredis.Cmder, len(list))
	for k, i := range list {
		cmds[k] = b.letters[i].add(ctx, pipe)
	}
	_, _ = pipe.Exec(ctx) // the commands hold the errors
	for k, i := range list {
		err := cmds[k].Err()
		b.errs[i] = err
		if err != nil {
			b.done[i] = !again(err, b.letters[i].repeat)
			continue
		}
		b.done[i] = true
		if id, ok := cmds[k].(*goredis.StringCmd); ok {
			b.out[i] = id.Val()
		}
	}
}

// lost counts the messages that failed and are not tried again.
func (b *bundle) lost() (n uint64, why error) {
	for i, err := range b.errs {
		if err != nil && b.done[i] {
			n, why = n+1, err
		}
	}
	return n, why
}

// err returns the first error.
func (b *bundle) err() error {
	for _, err := range b.errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// passing are the beginnings of errors that end by themselves: a server starts, is
// not the master any more, or not yet, or has too much to do.
var passing = []string{
	"MOVED ", "ASK ", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "MASTERDOWN", "LOADING", "NOREPLICAS", "BUSY ",
	"OOM ", "MISCONF", "NOAUTH", "WRONGPASS", "ERR max number of clients",
}

// again reports whether a command that failed with err is worth another attempt.
// One that may have been executed is if repeat says that twice is better than not
// at all; one that Redis refuses for good, as with NOPERM, is not.
func again(err error, repeat bool) bool {
	var refused goredis.Error
	if errors.As(err, &refused) {
		for _, prefix := range passing {
			if strings.HasPrefix(refused.Error(), prefix) {
				return true
			}
		}
		return false
	}
	return repeat || unsent(err)
}

// unsent reports whether err means that the command was not written.
func unsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" || errors.Is(err, goredis.ErrPoolTimeout) || errors.Is(err, goredis.ErrClosed)
}
