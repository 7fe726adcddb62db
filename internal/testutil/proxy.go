package testutil

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Direction is one way through a Proxy.
type Direction int

// The two ways through a Proxy.
const (
	Up   Direction = iota // from the client to the target
	Down                  // from the target to the client
)

// Proxy forwards TCP connections to one address and breaks them on demand.
// Faults apply to present and future connections.
type Proxy struct {
	target string
	ln     net.Listener
	wg     sync.WaitGroup

	mu      sync.Mutex // guards the following; leaf lock
	changed chan struct{}
	closed  bool
	refuse  bool
	hole    [2]bool
	latency time.Duration
	budget  int64 // bytes until the cut; negative: none
	passed  [2]int64
	links   map[*link]struct{}
}

// link is one proxied connection.
type link struct {
	client, server *net.TCPConn
	done           chan struct{}
	once           sync.Once
}

// NewProxy returns a proxy in front of target, a host and port. It is closed
// when the test ends.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("testutil: proxy: %v", err)
	}
	p := &Proxy{target: target, ln: ln, changed: make(chan struct{}), budget: -1, links: make(map[*link]struct{})}
	p.wg.Go(p.accept)
	tb.Cleanup(p.Close)
	return p
}

// Addr returns the host and port the proxy listens on.
func (p *Proxy) Addr() string { return p.ln.Addr().String() }

// Conns returns the number of connections being forwarded.
func (p *Proxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

func (p *Proxy) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

// BlackHole stops forwarding one direction, or starts it again. As in a network
// partition nothing is closed, and what was sent meanwhile arrives afterwards.
func (p *Proxy) BlackHole(d Direction, on bool) { p.set(func() { p.hole[d] = on }) }

// Latency delays every chunk of bytes, in both directions.
func (p *Proxy) Latency(d time.Duration) { p.set(func() { p.latency = d }) }

// CutAfter resets the connection that carries the n-th byte from now on, counted
// over all connections and both directions, after forwarding that byte. It
// happens once.
func (p *Proxy) CutAfter(n int64) { p.set(func() { p.budget = n }) }

// Refuse resets new connections at once, or stops doing so.
func (p *Proxy) Refuse(on bool) { p.set(func() { p.refuse = on }) }

// Bytes returns how many bytes the proxy has forwarded in one direction.
func (p *Proxy) Bytes(d Direction) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passed[d]
}

// Reset resets all present connections.
func (p *Proxy) Reset() {
	p.mu.Lock()
	links := make([]*link, 0, len(p.links))
	for l := range p.links {
		links = append(links, l)
	}
	p.mu.Unlock()
	for _, l := range links {
		l.end(true)
	}
}

// Close resets all connections and stops listening.
func (p *Proxy) Close() {
	p.set(func() { p.closed = true })
	p.ln.Close()
	p.Reset()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.forward(c.(*net.TCPConn)) })
	}
}

func (p *Proxy) forward(client *net.TCPConn) {
	l := &link{client: client, done: make(chan struct{})}
	server, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err == nil {
		l.server = server.(*net.TCPConn)
	}
	p.mu.Lock()
	if err != nil || p.refuse || p.closed {
		p.mu.Unlock()
		l.end(true)
		return
	}
	p.links[l] = struct{}{}
	p.mu.Unlock()

	var pumps sync.WaitGroup
	pumps.Go(func() { p.pump(l, Up) })
	pumps.Go(func() { p.pump(l, Down) })
	pumps.Wait()
	l.end(false)
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// end closes both sides; reset makes the peers see an error instead of an end.
func (l *link) end(reset bool) {
	l.once.Do(func() {
		close(l.done)
		for _, c := range []*net.TCPConn{l.client, l.server} {
			if c == nil {
				continue
			}
			if reset {
				c.SetLinger(0)
			}
			c.Close()
		}
	})
}

// pump copies one direction until either side ends.
func (p *Proxy) pump(l *link, d Direction) {
	from, to := l.client, l.server
	if d == Down {
		from, to = l.server, l.client
	}
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if !p.pass(l, d) {
			return
		}
		allowed, cut := p.spend(d, n)
		if _, werr := to.Write(buf[:allowed]); werr != nil || cut {
			l.end(cut)
			return
		}
		if err != nil {
			to.CloseWrite()
			return
		}
	}
}

// pass waits while the direction is a black hole, then for the latency; false
// when the connection ended meanwhile.
func (p *Proxy) pass(l *link, d Direction) bool {
	for {
		p.mu.Lock()
		hole, latency, changed := p.hole[d], p.latency, p.changed
		p.mu.Unlock()
		var timer <-chan time.Time
		switch {
		case !hole && latency <= 0:
			return true
		case !hole:
			timer = time.After(latency)
			changed = nil
		}
		select {
		case <-l.done:
			return false
		case <-changed:
		case <-timer:
			return true
		}
	}
}

// spend takes n bytes off the budget of CutAfter. It returns how many may pass,
// and whether the connection has to be cut after them.
func (p *Proxy) spend(d Direction, n int) (allowed int, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.passed[d] += int64(allowed) }()
	if p.budget < 0 {
		return n, false
	}
	if int64(n) < p.budget {
		p.budget -= int64(n)
		return n, false
	}
	n, p.budget = int(p.budget), -1
	return n, true
}
