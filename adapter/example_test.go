package adapter_test

import (
	"context"
	"fmt"
	"net/url"

	"github.com/socketfleet/socketfleet/adapter"
)

func ExampleOpen() {
	_, err := adapter.Open(context.Background(), "redis://user:secret@localhost:6379/0")
	fmt.Println(err)
	// Output: socketio: unknown adapter scheme "redis" (registered: memory); add the line: import _ "github.com/socketfleet/socketfleet/adapter/redis"
}

func ExampleRedact() {
	fmt.Println(adapter.Redact("redis://user:secret@localhost:6379/0?key=chat"))
	// Output: redis://user:xxxxx@localhost:6379/0?key=chat
}

func ExampleParams() {
	var r adapter.Registry
	r.Register("mine", func(_ context.Context, u *url.URL) (adapter.Provider, error) {
		params := adapter.NewParams(u)
		size := params.Int("size", 10)
		if err := params.Err(); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("no provider of size %d", size)
	})
	_, err := r.Open(context.Background(), "mine://?size=3")
	fmt.Println(err)
	_, err = r.Open(context.Background(), "mine://?sise=3")
	fmt.Println(err)
	// Output:
	// socketio: open adapter mine://?size=3: no provider of size 3
	// socketio: open adapter mine://?sise=3: unknown parameter "sise" (known: size)
}
