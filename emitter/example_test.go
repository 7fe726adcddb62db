package emitter_test

import (
	"context"
	"log"

	"github.com/socketfleet/socketfleet/emitter"
)

// A worker that tells the users of a room about its result.
func Example() {
	ctx := context.Background()
	e, err := emitter.Open(ctx, "redis://localhost:6379")
	if err != nil {
		log.Print(err)
		return
	}
	defer e.Close()
	if err := e.Of("/reports").To("user-42").Emit(ctx, "ready", map[string]string{"file": "q3.pdf"}); err != nil {
		log.Print(err)
	}
}
