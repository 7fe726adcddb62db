package webtransport

import (
	"unicode/utf8"

	wt "github.com/quic-go/webtransport-go"

	"github.com/socketfleet/socketfleet/core"
)

// maxReason is the length limit in bytes of why a session ends.
const maxReason = 123

var _ core.Stream = (*stream)(nil)

// stream is the stream of a client, with the session that exists for it.
type stream struct {
	*wt.Stream
	sess *wt.Session
}

// CloseWrite implements core.Stream.
func (s *stream) CloseWrite() error { return s.Stream.Close() }

// Close implements core.Stream. The session bounds how long it waits for a client
// that takes nothing more, and ignores further calls.
func (s *stream) Close(reason string) error {
	return s.sess.CloseWithError(0, clip(reason))
}

// clip cuts a reason to what may be sent, between two characters.
func clip(reason string) string {
	if len(reason) <= maxReason {
		return reason
	}
	n := maxReason
	for n > 0 && !utf8.RuneStart(reason[n]) {
		n--
	}
	return reason[:n]
}
