package memory

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// epochLen is the length of the part of an offset that tells one log from another.
const epochLen = 8

// maxOffset is the length of the longest offset: an epoch, a dot and 13 digits.
const maxOffset = epochLen + 1 + 13

// recordOverhead is what a packet counts beside its bytes.
const recordOverhead = 256

// record is one packet of the log.
type record struct {
	p      *adapter.Packet // with its offset
	target adapter.Target
	at     time.Time
	size   int64
}

// packetLog is the events of a namespace that clients may have missed, oldest
// first. Event n has the offset "<epoch>.<n in base 36>".
type packetLog struct {
	epoch   string
	list    []record
	trimmed uint64 // events up to this one have been dropped
	bytes   int64
}

// head returns the number of the newest event.
func (l *packetLog) head() uint64 { return l.trimmed + uint64(len(l.list)) }

// add numbers p, gives it its offset and keeps it.
func (l *packetLog) add(p *adapter.Packet, t adapter.Target, now time.Time) (*adapter.Packet, uint64) {
	n := l.head() + 1
	q := *p
	q.Data = make([]byte, 0, len(p.Data)+maxOffset+3)
	q.Data = append(q.Data, p.Data[:len(p.Data)-1]...)
	q.Data = append(q.Data, `,"`...)
	q.Data = append(q.Data, l.epoch...)
	q.Data = append(q.Data, '.')
	q.Data = strconv.AppendUint(q.Data, n, 36)
	q.Data = append(q.Data, `"]`...)
	r := record{p: &q, target: t, at: now, size: int64(len(q.Data)) + recordOverhead}
	for _, a := range q.Attachments {
		r.size += int64(len(a.Data))
	}
	for _, rooms := range [][]adapter.Room{t.Rooms, t.Except} {
		for _, name := range rooms {
			r.size += int64(len(name)) + 16
		}
	}
	l.list = append(l.list, r)
	l.bytes += r.size
	return &q, n
}

// trim drops the oldest events until the log is within the limits and holds none
// from before cut.
func (l *packetLog) trim(maxPackets int, maxBytes int64, cut time.Time) {
	n := 0
	for n < len(l.list) && (maxPackets > 0 && len(l.list)-n > maxPackets ||
		maxBytes > 0 && l.bytes > maxBytes || l.list[n].at.Before(cut)) {
		l.bytes -= l.list[n].size
		l.list[n] = record{}
		n++
	}
	l.trimmed += uint64(n)
	if l.list = l.list[n:]; len(l.list) == 0 {
		l.list = nil // a burst may have passed
	}
}

// number returns the number of the event that has this offset. It accepts nothing
// but what add produces.
func (l *packetLog) number(offset adapter.Offset) (uint64, bool) {
	digits, ok := strings.CutPrefix(offset, l.epoch+".")
	if !ok || len(offset) > maxOffset {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 36, 64)
	if err != nil || strconv.FormatUint(n, 36) != digits {
		return 0, false
	}
	return n, n > 0 && n <= l.head()
}

// missed returns the events behind number from that reach a member of rooms, and
// whether they are all still there and within the limits.
func (l *packetLog) missed(from uint64, rooms []adapter.Room, maxPackets int, maxBytes int64) (list []uint64, ok bool) {
	if from < l.trimmed {
		return nil, false
	}
	in := make(map[adapter.Room]struct{}, len(rooms))
	for _, r := range rooms {
		in[r] = struct{}{}
	}
	isIn := func(r adapter.Room) bool { _, ok := in[r]; return ok }
	var bytes int64
	for n := from + 1; n <= l.head(); n++ {
		r := l.at(n)
		if len(r.target.Rooms) > 0 && !slices.ContainsFunc(r.target.Rooms, isIn) ||
			slices.ContainsFunc(r.target.Except, isIn) {
			continue
		}
		list = append(list, n)
		bytes += r.size
		if maxPackets > 0 && len(list) > maxPackets || maxBytes > 0 && bytes > maxBytes {
			return nil, false
		}
	}
	return list, true
}

// at returns event n, which must be in the log.
func (l *packetLog) at(n uint64) *record { return &l.list[n-l.trimmed-1] }
