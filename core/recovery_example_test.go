package core_test

import (
	"context"
	"fmt"
	"time"

	"github.com/socketfleet/socketfleet/core"
)

// Clients that lose their connection for up to a minute keep their rooms and get
// what they missed; only new sessions have to be set up.
func ExampleRecoveryOptions() {
	srv, err := core.New(context.Background(), &core.Options{Recovery: &core.RecoveryOptions{
		MaxDisconnection: time.Minute,
		RunMiddleware:    true, // check again whether the client may come in
		OnSessionExpired: func(i core.SessionInfo) { fmt.Println(i.SocketID, "is gone for good") },
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	srv.OnConnect(func(_ context.Context, s *core.Socket) error {
		if s.Recovered() {
			return nil
		}
		return s.Join("news")
	})
	fmt.Println("sessions recovered:", srv.Stats().Recoveries)
	_ = srv.Close() // it has nothing to lose
	// Output: sessions recovered: 0
}
