package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/socketfleet/socketfleet/cluster/forward"
	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// proof is a set of real clients, connected through the front, and what they
// have shown.
type proof struct {
	ctx     context.Context
	nodes   []*node
	clients []*client
	failed  int
}

type client struct {
	*testutil.Client
	place place
}

// transports are what the clients take turns to use.
var transports = [][]string{{"websocket"}, {"polling"}, {"polling", "websocket"}}

// prove runs the checks and prints a line for each.
func prove(ctx context.Context, url string, nodes []*node) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	p := &proof{ctx: ctx, nodes: nodes}
	defer func() {
		for _, c := range p.clients {
			c.Close()
		}
	}()
	p.check("clients on every node", func() (string, error) { return p.connect(url) })
	p.check("requests that met the wrong node", p.forwarded)
	p.check("one emit on node-1 reaches all", p.everybody)
	p.check("a room across the nodes", p.room)
	p.check("one socket id from another node", p.socketID)
	p.check("an acknowledgement across nodes", p.ack)
	p.check("every node sees the whole cluster", p.fetch)
	if p.failed > 0 {
		return fmt.Errorf("%d checks failed", p.failed)
	}
	return nil
}

func (p *proof) check(what string, run func() (string, error)) {
	detail, err := run()
	if err != nil {
		p.failed++
		fmt.Printf("FAILED   %-34s %v\n", what, err)
		return
	}
	fmt.Printf("ok       %-34s %s\n", what, detail)
}

// maxClients bounds how many connect in order to see everything.
const maxClients = 60

// connect dials two clients per node, over different transports, and more until all
// nodes have some and each kind of request has come to a wrong node: that is up to
// the order of their requests.
func (p *proof) connect(url string) (string, error) {
	perNode := make(map[string]int)
	for i := 0; i < 2*len(p.nodes) || len(perNode) < len(p.nodes) || !p.sawAll(); i++ {
		if i == maxClients {
			return "", fmt.Errorf("%d clients are on %d of %d nodes, and the nodes forwarded %v", i, len(perNode), len(p.nodes), p.stats())
		}
		c, err := testutil.Dial(p.ctx, url, testutil.ClientOptions{Transports: transports[i%len(transports)]})
		if err != nil {
			return "", err
		}
		p.clients = append(p.clients, &client{Client: c})
		answer, err := c.EmitWithAck(p.ctx, "whoami")
		if err != nil {
			return "", err
		}
		if err := answer.Decode(0, &p.clients[i].place); err != nil {
			return "", err
		}
		perNode[p.clients[i].place.Node]++
	}
	return fmt.Sprintf("%d clients on %d nodes; WebSocket, polling and upgraded", len(p.clients), len(perNode)), nil
}

// stats adds up what the nodes have handed to each other.
func (p *proof) stats() map[forward.Kind]uint64 {
	sum := make(map[forward.Kind]uint64)
	for _, n := range p.nodes {
		for kind, count := range n.fwd.Stats().Forwarded {
			sum[kind] += count
		}
	}
	return sum
}

func (p *proof) sawAll() bool {
	sum := p.stats()
	return sum[forward.Poll] > 0 && sum[forward.Post] > 0 && sum[forward.Upgrade] > 0
}

func (p *proof) forwarded() (string, error) {
	for _, n := range p.nodes {
		for why, count := range n.fwd.Stats().Failed {
			if count > 0 {
				return "", fmt.Errorf("%s could not forward %d requests: %s", n.name, count, why)
			}
		}
	}
	sum := p.stats()
	return fmt.Sprintf("%d polls, %d posts and %d upgrades went on to their owners", sum[forward.Poll], sum[forward.Post], sum[forward.Upgrade]), nil
}

// expect waits for an event on some clients.
func (p *proof) expect(clients []*client, event string) error {
	for _, c := range clients {
		if _, err := c.Next(p.ctx, event); err != nil {
			return err
		}
	}
	return nil
}

func (p *proof) everybody() (string, error) {
	if err := p.nodes[0].srv.Emit("hello", "from node-1"); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d of %d clients got it", len(p.clients), len(p.clients)), p.expect(p.clients, "hello")
}

func (p *proof) room() (string, error) {
	members, others := p.clients[:len(p.nodes)], p.clients[len(p.nodes):]
	for _, c := range members {
		if _, err := c.EmitWithAck(p.ctx, "join", "blue"); err != nil {
			return "", err
		}
	}
	if err := p.nodes[1].srv.To("blue").Emit("room", "blue"); err != nil {
		return "", err
	}
	if err := p.expect(members, "room"); err != nil {
		return "", err
	}
	// What follows arrives behind anything that went to the wrong clients.
	if err := p.nodes[1].srv.Emit("fence"); err != nil {
		return "", err
	}
	for _, c := range others {
		if first, err := c.Next(p.ctx, ""); err != nil {
			return "", err
		} else if first.Name != "fence" {
			return "", fmt.Errorf("a client outside the room got %q", first.Name)
		}
	}
	return fmt.Sprintf("%d members on %d nodes got it, %d others did not", len(members), len(p.nodes), len(others)), p.expect(members, "fence")
}

// far returns a client and a node it is not connected to.
func (p *proof) far() (*client, *node, error) {
	for _, c := range p.clients {
		for _, n := range p.nodes {
			if n.name != c.place.Node {
				return c, n, nil
			}
		}
	}
	return nil, nil, errors.New("no client lives on another node")
}

func (p *proof) socketID() (string, error) {
	c, n, err := p.far()
	if err != nil {
		return "", err
	}
	if err := n.srv.RemoteSocket(c.place.ID).Emit("direct", 1); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s reached a socket of %s", n.name, c.place.Node), p.expect([]*client{c}, "direct")
}

func (p *proof) ack() (string, error) {
	c, n, err := p.far()
	if err != nil {
		return "", err
	}
	c.On("question", func(a testutil.Args) { _ = a.Ack("42") }) // a failure shows as a timeout
	start := time.Now()
	answer, err := core.EmitWithAck[string](p.ctx, n.srv.RemoteSocket(c.place.ID), "question", "?")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s asked a socket of %s and heard %q in %v", n.name, c.place.Node, answer, time.Since(start).Round(time.Microsecond)), nil
}

func (p *proof) fetch() (string, error) {
	for _, n := range p.nodes {
		found, err := n.srv.FetchSockets(p.ctx)
		if err != nil {
			return "", err
		}
		if len(found) != len(p.clients) {
			return "", fmt.Errorf("%s sees %d of %d sockets", n.name, len(found), len(p.clients))
		}
	}
	count, err := p.nodes[0].srv.ServerCount(p.ctx)
	if err == nil && count != len(p.nodes) {
		err = fmt.Errorf("node-1 counts %d of %d nodes", count, len(p.nodes))
	}
	return fmt.Sprintf("%d sockets on %d nodes", len(p.clients), count), err
}
