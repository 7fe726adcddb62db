package redis

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// failoverAddr is what go-redis has instead of an address in the options of a
	// client of NewFailoverClient.
	failoverAddr = "FailoverClient"
	// masterEvery is how often the Sentinels are asked for the master.
	masterEvery = time.Second
)

var errOldMaster = errors.New("the server is not the master any more")

// masters keeps all connections of a Sentinel group at one master. Sentinel demotes
// an old master about 8 s after it named a new one, and up to then both take what
// they are sent: a node must not write to one and read from the other.
type masters struct {
	// Immutable.
	connect dialer // asks a Sentinel and connects to the master it names
	stop    context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex // guards the following; leaf lock
	addr  string     // the master; empty before the first connection
	asked time.Time  // when the newest connection to it was asked for
	conns map[*masterConn]struct{}
	onGap func(Gap) // may be nil
}

// watchMasters starts to watch; close ends it.
func watchMasters(connect dialer) *masters {
	ctx, stop := context.WithCancel(context.Background())
	m := &masters{connect: connect, stop: stop, conns: make(map[*masterConn]struct{})}
	m.running.Go(func() { m.run(ctx) })
	return m
}

// run asks from time to time. A client of Sentinel does not give the address away:
// a connection has to be made.
func (m *masters) run(ctx context.Context) {
	ask := bounded(m.dial)
	for sleep(ctx, masterEvery) {
		if c, err := ask(ctx, "tcp", ""); err == nil {
			_ = c.Close() // it has told its address
		}
	}
}

func (m *masters) close() {
	m.stop()
	m.running.Wait()
}

// report makes fn, which does not block, hear of every change of the master.
func (m *masters) report(fn func(Gap)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onGap = fn
}

// dial is a dialer that cuts all other connections when it comes to another master.
func (m *masters) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	asked := time.Now()
	c, err := m.connect(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	mc := &masterConn{Conn: c, of: m}
	old, since, err := m.add(mc, asked)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	if old != nil {
		m.cut(old, since)
	}
	if sys, ok := c.(syscall.Conn); ok {
		return sysMasterConn{mc, sys}, nil
	}
	return mc, nil
}

// add takes note of a connection. When it leads to another master than those
// before, add returns those, and the time up to which theirs certainly was the
// master. It fails when the connection was asked for before that other master was.
func (m *masters) add(c *masterConn, asked time.Time) (old map[*masterConn]struct{}, since time.Time, err error) {
	addr := c.RemoteAddr().String()
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case addr == m.addr || m.addr == "":
	case asked.Before(m.asked):
		return nil, since, errOldMaster
	default:
		// What the old master took just before may not have reached its replica.
		old, since = m.conns, m.asked.Add(-masterEvery)
		m.conns = make(map[*masterConn]struct{})
	}
	m.addr = addr
	if asked.After(m.asked) {
		m.asked = asked
	}
	m.conns[c] = struct{}{}
	return old, since, nil
}

func (m *masters) cut(old map[*masterConn]struct{}, since time.Time) {
	for c := range old {
		_ = c.Conn.Close()
	}
	m.mu.Lock()
	onGap := m.onGap
	m.mu.Unlock()
	if onGap != nil {
		onGap(Gap{Kind: GapFailover, From: since, To: time.Now(), Reason: "another server became the master"})
	}
}

// masterConn is one connection to a master.
type masterConn struct {
	net.Conn
	of *masters
}

func (c *masterConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.conns, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// sysMasterConn is one that go-redis can look at without reading from it.
type sysMasterConn struct {
	*masterConn
	syscall.Conn
}
