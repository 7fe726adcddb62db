package presence

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"
)

// Member is somebody who is in a room, with any number of sockets. Its JSON form has
// key, meta and since, and not the sockets, so that it can be sent to clients.
type Member struct {
	// Key is what the program calls the member.
	Key string `json:"key"`
	// Meta is what was given to Track, as JSON, for the socket for which that
	// happened last.
	Meta json.RawMessage `json:"meta"`
	// Since is when the first of its present sockets was tracked, by the clock of
	// that socket's node.
	Since time.Time `json:"since"`
	// Sockets are its sockets, of all nodes, sorted by id. A member in its grace has
	// none.
	Sockets []Socket `json:"-"`
}

// Socket is one socket of a Member. Namespace.RemoteSocket reaches it by its id.
type Socket struct {
	ID   string
	Node string // the name of the node it is connected to
	Meta json.RawMessage
}

// List returns the members of a room, sorted by key. It does no I/O. For up to two
// seconds after New, while the other nodes are asked for their members, it waits; it
// fails with ctx's error when ctx is done first, and with ErrClosed.
func (p *Presence) List(ctx context.Context, room string) ([]Member, error) {
	select {
	case <-p.ready:
	default:
		select {
		case <-p.ready:
		case <-p.stop:
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	r := p.rooms[room]
	if r == nil {
		return nil, nil
	}
	list := make([]Member, 0, len(r.users))
	for _, u := range r.users {
		if u.present() {
			list = append(list, u.describe())
		}
	}
	slices.SortFunc(list, func(a, b Member) int { return cmp.Compare(a.Key, b.Key) })
	return list, nil
}

func (u *user) describe() Member {
	m := Member{Key: u.key, Meta: json.RawMessage(u.currentMeta())}
	for _, e := range u.entries {
		if since := time.UnixMilli(e.since); m.Since.IsZero() || since.Before(m.Since) {
			m.Since = since
		}
		m.Sockets = append(m.Sockets, Socket{ID: e.socket, Node: e.owner.node, Meta: json.RawMessage(e.meta)})
	}
	slices.SortFunc(m.Sockets, func(a, b Socket) int { return cmp.Compare(a.ID, b.ID) })
	return m
}

// Stats is a snapshot of what a Presence holds and has done. Counters start at zero.
type Stats struct {
	Members int // of all nodes and rooms
	Sockets int // of all members, once for each room
	Nodes   int // alive, this one included

	Sent          uint64 // messages to the other nodes, all together
	SentBytes     uint64
	SendErrors    uint64 // messages that could not be queued; they are asked for later
	Received      uint64 // messages of other nodes
	ReceivedBytes uint64
	BadMessages   uint64 // received and not understood
	Gaps          uint64 // times that something of another node was missed and asked for
	Snapshots     uint64 // times that all members of this node were sent
	Expired       uint64 // nodes whose lease ran out
	Refused       uint64 // sockets of other nodes not kept because of MaxTotal
	Panics        uint64 // of listeners
}

// Stats returns what the Presence holds and has done.
func (p *Presence) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := p.stats
	st.Members, st.Sockets, st.Nodes = len(p.users), p.count, len(p.peers)+1
	return st
}
