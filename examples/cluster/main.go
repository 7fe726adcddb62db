// Command cluster runs three Socket.IO nodes behind one port with nothing else to
// install: three processes on three ports, a front that hands every request to the
// next node in turn, and a Redis inside this process unless REDIS_URL names a real
// one.
//
// It first proves with real clients that polling and upgrades work through that
// front, that a room, a socket id and an acknowledgement reach across the nodes,
// and that clients of a node that is killed miss nothing. Then it serves a chat
// that shows the nodes, until Ctrl-C. With -selfcheck it ends after the proof,
// non-zero when any of it failed.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/socketfleet/socketfleet/adapter"
)

func main() {
	if os.Getenv(envName) != "" {
		exit(runNode(context.Background()))
	}
	addr := flag.String("addr", "localhost:3000", "address of the front; port 0 takes a free one")
	selfcheck := flag.Bool("selfcheck", false, "end after the proof")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(runCluster(ctx, *addr, *selfcheck))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

const nodeCount = 3

func runCluster(ctx context.Context, addr string, selfcheck bool) error {
	redisURL, stopRedis, err := redis()
	if err != nil {
		return err
	}
	defer stopRedis()

	secret := rand.Text()
	nodes := make([]*node, nodeCount)
	for i := range nodes {
		nodes[i] = newNode(fmt.Sprintf("node-%d", i+1), redisURL, secret)
		if err := nodes[i].start(ctx); err != nil {
			stopNodes(nodes[:i])
			return err
		}
		fmt.Printf("%s   http://%s/socket.io/\n", nodes[i].name, nodes[i].addr)
	}
	defer stopNodes(nodes)
	return serve(ctx, addr, selfcheck, nodes)
}

// serve runs the front and the proof, and without selfcheck goes on until ctx is
// done.
func serve(ctx context.Context, addr string, selfcheck bool, nodes []*node) error {
	if selfcheck {
		addr = "127.0.0.1:0"
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
	fmt.Printf("\nOpen http://%s in two windows, and kill a node. Ctrl-C ends the cluster.\n", ln.Addr())
	select {
	case <-ctx.Done():
		return nil
	case err := <-served:
		return err
	}
}

// stopNodes ends the nodes, all at once.
func stopNodes(nodes []*node) {
	var stopping sync.WaitGroup
	for _, n := range nodes {
		stopping.Go(n.stop)
	}
	stopping.Wait()
}

// redis returns the URL of the Redis that joins the nodes. Streams keep what the
// clients of a node that dies have missed.
func redis() (rawURL string, stop func(), err error) {
	if rawURL = os.Getenv("REDIS_URL"); rawURL != "" {
		fmt.Println("redis    " + adapter.Redact(rawURL))
		scheme, rest, _ := strings.Cut(rawURL, "://")
		if scheme == "redis" || scheme == "rediss" {
			scheme += "+streams"
		}
		return scheme + "://" + rest, func() {}, nil
	}
	mini, err := miniredis.Run()
	if err != nil {
		return "", nil, fmt.Errorf("start the in-process Redis: %w", err)
	}
	fmt.Printf("redis    in this process, %s\n", mini.Addr())
	return "redis+streams://" + mini.Addr(), mini.Close, nil
}
