package adapter

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
)

// Collector gathers the answers of one request for the implementers of
// adapters: it counts what is expected from whom, keeps answers until they are
// read, and yields them in order of arrival. It owns no goroutine. All methods
// are safe for concurrent use and none but the iterator blocks.
//
// A request is complete when every source has reported and every answer it
// announced has come. A source is a node that will say how many answers to
// expect; node names may be empty where the wire does not say.
type Collector struct {
	op string

	mu      sync.Mutex // guards the following; leaf lock
	sources int        // reports still awaited
	nodes   map[NodeID]*tally
	missing int // answers announced and not yet received
	replies []Reply
	ended   bool
	wake    chan struct{} // capacity 1
}

// tally is what one node announced and delivered.
type tally struct {
	reported bool
	pending  int // may be negative while answers overtake their announcement
}

// NewCollector returns a Collector that waits for sources reports. op names the
// operation in a *PartialError.
func NewCollector(op string, sources int) *Collector {
	return &Collector{op: op, sources: sources, nodes: make(map[NodeID]*tally), wake: make(chan struct{}, 1)}
}

// Expect adds n sources.
func (c *Collector) Expect(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sources += n
}

// Report says that node will deliver count answers. A second report of a named
// node is ignored.
func (c *Collector) Report(node NodeID, count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tallyLocked(node)
	if c.ended || (t.reported && node != "") {
		return
	}
	t.reported = true
	t.pending += count
	c.missing += count
	c.sources--
	c.signalLocked()
}

// Add delivers one answer. It reports false when nobody waits for it any more.
func (c *Collector) Add(r Reply) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.tallyLocked(r.Node).pending--
	c.missing--
	c.replies = append(c.replies, r)
	c.signalLocked()
	return true
}

// Answer is Report(r.Node, 1) and Add in one: for requests that each node
// answers once. It reports false for the second answer of a named node.
func (c *Collector) Answer(r Reply) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tallyLocked(r.Node)
	if c.ended || (t.reported && r.Node != "") {
		return false
	}
	t.reported = true
	c.sources--
	c.replies = append(c.replies, r)
	c.signalLocked()
	return true
}

// Forget stops waiting for node, which is gone: for its report and for the
// answers it still owes.
func (c *Collector) Forget(node NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tallyLocked(node)
	if !t.reported {
		t.reported = true
		c.sources--
	}
	c.missing -= t.pending
	t.pending = 0
	c.signalLocked()
}

// Silent returns those of nodes that have not reported, or still owe answers.
func (c *Collector) Silent(nodes []NodeID) []NodeID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(nodes), func(n NodeID) bool {
		t := c.nodes[n]
		return t != nil && t.reported && t.pending <= 0
	})
}

// All yields the answers until the request is complete, ctx ends or the loop
// breaks, then calls release once. When ctx ends first, what arrived is followed
// by a *PartialError whose nodes come from silent, which may be nil.
func (c *Collector) All(ctx context.Context, silent func() []NodeID, release func()) iter.Seq2[Reply, error] {
	return func(yield func(Reply, error) bool) {
		defer release()
		defer c.end()
		for {
			ready, done := c.take()
			for _, r := range ready {
				if !yield(r, nil) {
					return
				}
			}
			if done {
				return
			}
			if len(ready) > 0 {
				continue
			}
			select {
			case <-c.wake:
			case <-ctx.Done():
				c.finish(ctx, silent, yield)
				return
			}
		}
	}
}

// finish yields what raced with the end of ctx, then the error.
func (c *Collector) finish(ctx context.Context, silent func() []NodeID, yield func(Reply, error) bool) {
	ready, done := c.take()
	for _, r := range ready {
		if !yield(r, nil) {
			return
		}
	}
	if done {
		return
	}
	err := &PartialError{Op: c.op, Missing: c.owed(), Err: CauseOf(ctx)}
	if silent != nil {
		err.Nodes = silent()
	}
	yield(Reply{}, err)
}

// CauseOf returns why ctx ended: an error that matches both ctx.Err and
// context.Cause(ctx), so that callers can test for either.
func CauseOf(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == nil || cause == nil || errors.Is(cause, err) {
		return cause
	}
	return errors.Join(err, cause)
}

func (c *Collector) take() (ready []Reply, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ready, c.replies = c.replies, nil
	return ready, c.sources <= 0 && c.missing <= 0
}

// owed counts what is missing: answers announced, plus one per source that has
// not even reported.
func (c *Collector) owed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(c.missing, 0) + max(c.sources, 0)
}

func (c *Collector) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended, c.replies = true, nil
}

func (c *Collector) tallyLocked(node NodeID) *tally {
	t := c.nodes[node]
	if t == nil {
		t = &tally{}
		c.nodes[node] = t
	}
	return t
}

func (c *Collector) signalLocked() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
