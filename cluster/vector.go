package cluster

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"github.com/socketfleet/socketfleet/adapter"
)

const (
	epochChars = 8 // base64url of 48 bits
	// maxVector is the length of the longest offset of a journal that is accepted.
	maxVector = 4096
)

// vector says of each sender up to which of its numbers messages have been taken,
// by epoch, ascending. What is not in it is 0. As an offset it is the epochs and
// numbers in base 36, joined by dots.
type vector []component

type component struct{ epoch, seq uint64 }

// parseVector accepts nothing but what offset produces.
func parseVector(offset adapter.Offset) (vector, bool) {
	if offset == "" || len(offset) > maxVector {
		return nil, false
	}
	v := make(vector, 0, strings.Count(offset, ".")+1)
	for part := range strings.SplitSeq(offset, ".") {
		if len(part) <= epochChars {
			return nil, false
		}
		var b [8]byte
		if n, err := base64.RawURLEncoding.Decode(b[2:], []byte(part[:epochChars])); err != nil || n != 6 {
			return nil, false
		}
		c := component{epoch: binary.BigEndian.Uint64(b[:])}
		digits := part[epochChars:]
		var err error
		c.seq, err = strconv.ParseUint(digits, 36, 48)
		if err != nil || c.seq == 0 || strconv.FormatUint(c.seq, 36) != digits {
			return nil, false
		}
		if len(v) > 0 && v[len(v)-1].epoch >= c.epoch {
			return nil, false
		}
		v = append(v, c)
	}
	return v, true
}

func (v vector) offset() adapter.Offset {
	b := make([]byte, 0, len(v)*(epochChars+6))
	for i, c := range v {
		if i > 0 {
			b = append(b, '.')
		}
		var e [8]byte
		binary.BigEndian.PutUint64(e[:], c.epoch)
		b = base64.RawURLEncoding.AppendEncode(b, e[2:])
		b = strconv.AppendUint(b, c.seq, 36)
	}
	return string(b)
}

func byEpoch(c component, epoch uint64) int { return cmp.Compare(c.epoch, epoch) }

// of returns the number of one sender.
func (v vector) of(epoch uint64) uint64 {
	if i, found := slices.BinarySearchFunc(v, epoch, byEpoch); found {
		return v[i].seq
	}
	return 0
}

// raise makes the number of a sender at least seq.
func (v *vector) raise(epoch, seq uint64) {
	i, found := slices.BinarySearchFunc(*v, epoch, byEpoch)
	if !found {
		*v = slices.Insert(*v, i, component{epoch, seq})
		return
	}
	(*v)[i].seq = max((*v)[i].seq, seq)
}

// join returns the larger number of each sender.
func (v vector) join(w vector) vector {
	out := slices.Clone(v)
	for _, c := range w {
		out.raise(c.epoch, c.seq)
	}
	return out
}
