package redis_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/redis"
)

// A program that has a client of its own.
func ExampleNew() {
	client := goredis.NewClient(&goredis.Options{Addr: "localhost:6379"})
	defer client.Close()
	provider, err := redis.New(client, &redis.Options{
		Key:   "chat",
		OnGap: func(g redis.Gap) { log.Printf("messages may be missing from %v to %v", g.From, g.To) },
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
	_, err := adapter.Open(context.Background(), "redis://:secret@localhost:6379/0?kye=chat")
	fmt.Println(strings.Contains(err.Error(), `unknown parameter "kye"`), strings.Contains(err.Error(), "secret"))
	// Output: true false
}
