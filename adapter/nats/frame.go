package nats

import (
	"encoding/binary"
	"encoding/json"
	"errors"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/cluster/wire"
)

// position says where a message stands among those its sender sent to the whole
// namespace. The zero position says nothing.
type position struct {
	seq    uint64 // counts messages; a heartbeat has that of the last one
	breaks uint64 // how often the sender's connection was replaced
}

var errFrame = errors.New("bad frame")

// appendFrame appends a message as it goes over NATS: its position as two varints,
// then an envelope of package wire.
func appendFrame(dst []byte, at position, m *cluster.Message) ([]byte, error) {
	return wire.Append(appendPair(dst, at.seq, at.breaks), m)
}

func appendPair(dst []byte, a, b uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, a), b)
}

func decodeFrame(b []byte) (position, *cluster.Message, error) {
	seq, breaks, rest, err := readPair(b)
	if err != nil {
		return position{}, nil, err
	}
	m, err := wire.Decode(rest)
	return position{seq, breaks}, m, err
}

func readPair(data []byte) (a, b uint64, rest []byte, err error) {
	for _, field := range []*uint64{&a, &b} {
		v, n := binary.Uvarint(data)
		if n <= 0 {
			return 0, 0, nil, errFrame
		}
		*field, data = v, data[n:]
	}
	return a, b, data, nil
}

// mark is a message that only a log has, and no envelope.
type mark struct {
	From      adapter.NodeID `json:"uid"`
	Namespace string         `json:"nsp"`
	Rooms     []adapter.Room `json:"rooms,omitempty"`
}

// appendEntry appends a message as it lies in the stream: its token, and its kind
// if it is a mark, else 0; then the mark, or an envelope of package wire.
func appendEntry(dst []byte, m *cluster.Message) ([]byte, error) {
	if m.Kind < cluster.Takeover {
		return wire.Append(appendPair(dst, m.Token, 0), m)
	}
	text, err := json.Marshal(mark{m.From, m.Namespace, m.Rooms})
	return append(appendPair(dst, m.Token, uint64(m.Kind)), text...), err
}

func decodeEntry(b []byte) (*cluster.Message, error) {
	token, kind, rest, err := readPair(b)
	if err != nil {
		return nil, err
	}
	switch k := cluster.Kind(kind); {
	case kind == 0:
		m, err := wire.Decode(rest)
		if err != nil {
			return nil, err
		}
		m.Token = token
		return m, nil
	case uint64(k) == kind && (k == cluster.Takeover || k == cluster.Hole || k == cluster.Hello):
		var f mark
		if err := json.Unmarshal(rest, &f); err != nil {
			return nil, errFrame
		}
		return &cluster.Message{Kind: k, From: f.From, Namespace: f.Namespace, Rooms: f.Rooms, Token: token}, nil
	}
	return nil, errFrame
}
