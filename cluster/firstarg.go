package cluster

import "github.com/socketfleet/socketfleet/adapter"

var emptyPacket = &adapter.Packet{Data: []byte("[]")}

func orEmpty(p *adapter.Packet) *adapter.Packet {
	if p == nil {
		return emptyPacket
	}
	return p
}

// firstArg returns p with its first argument only: the wires carry one value per
// acknowledgement.
func firstArg(p *adapter.Packet) *adapter.Packet {
	if p == nil {
		return emptyPacket
	}
	end := firstComma(p.Data)
	if end < 0 {
		return p
	}
	first := &adapter.Packet{Data: make([]byte, 0, end+1), Meta: p.Meta}
	first.Data = append(append(first.Data, p.Data[:end]...), ']')
	for i, att := range p.Attachments {
		if att.At >= end {
			break
		}
		first.Attachments = p.Attachments[: i+1 : i+1]
	}
	return first
}

// firstComma returns the index of the comma that ends the first element of a
// JSON array, or -1 when it has at most one element.
func firstComma(data []byte) int {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		case c == ',' && depth == 1:
			return i
		}
	}
	return -1
}
