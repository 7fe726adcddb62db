package cluster_test

import (
	"context"
	"fmt"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/cluster"
)

// Two nodes in one process: a socket of the second is reached from the first. A
// real program passes the provider to its server instead of opening adapters.
func ExampleNewLoopback() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	loop := cluster.NewLoopback()
	var nodes []adapter.Adapter
	for i := range 2 {
		p := cluster.NewProvider(loop.Bus(), cluster.Options{})
		defer func() { _ = p.Close(ctx) }()
		a, err := p.Open(ctx, adaptertest.NewHost("/", fmt.Sprint("node", i)))
		if err != nil {
			fmt.Println(err)
			return
		}
		nodes = append(nodes, a)
	}
	socket := adaptertest.NewSocket("socket-on-node-1")
	nodes[1].Join(socket, socket.ID(), "lobby")

	sockets, err := nodes[0].FetchSockets(ctx, adapter.Target{Rooms: []adapter.Room{"lobby"}})
	fmt.Println(len(sockets), sockets[0].ID, sockets[0].Rooms, err)
	// Output: 1 socket-on-node-1 [socket-on-node-1 lobby] <nil>
}
