// Command cluster runs three Socket.IO nodes behind one port, in one process and
// with nothing else to install: three servers on three ports, a front that hands
// every request to the next node in turn, and an in-process Redis unless REDIS_URL
// names a real one.
//
// It first proves with real clients that polling and upgrades work through that
// front, and that a room, a socket id and an acknowledgement reach across the
// nodes, then serves until Ctrl-C. With
// -selfcheck it ends after the proof, non-zero when any of it failed.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/socketfleet/socketfleet/adapter"
)

func main() {
	addr := flag.String("addr", "localhost:3000", "address of the front; port 0 takes a free one")
	selfcheck := flag.Bool("selfcheck", false, "end after the proof")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *addr, *selfcheck); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

const nodeCount = 3

func run(ctx context.Context, addr string, selfcheck bool) error {
	redisURL, stopRedis, err := redis()
	if err != nil {
		return err
	}
	defer stopRedis()

	secret := rand.Text()
	var nodes []*node
	defer func() { stopNodes(nodes) }()
	for i := range nodeCount {
		n, err := startNode(ctx, fmt.Sprintf("node-%d", i+1), redisURL, secret)
		if err != nil {
			return err
		}
		nodes = append(nodes, n)
		fmt.Printf("%s   http://%s/socket.io/\n", n.name, n.addr)
	}

	if selfcheck {
		addr = "localhost:0"
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	front := &http.Server{Handler: newFront(nodes), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- front.Serve(ln) }()
	defer front.Close()
	fmt.Printf("front    http://%s/socket.io/\n\n", ln.Addr())

	if err := prove(ctx, "http://"+ln.Addr().String(), nodes); err != nil {
		return err
	}
	if selfcheck {
		return nil
	}
	fmt.Printf("\nConnect any Socket.IO client to http://%s. Ctrl-C ends the cluster.\n", ln.Addr())
	select {
	case <-ctx.Done():
		return nil
	case err := <-served:
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	}
}

// redis returns the URL of the Redis that joins the nodes.
func redis() (rawURL string, stop func(), err error) {
	if rawURL = os.Getenv("REDIS_URL"); rawURL != "" {
		fmt.Println("redis    " + adapter.Redact(rawURL))
		return rawURL, func() {}, nil
	}
	mini, err := miniredis.Run()
	if err != nil {
		return "", nil, fmt.Errorf("start the in-process Redis: %w", err)
	}
	fmt.Printf("redis    in this process, %s\n", mini.Addr())
	return "redis://" + mini.Addr(), mini.Close, nil
}
