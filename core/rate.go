package core

import "time"

// bucket is a token bucket. The zero value is full.
type bucket struct {
	used float64   // tokens taken and not yet given back
	at   time.Time // when used was last brought up to date
}

// take takes a token and returns how long to wait until it is there.
func (b *bucket) take(now time.Time, rate, burst int) time.Duration {
	b.used = max(0, b.used-now.Sub(b.at).Seconds()*float64(rate)) + 1
	b.at = now
	if over := b.used - float64(burst); over > 0 {
		return time.Duration(over / float64(rate) * float64(time.Second))
	}
	return 0
}

// pace holds the reader goroutine of a client that sends events faster than it
// may, until its next event is due or the socket has gone.
func (s *Socket) pace() {
	o := &s.nsp.srv.opts
	if o.EventRate <= 0 {
		return
	}
	wait := s.rate.take(time.Now(), o.EventRate, max(o.EventBurst, 1))
	if wait <= 0 {
		return
	}
	s.nsp.srv.stats.limit("event_rate")
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for !s.closed() {
		s.mu.Lock()
		wake := make(chan struct{})
		s.wakeReader = wake
		s.mu.Unlock()
		select {
		case <-timer.C:
			return
		case <-s.client.sess.Done():
			return
		case <-wake: // the socket has closed, or something else has changed
		}
	}
}
