package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/socketfleet/socketfleet/cluster/forward"
	"github.com/socketfleet/socketfleet/examples/internal/chatroom"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// proof is a set of real clients, connected through the front, and what they
// have shown.
type proof struct {
	ctx     context.Context
	url     string
	nodes   []*node
	clients []*client
	failed  int
}

type client struct {
	*testutil.Client
	node   string
	direct bool // its one connection goes to that node and through no other
}

// transports are what the clients take turns to use.
var transports = [][]string{{"websocket"}, {"polling"}, {"polling", "websocket"}}

// prove runs the checks and prints a line for each.
func prove(ctx context.Context, url string, nodes []*node) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	p := &proof{ctx: ctx, url: url, nodes: nodes}
	defer func() {
		for _, c := range p.clients {
			c.Close()
		}
		http.DefaultClient.CloseIdleConnections()
	}()
	p.check("clients on every node", p.connect)
	p.check("requests that met the wrong node", p.forwarded)
	p.check("one message reaches a room on all nodes", p.everybody)
	p.check("another room does not hear it", p.room)
	p.check("one socket id from another node", p.socketID)
	p.check("an acknowledgement across nodes", p.ack)
	p.check("every node sees the whole cluster", p.overview)
	p.check("a node is killed", p.kill)
	if p.failed > 0 {
		return fmt.Errorf("%d checks failed", p.failed)
	}
	return nil
}

func (p *proof) check(what string, run func() (string, error)) {
	detail, err := run()
	if err != nil {
		p.failed++
		fmt.Printf("FAILED   %-40s %v\n", what, err)
		return
	}
	fmt.Printf("ok       %-40s %s\n", what, detail)
}

// answered is what the chat answers.
type answered struct {
	OK    chatroom.Entered `json:"ok"`
	Error string           `json:"error"`
}

// ask emits an event and decodes its answer.
func ask[T any](p *proof, c *client, event string, args ...any) (v T, err error) {
	a, err := c.EmitWithAck(p.ctx, event, args...)
	if err == nil {
		err = a.Decode(0, &v)
	}
	return v, err
}

// enter takes a client into a room of the chat.
func (p *proof) enter(c *client, name, room string) error {
	a, err := ask[answered](p, c, "enter", map[string]any{"name": name, "room": room})
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	c.node = a.OK.Node
	return err
}

// maxClients bounds how many connect in order to see everything.
const maxClients = 60

// connect dials two clients per node, over different transports, and more until all
// nodes have some and each kind of request has come to a wrong node: that is up to
// the order of their requests.
func (p *proof) connect() (string, error) {
	perNode := make(map[string]int)
	for i := 0; i < 2*len(p.nodes) || len(perNode) < len(p.nodes) || !p.sawAll(); i++ {
		if i == maxClients {
			return "", fmt.Errorf("%d clients are on %d of %d nodes, and the nodes forwarded %v", i, len(perNode), len(p.nodes), p.handed())
		}
		c, err := p.dial(transports[i%len(transports)])
		if err != nil {
			return "", err
		}
		perNode[c.node]++
	}
	return fmt.Sprintf("%d clients on %d nodes; WebSocket, polling and upgraded", len(p.clients), len(perNode)), nil
}

// dial connects one more client and takes it into the lobby.
func (p *proof) dial(transports []string) (*client, error) {
	dialed, err := testutil.Dial(p.ctx, p.url, testutil.ClientOptions{Transports: transports, Reconnect: true})
	if err != nil {
		return nil, err
	}
	c := &client{Client: dialed, direct: slices.Equal(transports, []string{"websocket"})}
	p.clients = append(p.clients, c)
	return c, p.enter(c, fmt.Sprintf("client %d", len(p.clients)), "lobby")
}

// handed adds up what the nodes have handed to each other.
func (p *proof) handed() map[forward.Kind]uint64 {
	sum := make(map[forward.Kind]uint64)
	for _, n := range p.nodes {
		s, err := n.stats(p.ctx)
		if err != nil {
			continue // down
		}
		for kind, count := range s.Forwarded {
			sum[kind] += count
		}
	}
	return sum
}

func (p *proof) sawAll() bool {
	sum := p.handed()
	return sum[forward.Poll] > 0 && sum[forward.Post] > 0 && sum[forward.Upgrade] > 0
}

func (p *proof) forwarded() (string, error) {
	for _, n := range p.nodes {
		s, err := n.stats(p.ctx)
		if err != nil {
			return "", err
		}
		for why, count := range s.Failed {
			if count > 0 {
				return "", fmt.Errorf("%s could not forward %d requests: %s", n.name, count, why)
			}
		}
	}
	sum := p.handed()
	return fmt.Sprintf("%d polls, %d posts and %d upgrades went on to their owners", sum[forward.Poll], sum[forward.Post], sum[forward.Upgrade]), nil
}

// say has a client say something, and others hear it.
func (p *proof) say(from *client, text string, to []*client) error {
	a, err := ask[answered](p, from, "say", text)
	if err != nil || a.Error != "" {
		return errors.Join(err, wrap(a.Error))
	}
	for _, c := range to {
		if c == from {
			continue
		}
		if err := p.hear(c, text); err != nil {
			return err
		}
	}
	return nil
}

func wrap(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}

// hear waits for the next message, which must be text.
func (p *proof) hear(c *client, text string) error {
	e, err := c.Next(p.ctx, "message")
	if err != nil {
		return err
	}
	var m chatroom.Message
	if err := e.Decode(0, &m); err != nil {
		return err
	}
	if m.Text != text {
		return fmt.Errorf("a client of %s heard %q instead of %q", c.node, m.Text, text)
	}
	return nil
}

