package presence

import (
	"context"
	"encoding/json"

	"github.com/socketfleet/socketfleet/core"
)

const (
	// wireEvent is the name of the server-side events. Servers that have no listener
	// for it ignore them.
	wireEvent = "socketfleet:presence"
	// wireVersion is in every message. Others are ignored.
	wireVersion = 1
	// maxBatch bounds the entries of one message, and maxBatchBytes about their text.
	maxBatch      = 256
	maxBatchBytes = 48 << 10
)

// Kinds of messages.
const (
	kindBeat  = "beat"  // I am alive; Seq is my last number
	kindHello = "hello" // likewise, and I want to hear of everybody
	kindDelta = "delta" // what changed; Seq is its number
	kindState = "state" // all I have at Seq, in parts
	kindAsk   = "ask"   // I miss what nodes sent
	kindBye   = "bye"   // I close
)

// message is what nodes tell each other, as JSON.
type message struct {
	V    int    `json:"v"`
	Kind string `json:"k"`
	From string `json:"f"` // the Presence: another one in every process
	Node string `json:"n,omitempty"`
	Seq  uint64 `json:"q"`

	Part int         `json:"p,omitempty"` // of a state, from 0
	Last bool        `json:"z,omitempty"` // of a state
	Add  []wireEntry `json:"a,omitempty"`
	Del  []uint64    `json:"d,omitempty"` // numbers; after Add

	// Have is, by node, the last number the sender knows.
	Have map[string]uint64 `json:"h,omitempty"`
}

type wireEntry struct {
	Ref    uint64          `json:"i"`
	Room   string          `json:"r"`
	Key    string          `json:"k"`
	Socket string          `json:"s"`
	Meta   json.RawMessage `json:"m"`
	Since  int64           `json:"t"`
	At     int64           `json:"u,omitempty"` // milliseconds after Since
}

func (e *entry) wire() wireEntry {
	return wireEntry{Ref: e.ref, Room: e.user.room.name, Key: e.user.key, Socket: e.socket,
		Meta: json.RawMessage(e.meta), Since: e.since, At: e.at - e.since}
}

func (e *entry) size() int {
	return 64 + len(e.user.room.name) + len(e.user.key) + len(e.socket) + len(e.meta)
}

// link is the bus of a namespace.
type link struct {
	ns    *core.Namespace
	event string
}

func (l *link) emit(payload []byte) error {
	return l.ns.ServerSideEmit(wireEvent, json.RawMessage(payload))
}

func (l *link) count(ctx context.Context) (int, error) { return l.ns.ServerCount(ctx) }

func (l *link) tell(name string, e Event) error { return l.ns.Local().To(e.Room).Emit(name, e) }
