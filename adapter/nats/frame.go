package nats

import (
	"encoding/binary"
	"errors"

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
	dst = binary.AppendUvarint(dst, at.seq)
	dst = binary.AppendUvarint(dst, at.breaks)
	return wire.Append(dst, m)
}

func decodeFrame(b []byte) (position, *cluster.Message, error) {
	var at position
	for _, field := range []*uint64{&at.seq, &at.breaks} {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return at, nil, errFrame
		}
		*field, b = v, b[n:]
	}
	m, err := wire.Decode(b)
	return at, m, err
}
