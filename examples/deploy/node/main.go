// Command node is one node of a fleet, made for containers: everything comes from
// the environment, and nothing depends on which load balancer is in front.
//
//	SOCKETIO_ADAPTER          joins the nodes, such as redis://redis:6379
//	SOCKETIO_CLUSTER_SECRET   the same on all nodes, at least 16 bytes
//	SOCKETIO_ADVERTISE_URL    where the other nodes reach this one; with it requests
//	                          of clients of other nodes are forwarded
//	SOCKETIO_...              any other field of core.Options, see core.OptionsFromEnv
//	LISTEN                    address for clients and nodes, default :3000
//	HEALTH_LISTEN             address of /livez, /readyz and /stats, default :3001
//	DRAIN_GRACE, DRAIN_WINDOW core.DrainOptions, defaults 5s and 1m
//
// SIGTERM drains the node: it takes no new clients, sends those it has to other
// nodes over the window, and ends. With -health it asks a running node's /livez
// instead and exits 0 when that is well, for images that have no shell.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	_ "github.com/socketfleet/socketfleet/adapter/redis"
	"github.com/socketfleet/socketfleet/cluster/forward"
	"github.com/socketfleet/socketfleet/cluster/run"
	"github.com/socketfleet/socketfleet/core"
)

func main() {
	health := flag.Bool("health", false, "ask the running node whether it lives")
	flag.Parse()
	work := serve
	if *health {
		work = probe
	}
	if err := work(context.Background(), os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

func clientAddr() string { return cmp.Or(os.Getenv("LISTEN"), ":3000") }
func healthAddr() string { return cmp.Or(os.Getenv("HEALTH_LISTEN"), ":3001") }

// serve runs the node until a signal or the end of ctx, and writes its log to w.
func serve(ctx context.Context, w io.Writer) error {
	log := slog.New(slog.NewJSONHandler(w, nil))
	opts, err := core.OptionsFromEnv("SOCKETIO_")
	if err != nil {
		return err
	}
	drain, err := drainFromEnv()
	if err != nil {
		return err
	}
	opts.Logger = log
	var fwd *forward.Forwarder
	if opts.AdvertiseURL != "" {
		fwd = forward.New(nil)
		opts.Forwarder = fwd
	}
	srv, err := core.New(ctx, opts)
	if err != nil {
		return err
	}
	handleEvents(srv, opts.NodeID)

	// Probes come to a port of their own, which clients do not reach. It answers from
	// when clients can connect until the node has ended.
	clients, err := net.Listen("tcp", clientAddr())
	if err != nil {
		return errors.Join(err, srv.Close())
	}
	probes, err := net.Listen("tcp", healthAddr())
	if err != nil {
		return errors.Join(err, clients.Close(), srv.Close())
	}
	private := &http.Server{Handler: healthRoutes(srv, fwd), ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = private.Serve(probes) // ends with Close
	}()
	defer func() {
		_ = private.Close()
		<-done
	}()

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	return run.Serve(ctx, run.Config{
		HTTP: &http.Server{
			Handler:           mux,
			ReadHeaderTimeout: 5 * time.Second,
			// Longer than a load balancer keeps an idle connection, so that it never
			// sends a request into one that is just being closed here.
			IdleTimeout: 2 * time.Minute,
		},
		Listener: clients,
		Node:     srv,
		Drain: func(ctx context.Context) error {
			_, err := srv.Drain(ctx, drain)
			return err
		},
		DrainTimeout: max(drain.Grace, 0) + max(drain.Window, 0) + 15*time.Second,
		Logger:       log,
	})
}

func drainFromEnv() (core.DrainOptions, error) {
	opts := core.DrainOptions{Grace: 5 * time.Second, Window: time.Minute}
	for name, field := range map[string]*time.Duration{"DRAIN_GRACE": &opts.Grace, "DRAIN_WINDOW": &opts.Window} {
		text := os.Getenv(name)
		if text == "" {
			continue
		}
		d, err := time.ParseDuration(text)
		if err != nil {
			return opts, fmt.Errorf("environment variable %s: %q is not a duration such as 5s", name, text)
		}
		if d == 0 {
			d = -1 // none: zero would be the default again
		}
		*field = d
	}
	return opts, nil
}

// stats is what /stats answers; forwarded requests are counted on the nodes that
// handed them on.
type stats struct {
	Sessions  int                        `json:"sessions"`
	Sockets   int                        `json:"sockets"`
	Forwarded map[forward.Kind]uint64    `json:"forwarded,omitempty"`
	Failed    map[forward.Failure]uint64 `json:"failed,omitempty"`
	Tunnels   int                        `json:"tunnels"`
}

func healthRoutes(srv *core.Server, fwd *forward.Forwarder) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", srv.HealthHandler())
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		s := srv.Stats()
		out := stats{Sessions: s.Engine.Sessions, Sockets: s.Sockets}
		if fwd != nil {
			f := fwd.Stats()
			out.Forwarded, out.Failed, out.Tunnels = f.Forwarded, f.Failed, f.Tunnels
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out) // the reader may have gone
	})
	return mux
}

// probe fails unless the node on this machine answers /livez.
func probe(ctx context.Context, _ io.Writer) error {
	host, port, err := net.SplitHostPort(healthAddr())
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/livez", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("not well: %s", res.Status)
	}
	return nil
}
