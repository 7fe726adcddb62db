package emitter_test

import (
	"context"
	"fmt"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/emitter"
)

// A worker tells the users of a room about its result. Where the nodes use Redis
// it is emitter.Open(ctx, url, nil), with the URL of their adapter and an import of
// adapter/redis for its side effects.
func Example() {
	ctx := context.Background()
	loop := cluster.NewLoopback()
	node := cluster.NewProvider(loop.Bus(), cluster.Options{}) // core.New makes one
	defer node.Close(ctx)
	if _, err := node.Open(ctx, adaptertest.NewHost("/reports", "a")); err != nil {
		fmt.Println(err)
		return
	}

	var p adapter.Provider = cluster.NewProvider(loop.Bus(), cluster.Options{})
	e, err := emitter.New(p, &emitter.Options{Replies: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	reports := e.Of("/reports")
	if err := reports.To("user-42").Emit("ready", map[string]string{"file": "q3.pdf"}); err != nil {
		fmt.Println(err)
	}
	n, err := reports.ServerCount(ctx)
	fmt.Println(n, "node", err)
	fmt.Println("closed:", e.Close(ctx))
	// Output:
	// 1 node <nil>
	// closed: <nil>
}
