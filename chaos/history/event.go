package history

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
)

// Kind says what happened.
type Kind string

// The kinds of events, with the fields they use besides At.
const (
	// Emit: Node is about to emit message Seq of Emitter to Room. It is recorded
	// before anything is sent.
	Emit Kind = "emit"
	// Emitted: that emit has returned; Reason is its error.
	Emitted Kind = "emitted"
	// Flushed: everything Node emitted before At has been published, or given up.
	// Dropped and Uncertain count, since the node's start, messages given up and
	// attempts to publish that failed.
	Flushed Kind = "flushed"
	// Gap: from From to At Node may have missed messages, because of Reason.
	Gap Kind = "gap"
	// Exit: Node is no more.
	Exit Kind = "exit"
	// Connect: Session of Client has begun; Recovered says that it continues the
	// one before. Rooms are those its node lets it join.
	Connect Kind = "connect"
	// Ready: Session of Client has been told by Node that it has joined Rooms.
	Ready Kind = "ready"
	// Deliver: Session of Client got message Seq of Emitter.
	Deliver Kind = "deliver"
	// Disconnect: Session of Client has ended.
	Disconnect Kind = "disconnect"
	// Fault: somebody broke something; Reason is its kind. It excuses nothing.
	Fault Kind = "fault"
)

// Event is one entry of a history.
type Event struct {
	At        int64    `json:"at"` // ns of one monotonic clock
	Kind      Kind     `json:"kind"`
	Node      string   `json:"node,omitempty"` // one life of a process
	Emitter   string   `json:"emitter,omitempty"`
	Seq       uint64   `json:"seq,omitempty"`
	Room      string   `json:"room,omitempty"` // empty: everybody
	Client    string   `json:"client,omitempty"`
	Session   int      `json:"session,omitempty"`
	Rooms     []string `json:"rooms,omitempty"`
	Recovered bool     `json:"recovered,omitempty"`
	From      int64    `json:"from,omitempty"`
	Reason    string   `json:"reason,omitempty"`
	Dropped   uint64   `json:"dropped,omitempty"`
	Uncertain uint64   `json:"uncertain,omitempty"`
}

// Log collects events. The zero value is empty and ready.
type Log struct {
	mu     sync.Mutex // guards the following; leaf lock
	events []Event
}

// Add records e.
func (l *Log) Add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

// Events returns a copy of what was recorded.
func (l *Log) Events() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// excerpt is how much of the history around a finding is written, in ns.
const (
	excerptBefore = 5e9
	excerptAfter  = 10e9
	excerptSeqs   = 20
)

// WriteExcerpt writes the part of a history that matters to a finding, one JSON
// object per line, behind the finding itself.
func WriteExcerpt(w io.Writer, events []Event, f Finding) error {
	if _, err := fmt.Fprintf(w, "# %s\n", f); err != nil {
		return err
	}
	enc := json.NewEncoder(w)
	for _, e := range events {
		if !f.concerns(e) {
			continue
		}
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	return nil
}

func (f Finding) concerns(e Event) bool {
	if e.Kind == Gap || e.Kind == Exit || e.Kind == Fault {
		return e.At >= f.At-excerptBefore
	}
	if e.At < f.At-excerptBefore || e.At > f.At+excerptAfter {
		return false
	}
	near := e.Emitter == f.Emitter && e.Seq+excerptSeqs >= f.Seq && e.Seq <= f.Seq+excerptSeqs
	switch e.Kind {
	case Emit, Emitted:
		return near
	case Deliver:
		return near && e.Client == f.Client
	case Connect, Ready, Disconnect:
		return e.Client == f.Client
	case Flushed:
		return e.Node == f.Node
	}
	return true
}
