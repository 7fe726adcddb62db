package admin

import (
	"net/netip"
	"sync"
	"time"
)

const (
	limitWindow = time.Minute
	// maxAddresses bounds the memory of a limiter. When more fail within a window,
	// nobody new may try until it ends.
	maxAddresses = 10_000
)

// limiter counts attempts per address.
type limiter struct {
	max int // immutable

	mu    sync.Mutex // guards the following; leaf lock
	tries map[netip.Prefix]int
	ends  time.Time // of the current window
}

// take counts an attempt. It returns false when none is left.
func (l *limiter) take(addr string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.tries == nil || !now.Before(l.ends) {
		l.tries, l.ends = make(map[netip.Prefix]int), now.Add(limitWindow)
	}
	key := network(addr)
	n, known := l.tries[key]
	if n >= l.max || !known && len(l.tries) >= maxAddresses {
		return false
	}
	l.tries[key] = n + 1
	return true
}

// giveBack takes back an attempt that was no failure.
func (l *limiter) giveBack(addr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if key := network(addr); l.tries[key] > 0 {
		l.tries[key]--
	}
}

// network returns what an attacker cannot easily change of an address.
func network(addr string) netip.Prefix {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.Prefix{} // all of these share one counter
	}
	bits := 32
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits)
	return p
}
