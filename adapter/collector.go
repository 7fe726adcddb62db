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
	unnamed int        // reports that did not say whose they are
	stale   bool       // sources may count a node that is gone
	nodes   map[NodeID]*tally
	missing int // answers announced and not yet received
	lost    loss
	replies []Reply
	ended   bool
	wake    chan struct{} // capacity 1
}

// loss is what nodes that died took with them.
type loss struct {
	answers int
	nodes   []NodeID
	err     error
}

// tally is what one node announced and delivered.
type tally struct {
	reported bool
	gone     bool
	pending  int // may be negative while answers overtake their announcement
}

// Hooks are what a Collector needs from its owner while it waits. They are
// called on the goroutine that reads the answers.
type Hooks struct {
	// Silent names the nodes to blame in a *PartialError; may be nil.
	Silent func() []NodeID
	// Recount returns how many sources exist now. It is called after Forget, and
	// may be nil when Forget is never called.
	Recount func(ctx context.Context) (int, error)
	// Release is called once when the wait is over; may be nil.
	Release func()
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

// Announce says that count answers will come from this node, which is no source.
func (c *Collector) Announce(count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tallyLocked("").pending += count
	c.missing += count
	c.signalLocked()
}

// Report says that node will deliver count answers. A second report of a named
// node is ignored.
func (c *Collector) Report(node NodeID, count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || !c.reportLocked(node) {
		return
	}
	c.tallyLocked(node).pending += count
	c.missing += count
	c.signalLocked()
}

// reportLocked counts node's report, unless it is a repetition or node is gone.
func (c *Collector) reportLocked(node NodeID) bool {
	t := c.tallyLocked(node)
	if node == "" {
		c.unnamed++
	} else if t.reported || t.gone {
		return false
	}
	t.reported = true
	c.sources--
	return true
}

// Add delivers one answer. It reports false when nobody waits for it any more.
func (c *Collector) Add(r Reply) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	if t := c.tallyLocked(r.Node); !t.gone {
		t.pending--
		c.missing--
	}
	c.replies = append(c.replies, r)
	c.signalLocked()
	return true
}

// Answer is Report(r.Node, 1) and Add in one: for requests that each node
// answers once. It reports false for the second answer of a named node.
func (c *Collector) Answer(r Reply) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || !c.reportLocked(r.Node) {
		return false
	}
	c.replies = append(c.replies, r)
	c.signalLocked()
	return true
}

// Forget stops waiting for the answers that node, which is gone, still owes. If
// node has not reported, nobody knows whether it was counted among the sources:
// they are counted again before the wait goes on.
func (c *Collector) Forget(node NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tallyLocked(node)
	c.stale = c.stale || !t.reported
	c.missing -= t.pending
	t.pending, t.gone = 0, true
	c.signalLocked()
}

// Lose stops waiting for the answers that node, which died, still owes: when all
// others have come, the wait ends with a *PartialError that names it as name and
// has err. It does nothing for a node that owes nothing.
func (c *Collector) Lose(node, name NodeID, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tallyLocked(node)
	if c.ended || t.gone || t.reported && t.pending <= 0 || !t.reported && c.sources <= 0 {
		return
	}
	owes := t.pending
	c.missing -= t.pending
	if !t.reported {
		c.sources--
		owes = max(owes, 1)
	}
	t.pending, t.reported, t.gone = 0, true, true
	c.lost.answers += owes
	c.lost.nodes = append(c.lost.nodes, name)
	c.lost.err = err
	c.signalLocked()
}

// recounted takes the number of sources that exist now. Those that have appeared
// since the request cannot be told from those that were asked: they can only
// prolong the wait.
func (c *Collector) recounted(alive int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	alive -= c.unnamed
	for node, t := range c.nodes {
		if node != "" && t.reported && !t.gone {
			alive--
		}
	}
	c.sources = min(c.sources, max(alive, 0))
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
// breaks. When ctx ends first, what arrived is followed by a *PartialError.
func (c *Collector) All(ctx context.Context, h Hooks) iter.Seq2[Reply, error] {
	return func(yield func(Reply, error) bool) {
		if h.Release != nil {
			defer h.Release()
		}
		defer c.end()
		for {
			ready, done := c.take(ctx, h.Recount)
			for _, r := range ready {
				if !yield(r, nil) {
					return
				}
			}
			if done {
				if err := c.losses(); err != nil {
					yield(Reply{}, err)
				}
				return
			}
			if len(ready) > 0 {
				continue
			}
			select {
			case <-c.wake:
			case <-ctx.Done():
				c.finish(ctx, h, yield)
				return
			}
		}
	}
}

// finish yields what raced with the end of ctx, then the error.
func (c *Collector) finish(ctx context.Context, h Hooks, yield func(Reply, error) bool) {
	ready, done := c.take(ctx, nil)
	for _, r := range ready {
		if !yield(r, nil) {
			return
		}
	}
	lost := c.losses()
	if done {
		if lost != nil {
			yield(Reply{}, lost)
		}
		return
	}
	err := &PartialError{Op: c.op, Missing: c.owed(), Err: CauseOf(ctx)}
	if h.Silent != nil {
		err.Nodes = h.Silent()
	}
	if lost != nil {
		err.Missing += lost.Missing
		err.Nodes = append(err.Nodes, lost.Nodes...)
		err.Err = errors.Join(err.Err, lost.Err)
	}
	yield(Reply{}, err)
}

// losses returns what lost nodes owed; nil when none is lost.
func (c *Collector) losses() *PartialError {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lost.nodes) == 0 {
		return nil
	}
	return &PartialError{Op: c.op, Missing: c.lost.answers, Nodes: slices.Clone(c.lost.nodes), Err: c.lost.err}
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

// take returns what arrived, and whether that was all.
func (c *Collector) take(ctx context.Context, recount func(context.Context) (int, error)) (ready []Reply, done bool) {
	c.mu.Lock()
	stale := c.stale && c.sources > 0 && recount != nil
	c.stale = c.stale && recount == nil
	c.mu.Unlock()
	if stale {
		if alive, err := recount(ctx); err == nil {
			c.recounted(alive)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	ready, c.replies = c.replies, nil
	return ready, c.sources <= 0 && c.missing <= 0 && !c.stale
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
