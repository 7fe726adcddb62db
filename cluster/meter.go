package cluster

import "time"

// Meter is implemented by buses that measure more than their health.
type Meter interface {
	Measure() Measures
}

// Measures are what a Bus measures.
type Measures struct {
	// Subscriptions is how many channels, patterns and streams this node listens to
	// or has asked to listen to.
	Subscriptions int
	// Inbound are the queues of what was received and not handled yet, one for each
	// worker.
	Inbound []Queue
	// RoundTrips is how long messages of a node to itself take through the backend.
	RoundTrips Histogram
}

// Queue is how full a queue is.
type Queue struct {
	Messages, MaxMessages int
	Bytes, MaxBytes       int
}

// maxLag bounds what one message adds to Stats.Lags, because its sender says when it
// was sent.
const maxLag = 24 * time.Hour

// arrived counts a message of another node, and measures its time on the way where
// the sender's clock is known. One from the future, which tells that the clocks of the
// two are apart, counts as one that took no time.
func (p *Provider) arrived(m *Message) {
	p.received[m.Kind].Add(1)
	if m.Ext.Sent == 0 {
		return
	}
	us := time.Now().UnixMicro() - m.Ext.Sent
	if us < 0 {
		p.early.Add(1)
	}
	p.lags.Observe(min(max(us, 0), maxLag.Microseconds()) * int64(time.Microsecond))
}
