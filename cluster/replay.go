package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// ReadLog implements Log. The events a peer had to tell come first: they are older
// than what is kept of their senders here.
func (j *journal) ReadLog(ctx context.Context, _ string, after, upTo adapter.Offset, fn func(m *Message, at adapter.Offset) bool) error {
	from, ok := parseVector(after)
	to, ok2 := parseVector(upTo)
	if !ok || !ok2 {
		return ErrTrimmed
	}
	at := slices.Clone(from)
	for {
		lacking, list := j.readFrom(at, to)
		if lacking == nil {
			return replay(at, list, fn)
		}
		old, upTo, err := j.fetch(ctx, lacking.epoch, at.of(lacking.epoch), lacking.seq)
		if err != nil || upTo < lacking.seq {
			return ErrTrimmed
		}
		for _, m := range old {
			at.raise(lacking.epoch, m.Ext.Seq)
			if !fn(m, at.offset()) {
				return nil
			}
		}
		at.raise(lacking.epoch, lacking.seq)
	}
}

func replay(at vector, list []entry, fn func(m *Message, at adapter.Offset) bool) error {
	for i := range list {
		e := &list[i]
		if !fn(e.m, at.join(e.place).offset()) {
			return nil
		}
	}
	return nil
}

// readFrom returns what is kept behind from up to to, or else up to which number of
// a sender events are not kept.
func (j *journal) readFrom(from, to vector) (lacking *component, list []entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	for epoch, s := range j.sources {
		if from.of(epoch) < s.trimmed && now.Sub(s.heard) <= j.keep() {
			return &component{epoch, s.trimmed}, nil
		}
	}
	for i := range j.list {
		e := &j.list[i]
		if e.epoch == 0 || e.seq > from.of(e.epoch) && e.seq <= to.of(e.epoch) {
			list = append(list, *e)
		}
	}
	return nil, list
}

// await waits until everything up to these places has been taken here.
func (j *journal) await(ctx context.Context, places ...adapter.Offset) error {
	ctx, cancel := context.WithTimeout(ctx, refillWithin)
	defer cancel()
	var all vector
	for _, at := range places {
		v, _ := parseVector(at)
		all = all.join(v)
	}
	ask := time.NewTimer(refillWithin / 10)
	defer ask.Stop()
	for {
		moved := j.behind(all, false)
		if moved == nil {
			return nil
		}
		select {
		case <-moved:
		case <-ask.C:
			j.behind(all, true)
		case <-ctx.Done():
			return fmt.Errorf("%w: this node has not got so far", adapter.ErrSessionStore)
		}
	}
}

// behind returns nil when everything up to a place has been taken, else what is
// closed when this node gets on. It may ask the peers for what is missing.
func (j *journal) behind(v vector, ask bool) <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	late := false
	for _, c := range v {
		s := j.sources[c.epoch]
		if s != nil && s.seq >= c.seq {
			continue
		}
		late = true
		if s != nil && ask && len(s.ahead) == 0 {
			j.fillToLocked(c.epoch, s, c.seq)
		}
	}
	if !late {
		return nil
	}
	if j.moved == nil {
		j.moved = make(chan struct{})
	}
	return j.moved
}
