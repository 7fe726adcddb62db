package chaos

import (
	"context"
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/chaos/history"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// oddRoom is the room of every other client.
const oddRoom = "odd"

// client is one client that stays, whatever happens to its connections.
type client struct {
	// Immutable.
	w     *world
	name  string
	home  int // the node it prefers
	rooms []string

	// Owned by the goroutine of run.
	session     int
	pid, offset string

	mu    sync.Mutex // guards the following; leaf lock
	conn  *testutil.Client
	node  string                   // empty: not ready
	heard map[string]history.Event // the newest message, by emitter
}

// run connects again and again until ctx is done.
func (c *client) run(ctx context.Context) {
	for ctx.Err() == nil {
		conn := c.connect(ctx)
		if conn == nil {
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		c.set(conn)
		c.live(ctx, conn)
		c.set(nil)
		conn.Close()
	}
}

// connect tries all nodes, the home first.
func (c *client) connect(ctx context.Context) *testutil.Client {
	auth := map[string]any{"rooms": c.rooms}
	if c.pid != "" {
		auth["pid"] = c.pid
	}
	if c.offset != "" {
		auth["offset"] = c.offset
	}
	for i := range c.w.nodes {
		addr, alive := c.w.nodes[(c.home+i)%len(c.w.nodes)].address()
		if !alive || ctx.Err() != nil {
			continue
		}
		dialing, cancel := context.WithTimeout(ctx, 5*time.Second)
		conn, err := testutil.Dial(dialing, "http://"+addr, testutil.ClientOptions{Transports: []string{"websocket"}, Auth: auth})
		cancel()
		if err == nil {
			return conn
		}
	}
	return nil
}

// live records one session.
func (c *client) live(ctx context.Context, conn *testutil.Client) {
	c.session++
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lost := conn.Engine().Done()
	running := make(chan struct{})
	go func() {
		defer close(running)
		select {
		case <-lost:
			cancel()
		case <-ctx.Done():
		}
	}()
	defer func() { cancel(); <-running }()
	recovered := c.pid != "" && conn.PID() == c.pid
	if c.pid = conn.PID(); !recovered {
		c.offset = ""
	}
	c.add(history.Event{Kind: history.Connect, Rooms: c.rooms, Recovered: recovered})
	for {
		a, err := conn.Next(ctx, "") // what has arrived comes before the error
		if err != nil {
			break
		}
		c.take(a)
	}
	if offset := conn.Offset(); offset != "" {
		c.offset = offset
	}
	select {
	case <-lost: // not by the end of the run
		c.add(history.Event{Kind: history.Disconnect})
	default:
	}
}

func (c *client) take(a testutil.Args) {
	switch a.Name {
	case "ready":
		node, _ := a.At(0).(string)
		c.add(history.Event{Kind: history.Ready, Node: node})
		c.mu.Lock()
		c.node = node
		c.mu.Unlock()
	case "m":
		var e history.Event
		if a.Decode(0, &e.Emitter) != nil || a.Decode(2, &e.Seq) != nil || a.Decode(3, &e.From) != nil {
			e.Emitter = "what is that? " + a.String() // is found to be unknown
		}
		c.mu.Lock()
		if c.heard[e.Emitter].Seq < e.Seq {
			c.heard[e.Emitter] = e
		}
		c.mu.Unlock()
		c.add(history.Event{Kind: history.Deliver, Emitter: e.Emitter, Seq: e.Seq})
	}
}

func (c *client) add(e history.Event) {
	e.At, e.Client, e.Session = now(), c.name, c.session
	c.w.log.Add(e)
}

func (c *client) set(conn *testutil.Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn, c.node = conn, ""
}

// newest returns the newest message of an emitter this client got: its number and
// when its emit began; and whether the client is connected and has joined.
func (c *client) newest(emitter string) (seq uint64, begin int64, ready bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.heard[emitter]
	return e.Seq, e.From, c.node != ""
}

// flap breaks the connection without a word.
func (c *client) flap() {
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	if conn != nil {
		conn.Engine().Abort()
	}
}

func (c *client) in(room string) bool {
	for _, r := range c.rooms {
		if r == room {
			return true
		}
	}
	return room == ""
}
