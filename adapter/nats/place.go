package nats

import (
	"strconv"
	"strings"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// place is where an entry lies in the stream. A number alone would not do: a stream
// that was made anew, or has lost its end, gives the same numbers to other entries.
type place struct {
	made  int64  // when the stream was made, in milliseconds
	seq   uint64 // of the entry
	stamp uint64 // the low bits of the time the server gave the entry, in nanoseconds
}

// stampBits tell entries with one number apart: their times differ by chance.
const stampBits = 40

func stampOf(t time.Time) uint64 { return uint64(t.UnixNano()) & (1<<stampBits - 1) }

// offset returns the place as clients and other nodes see it.
func (p place) offset() adapter.Offset {
	return strconv.FormatInt(p.made, 36) + "-" + strconv.FormatUint(p.seq, 10) + "-" + strconv.FormatUint(p.stamp, 36)
}

// parsePlace is not ok for a text that offset does not make.
func parsePlace(at adapter.Offset) (p place, ok bool) {
	made, rest, _ := strings.Cut(at, "-")
	seq, stamp, _ := strings.Cut(rest, "-")
	var errs [3]error
	p.made, errs[0] = strconv.ParseInt(made, 36, 64)
	p.seq, errs[1] = strconv.ParseUint(seq, 10, 64)
	p.stamp, errs[2] = strconv.ParseUint(stamp, 36, stampBits)
	return p, errs == [3]error{} && p.made > 0 && p.seq > 0 && p.offset() == at
}

// less reports whether p lies before q. What is in a newer stream lies behind all of
// an older one.
func (p place) less(q place) bool {
	return p.made < q.made || p.made == q.made && p.seq < q.seq
}
