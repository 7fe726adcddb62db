package presence_test

import (
	"context"
	"fmt"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/presence"
)

func Example() {
	ctx := context.Background()
	srv, err := core.New(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := presence.New(srv.Namespace, presence.Options{Event: "presence"})
	if err != nil {
		fmt.Println(err)
		return
	}
	srv.OnConnect(func(ctx context.Context, s *core.Socket) error {
		return p.Track(ctx, s, "lobby", s.Handshake().Query()["user"], nil)
	})
	// Clients connect to srv.

	members, err := p.List(ctx, "lobby")
	fmt.Println(len(members), err)
	_ = p.Close(ctx)
	_ = srv.Shutdown(ctx)
	// Output: 0 <nil>
}
