package presence

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
)

// Type says what happened to a member.
type Type string

const (
	Join   Type = "join"   // the member's first socket is tracked
	Leave  Type = "leave"  // its last one is not any more
	Update Type = "update" // its meta has changed
)

// Event is something that happened to a member of a room, on any node.
type Event struct {
	Type Type            `json:"type"`
	Room string          `json:"room"`
	Key  string          `json:"key"`
	Meta json.RawMessage `json:"meta"` // as Member.Meta; of a Leave what it was last
}

// hooks are the listeners. Slices are replaced, not written to.
type hooks struct{ join, leave, update []*listener }

type listener struct{ fn func(Event) }

// OnJoin adds a function that is called when a member joins a room, on whichever
// node. Calls come one after the other, on a goroutine of their own. The returned
// function removes it.
func (p *Presence) OnJoin(fn func(e Event)) (cancel func()) { return p.listen(&p.hooks.join, fn) }

// OnLeave is OnJoin for members that leave.
func (p *Presence) OnLeave(fn func(e Event)) (cancel func()) { return p.listen(&p.hooks.leave, fn) }

// OnUpdate is OnJoin for members whose meta changes: another of their sockets is
// tracked, the one tracked last goes, or Track replaces it.
func (p *Presence) OnUpdate(fn func(e Event)) (cancel func()) { return p.listen(&p.hooks.update, fn) }

func (p *Presence) listen(list *[]*listener, fn func(Event)) (cancel func()) {
	l := &listener{fn}
	p.mu.Lock()
	defer p.mu.Unlock()
	*list = append(slices.Clip(*list), l)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		*list = slices.DeleteFunc(slices.Clone(*list), func(x *listener) bool { return x == l })
	}
}

// announce tells listeners and clients what they do not know.
func (p *Presence) announce() {
	for {
		select {
		case <-p.stop:
			return
		case <-p.news:
		}
		for {
			p.mu.Lock()
			e, more := p.next()
			more = more && !p.closed
			listeners := p.hooks.of(e.Type)
			p.mu.Unlock()
			if !more {
				break
			}
			for _, l := range listeners {
				p.call(l, e)
			}
			if p.opts.Event == "" {
				continue
			}
			if err := p.bus.tell(p.opts.Event, e); err != nil {
				p.log.Debug("socketio: presence: clients were not told", slog.String("event", "presence.tell_failed"), slog.Any("error", err))
			}
		}
	}
}

func (h *hooks) of(t Type) []*listener {
	switch t {
	case Join:
		return h.join
	case Leave:
		return h.leave
	}
	return h.update
}

func (p *Presence) call(l *listener, e Event) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		p.mu.Lock()
		p.stats.Panics++
		p.mu.Unlock()
		p.log.Error("socketio: presence: a listener panicked", slog.String("event", "presence.panic"),
			slog.String("panic", fmt.Sprint(v)), slog.String("stack", string(debug.Stack())))
	}()
	l.fn(e)
}