// on returns a client of each node.
func (p *proof) on() []*client {
	var out []*client
	for _, c := range p.clients {
		if !slices.ContainsFunc(out, func(o *client) bool { return o.node == c.node }) {
			out = append(out, c)
		}
	}
	return out
}

func (p *proof) everybody() (string, error) {
	for _, c := range p.on() {
		if err := p.say(c, "hello from "+c.node, p.clients); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("said on each node, heard by the %d other clients", len(p.clients)-1), nil
}

func (p *proof) room() (string, error) {
	blue := p.on()
	for i, c := range blue {
		if err := p.enter(c, fmt.Sprintf("blue %d", i), "blue"); err != nil {
			return "", err
		}
	}
	if err := p.say(blue[0], "in blue", blue); err != nil {
		return "", err
	}
	// What follows in the lobby arrives behind anything that went there by mistake.
	lobby := slices.DeleteFunc(slices.Clone(p.clients), func(c *client) bool { return slices.Contains(blue, c) })
	if err := p.say(lobby[0], "in the lobby", lobby); err != nil {
		return "", err
	}
	for i, c := range blue {
		if err := p.enter(c, fmt.Sprintf("client %d", i), "lobby"); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d members on %d nodes heard it, %d others did not", len(blue), len(blue), len(lobby)), nil
}

// far returns two clients on different nodes.
func (p *proof) far() (a, b *client, err error) {
	list := p.on()
	if len(list) < 2 {
		return nil, nil, errors.New("all clients live on one node")
	}
	return list[0], list[1], nil
}

func (p *proof) socketID() (string, error) {
	a, b, err := p.far()
	if err != nil {
		return "", err
	}
	if err := a.Emit("seen", map[string]any{"message": "m", "sender": b.ID()}); err != nil {
		return "", err
	}
	_, err = b.Next(p.ctx, "seen")
	return fmt.Sprintf("%s reached a socket of %s", a.node, b.node), err
}

func (p *proof) ack() (string, error) {
	a, b, err := p.far()
	if err != nil {
		return "", err
	}
	b.On("question", func(q testutil.Args) { _ = q.Ack("42") }) // a failure shows as a timeout
	start := time.Now()
	answer, err := ask[string](p, a, "ask", b.ID())
	return fmt.Sprintf("%s asked a socket of %s and heard %q in %v", a.node, b.node, answer, time.Since(start).Round(time.Microsecond)), err
}

func (p *proof) overview() (string, error) {
	count := 0
	for _, c := range p.on() {
		// The nodes tell each other within milliseconds.
		for {
			all, err := ask[[]chatroom.Member](p, c, "who")
			if err != nil {
				return "", err
			}
			if len(all) == len(p.clients) {
				break
			}
			if p.ctx.Err() != nil {
				return "", fmt.Errorf("%s sees %d of %d sockets", c.node, len(all), len(p.clients))
			}
		}
		var err error
		if count, err = ask[int](p, c, "count"); err != nil {
			return "", err
		}
		if count != len(p.nodes) {
			return "", fmt.Errorf("%s counts %d of %d nodes", c.node, count, len(p.nodes))
		}
	}
	return fmt.Sprintf("%d sockets on %d nodes", len(p.clients), count), nil
}

// parted returns clients that have a WebSocket to a node, at least one, and a
// client that has one to another node. A poll that was on its way when a node died
// would take its answer with it.
func (p *proof) parted(node string) (there []*client, elsewhere *client, err error) {
	for len(there) == 0 || elsewhere == nil {
		if len(p.clients) > maxClients {
			return nil, nil, fmt.Errorf("%d clients, and no WebSocket to %s", len(p.clients), node)
		}
		c, err := p.dial([]string{"websocket"})
		if err != nil {
			return nil, nil, err
		}
		if c.node == node {
			there = append(there, c)
		} else {
			elsewhere = c
		}
	}
	return there, elsewhere, nil
}

// kill ends a node as kill -9 does, while somebody on another node goes on talking,
// and starts it again.
func (p *proof) kill() (string, error) {
	victims, speaker, err := p.parted(p.nodes[1].name)
	if err != nil {
		return "", err
	}
	before := make([]int, len(victims))
	for i, c := range victims {
		before[i] = c.Connects()
		// What a node did in its last round trip to Redis may be lost with it, and they
		// have only just joined the room.
		if err := p.say(c, "before", []*client{speaker}); err != nil {
			return "", err
		}
	}
	p.nodes[1].kill()
	var texts []string
	for i := range 5 {
		texts = append(texts, fmt.Sprintf("missed %d", i))
		if err := p.say(speaker, texts[i], nil); err != nil {
			return "", err
		}
	}
	for i, c := range victims {
		for c.Connects() == before[i] || !c.Connected() {
			if p.ctx.Err() != nil {
				return "", errors.New("a client of the killed node does not come back")
			}
			time.Sleep(10 * time.Millisecond)
		}
		if !c.Recovered() {
			return "", errors.New("a client of the killed node came back with a new session")
		}
		for _, text := range texts {
			if err := p.hear(c, text); err != nil {
				return "", err
			}
		}
	}
	detail := fmt.Sprintf("%d clients came back elsewhere and heard: %s", len(victims), strings.Join(texts, ", "))
	return detail, p.nodes[1].start(p.ctx)
}
