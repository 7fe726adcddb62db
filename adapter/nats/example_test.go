package nats_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	natsgo "github.com/nats-io/nats.go"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/nats"
)

// A program that has a connection of its own.
func ExampleNew() {
	conn, err := natsgo.Connect("nats://localhost:4222")
	if err != nil {
		log.Print(err)
		return
	}
	defer conn.Close()
	provider, err := nats.New(conn, &nats.Options{
		Prefix: "chat",
		OnGap:  func(g nats.Gap) { log.Printf("messages may be missing from %v to %v", g.From, g.To) },
	})
	if err != nil {
		log.Print(err)
		return
	}
	defer provider.Close(context.Background())
}

// A program that is configured with a URL. It needs the import of this package
// for its schemes only.
func Example_url() {
	_, err := adapter.Open(context.Background(), "nats://me:secret@localhost:4222?prefx=chat")
	fmt.Println(strings.Contains(err.Error(), `unknown parameter "prefx"`), strings.Contains(err.Error(), "secret"))
	// Output: true false
}
