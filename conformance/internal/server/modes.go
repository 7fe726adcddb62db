package server

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
)

// modes are the servers this program can be. Each returns what it serves and the
// address to listen on.
var modes = map[string]func() (http.Handler, string, error){
	"protocol":   protocolServer,
	"sio-client": socketClientServer,
	"eio-client": engineClientServer,
	"node":       clusterNode,
	"balanced":   balancedServers,
	"emitter":    emitterServer,
}

// Main is the program. It returns when its servers end, or cannot start.
func Main() {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err := start(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func start(args []string) error {
	if len(args) == 1 && args[0] == "rolling" {
		return rollingNode() // it stops in order, the others when they are killed
	}
	if len(args) != 1 || modes[args[0]] == nil {
		return fmt.Errorf("usage: server protocol|sio-client|eio-client|node|balanced|emitter|rolling")
	}
	handler, addr, err := modes[args[0]]()
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("LISTENING %d\n", ln.Addr().(*net.TCPAddr).Port)
	return http.Serve(ln, handler)
}

// portFromEnv returns the address PORT names, on every interface localhost may
// resolve to.
func portFromEnv(fallback string) string {
	port := os.Getenv("PORT")
	if port == "" {
		port = fallback
	}
	return ":" + port
}
